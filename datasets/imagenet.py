"""ImageNet's 1000 classes in the order of a classifier's outputs.

`SYNSETS` holds ids such as "n01440764", `NAMES` the names, such as "tench".
"""

from pathlib import Path

import yaml

_TABLE = yaml.safe_load(Path(__file__).with_name("imagenet.yml").read_text(encoding="utf-8"))
SYNSETS, NAMES = tuple(_TABLE), tuple(_TABLE.values())
