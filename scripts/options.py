"""Options that the commands on a configuration share, and finding the configuration."""

import argparse
from pathlib import Path

import yaml

from ..errors import UserError, suggest

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def parser(command, doc):
    """An argument parser with -c, -o and --data."""
    result = argparse.ArgumentParser(
        prog=f"densebone {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "-c", "--config", required=True, help="a .yml file, or the name of one that ships (densebone list)"
    )
    result.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="set keys of the configuration: TrainReader.batch_size=4; numbers step into lists",
    )  # fmt: skip
    result.add_argument(
        "--data", metavar="DIR", help="folder of the data set, for training, evaluation and class names"
    )
    return result


def add_weights(result):
    """-w, for the commands that use trained weights."""
    result.add_argument("-w", "--weights", help="a .pdparams file; default: what training left in save_dir")


def shipped_configs():
    """{name without .yml: path} of every configuration that ships."""
    return {p.stem: p for p in sorted(CONFIGS.glob("*/*.yml"))}


def find_config(given):
    """The path of a configuration given as a path or as the name of a shipped one; UserError when there is none."""
    path = Path(given)
    if path.is_file():
        return path
    shipped = shipped_configs()
    name = path.name[:-4] if path.name.endswith(".yml") else path.name
    if path.parent == Path(".") and name in shipped:
        return shipped[name]
    raise UserError(f"configuration {given} does not exist; {suggest(name, shipped)}")


class _AnyTag(yaml.SafeLoader):
    """Reads plain YAML and passes over tags, so that looking at a configuration runs nothing."""


_AnyTag.add_multi_constructor("", lambda loader, suffix, node: None)


def task_of(path):
    """ "detection": what the configuration, or one of its bases, is for; UserError when it does not say."""
    if "architecture" in _top_level_keys(path):
        return "detection"
    raise UserError(f"{path} names no 'architecture', so it is not clear what it trains")


def _top_level_keys(path):
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_AnyTag)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no keys; a configuration is expected")
    keys = set(content)
    for base in content.get("_BASE_") or ():
        file = path.parent / Path(base).expanduser()
        if not file.is_file():
            raise UserError(f"{path} builds on {file}, which does not exist")
        keys |= _top_level_keys(file)
    return keys


def load_detection(arguments):
    """The loaded detection configuration of parsed arguments."""
    path = find_config(arguments.config)
    task_of(path)
    if getattr(arguments, "weights", "") is None:  # PaddleDetection's own spelling of -w
        given = [o.partition("=")[2] for o in arguments.override if o.startswith("weights=")]
        arguments.weights = given[-1] if given else None
    from ..detection import config

    return config.load(path, arguments.override, arguments.data)
