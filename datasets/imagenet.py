"""ImageNet's 1000 classes in the order of outputs: `SYNSETS`, such as "n01440764", and `NAMES`, such as "tench"."""

from pathlib import Path

import yaml

_TABLE = yaml.safe_load(Path(__file__).with_name("imagenet.yml").read_text(encoding="utf-8"))
SYNSETS, NAMES = tuple(_TABLE), tuple(_TABLE.values())
