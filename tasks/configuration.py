"""What all configurations share: files with bases, overrides given as text, the device."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, suggest

#: modules that a configuration may import by `!!python/module:NAME`
PLUGINS = ("densebone.integrations.paddledet", "densebone.integrations.paddleseg")
#: values of a configuration, aliases expanded
MAX_VALUES = 100_000
_PYTHON = "tag:yaml.org,2002:python/"
# PaddleDetection's key, which holds a list, and PaddleSeg's, which holds a file or a list.
_BASE_KEYS = ("_BASE_", "_base_")
#: keys of configurations whose values are names of files and folders; `-o save_dir=2007` means a folder of that name
TEXT_KEYS = frozenset(
    """
    save_dir weights output_eval vdl_log_dir filename proposals_path dataset_dir image_dir anno_path label_list
    dataset_root train_path val_path test_path root part list
    """.split()  # noqa: SIM905
)
_TEXT_OR_FLAG = ("pretrained", "pretrain_weights")
_NULLS = ("", "null", "~")
# PyYAML reads 1e-3 as text, because YAML 1.1 wants a point in it.
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def with_bases(path: str | Path, plugins: Sequence[str] | None = None) -> list[tuple[Path, yaml.MappingNode]]:
    """Reads a configuration and the files that it builds on. Nothing that a tag names is run.

    Args:
        path: the file.
        plugins: modules that a tag `!!python/module:NAME` may name, besides `PLUGINS`. None does not look at tags.

    Returns:
        (file, its YAML node) of the file itself and of every base.

    Raises:
        UserError: a file is not YAML or holds no keys; a base does not exist or builds on a file above it; a tag that
            would run something; aliases or nesting without measure.
    """
    return _with_bases(Path(path), (), plugins)


def _with_bases(path, heirs, plugins):
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be a configuration") from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path} holds no keys; a configuration is expected")
    _check_size(node, path)
    if plugins is not None:
        _check_tags(node, path, {*PLUGINS, *plugins})
    files = [(path, node)]
    for key, value in node.value:
        if key.value in _BASE_KEYS:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                file = path.parent / Path(str(base.value)).expanduser()
                if not file.is_file():
                    raise UserError(f"{path} builds on {file}, which does not exist")
                if file.resolve() in heirs or file.resolve() == path.resolve():
                    raise UserError(
                        f"{path} builds on {file}, which builds on {path.name} again; remove one of the two"
                    )
                files += _with_bases(file, (*heirs, path.resolve()), plugins)
    return files


def _parts(node):
    """The nodes inside a YAML node, keys among them."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_size(node, path):
    """Raises UserError for a node that aliases make immense, and for one that holds itself."""
    sizes, open_nodes, stack = {}, set(), [(node, False)]
    while stack:
        current, done = stack.pop()
        if done:
            open_nodes.discard(id(current))
            sizes[id(current)] = 1 + sum(sizes[id(part)] for part in _parts(current))
            if sizes[id(current)] > MAX_VALUES:
                line = current.start_mark.line + 1
                raise UserError(f"{path}, line {line}: aliases make this more than {MAX_VALUES} values; write fewer")
        elif id(current) in open_nodes:
            raise UserError(f"{path}, line {current.start_mark.line + 1}: an alias that holds itself; remove it")
        elif id(current) not in sizes:
            open_nodes.add(id(current))
            stack.append((current, True))
            stack += [(part, False) for part in _parts(current)]


def _check_tags(node, path, modules):
    """Raises UserError for a tag that names Python, other than `!!python/module:` of a known module."""
    seen, stack = set(), [node]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        kind, _, name = current.tag.removeprefix(_PYTHON).partition(":")
        if current.tag.startswith(_PYTHON) and not (kind == "module" and name in modules) and kind != "tuple":
            raise UserError(
                f"{path}, line {current.start_mark.line + 1}: the tag !!python/{current.tag.removeprefix(_PYTHON)} "
                f"would run Python; only !!python/module:{PLUGINS[0]} is allowed, and modules that --plugin names"
            )
        stack += _parts(current)


def top_level_keys(path: str | Path) -> set[str]:
    """The top-level keys of a configuration and its bases."""
    return {str(key.value) for _, node in with_bases(path) for key, _ in node.value}


def anchored_keys(path: str | Path) -> set[str]:
    """Top-level keys that hold YAML anchors. They are read through their aliases and not by name."""
    keys = set()
    for file, _ in with_bases(path):
        depth, key = 0, None
        for event in yaml.parse(file.read_text(encoding="utf-8")):
            if depth == 1 and key is None and isinstance(event, yaml.ScalarEvent):
                key = event.value
                continue
            if depth == 1 and key is not None:
                if getattr(event, "anchor", None):
                    keys.add(key)
                key = None
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    return keys


def apply_override(settings: Any, override: str, known: Collection[str] = ()) -> None:
    """Sets one "a.b.0.c=value" in a configuration.

    Args:
        settings: the configuration, changed in place.
        override: the value is YAML; of a key in `TEXT_KEYS` it is the text as it stands, or null. Numbers step into
            lists. Every key on the way must exist.
        known: top-level keys that may be set though the configuration lacks them.

    Raises:
        UserError: not of that form, not YAML, or a place that does not exist.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"override {override!r} is not of the form key=value, for example TrainReader.batch_size=4")
    *parents, last = path.split(".")
    value = _value(last, text, override)
    node = settings
    for depth, key in enumerate(parents):
        node = _child(node, key, ".".join(parents[:depth]), override)
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    elif isinstance(node, dict):
        if node is settings and last not in settings and last not in known:
            raise UserError(f"override {override!r}: no key {last!r}; {suggest(last, {*known, *settings})}")
        node[last] = value
    else:
        raise UserError(f"override {override!r}: {'.'.join(parents)} is a {type(node).__name__}, it has no keys")


def _value(key, text, override):
    if key in TEXT_KEYS and text not in _NULLS:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        if not quoted:
            return text
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _check_size(node, f"override {override[:80]!r}")
            _check_tags(node, f"override {override[:80]!r}", ())
        value = yaml.load(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the value of override {override!r} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"the value of override {override[:80]!r} is nested too deeply") from error
    return text if key in _TEXT_OR_FLAG and not isinstance(value, (bool, type(None))) else plain(value)


def check_texts(settings: Any, path: str | Path) -> None:
    """Raises UserError for a number or the like under a key of `TEXT_KEYS`: YAML reads `save_dir: 007` as 7."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key in TEXT_KEYS and isinstance(value, (bool, int, float)):
                raise UserError(f'{path}: {key} is {value!r}, which is no text; put it in quotes: {key}: "{value}"')
            check_texts(value, path)
    elif isinstance(settings, list):
        for item in settings:
            check_texts(item, path)


def _child(node, key, where, override):
    if isinstance(node, list):
        return node[_index(node, key, override)]
    if isinstance(node, dict):
        if key not in node:
            schema = getattr(node, "schema", None) or ()  # PaddleDetection's components have default values there
            if key in schema and isinstance(node[key], (dict, list)):
                return node[key]
            place = f" in {where}" if where else ""
            raise UserError(f"override {override!r}: there is no {key!r}{place}; {suggest(key, {*node, *schema})}")
        return node[key]
    raise UserError(f"override {override!r}: {where} is a {type(node).__name__}, it has no keys")


def _index(items, key, override):
    if not key.isdigit() or int(key) >= len(items):
        raise UserError(f"override {override!r}: {key!r} is not a position in a list of {len(items)}")
    return int(key)


def plain(value: Any) -> Any:
    """A copy of YAML values that shares nothing (an alias becomes a copy) and in which 1e-3 is a number."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value


def gpu_to_use(asked: bool | None) -> bool:
    """Whether to run on a GPU.

    Args:
        asked: what the configuration says. None takes a GPU when there is one. True without a GPU prints a note.
    """
    import paddle

    available = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if asked and not available:
        print("note: use_gpu is set and Paddle sees no GPU; running on the CPU", file=sys.stderr)
    return available and (asked is None or bool(asked))


def set_device(asked: bool | None) -> None:
    """Makes Paddle run on the device that `gpu_to_use` chooses."""
    import paddle

    paddle.set_device("gpu" if gpu_to_use(asked) else "cpu")


def flatten(files: Iterable[Path], text: str) -> str:
    """Merges configurations into one YAML text without bases. Later files replace earlier ones, `text` replaces all.

    Comments are lost. Tags and anchored values stay, and nothing that a tag names is run.

    Args:
        files: .yml files; each is read with its bases.
        text: YAML of one mapping.

    Raises:
        UserError: as `with_bases`.
    """
    merged: Any = yaml.compose("{}", Loader=yaml.SafeLoader)
    for file in files:
        _merge(merged, _flattened(Path(file)))
    _merge(merged, yaml.compose(text, Loader=yaml.SafeLoader))
    merged.flow_style = False
    return yaml.serialize(merged, Dumper=yaml.SafeDumper, width=200)


def _flattened(path):
    (_, node), *_ = with_bases(path)
    whole = yaml.MappingNode(node.tag, [], flow_style=False)
    for key, value in node.value:
        if key.value in _BASE_KEYS:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                _merge(whole, _flattened(path.parent / Path(str(base.value)).expanduser()))
    _merge(whole, yaml.MappingNode(node.tag, [pair for pair in node.value if pair[0].value not in _BASE_KEYS]))
    return whole


def _merge(under, over):
    """Puts the keys of one mapping node over those of another, in place. Mappings are merged, other values replaced."""
    places = {key.value: i for i, (key, _) in enumerate(under.value)}
    for key, value in over.value:
        if key.value not in places:
            under.value.append((key, value))
            continue
        _, old = under.value[places[key.value]]
        if isinstance(old, yaml.MappingNode) and isinstance(value, yaml.MappingNode):
            _merge(old, value)
        else:
            under.value[places[key.value]] = (key, value)
