"""What the configurations of both toolkits share: files built on files, overrides given as text, the device."""

import re
import sys
from pathlib import Path

import yaml

from ..errors import UserError, suggest

# PaddleDetection's key, which holds a list, and PaddleSeg's, which holds one file or a list.
_BASE_KEYS = ("_BASE_", "_base_")
# PyYAML takes 1e-3 for text: YAML 1.1 asks for a point in it.
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def with_bases(path):
    """A configuration and the files that it builds on, read without running anything that their tags name.

    Args:
        path (Path): a .yml file.

    Returns:
        list of (Path, yaml.MappingNode): the file itself first.

    Raises:
        UserError: a file that is not YAML or holds no keys, a base that does not exist or builds on its own heir.
    """
    return _with_bases(Path(path), ())


def _with_bases(path, heirs):
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path} holds no keys; a configuration is expected")
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
                files += _with_bases(file, (*heirs, path.resolve()))
    return files


def top_level_keys(path):
    """The set of top-level keys of a configuration and its bases."""
    return {str(key.value) for _, node in with_bases(path) for key, _ in node.value}


def anchored_keys(path):
    """Top-level keys that hold YAML anchors: they are read through their aliases, not by name."""
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


def apply_override(settings, override, known=()):
    """Sets one "a.b.0.c=value" in a configuration.

    Args:
        settings (dict): changed in place.
        override (str): the value is YAML; numbers step into lists; a key that is stepped through must be there.
        known (set of str): top-level keys that may be set though the configuration lacks them.

    Raises:
        UserError: not of that form, not YAML, or a place that does not exist.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"override {override!r} is not of the form key=value, for example TrainReader.batch_size=4")
    try:
        value = yaml.load(text, Loader=yaml.Loader)
    except yaml.YAMLError as error:
        raise UserError(f"the value of override {override!r} is not YAML: {' '.join(str(error).split())}") from error
    *parents, last = path.split(".")
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


def _child(node, key, where, override):
    if isinstance(node, list):
        return node[_index(node, key, override)]
    if isinstance(node, dict):
        if key not in node:
            schema = getattr(node, "schema", None) or ()  # of PaddleDetection's components: the default values
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


def plain(value):
    """A copy of YAML values in which nothing is shared (an alias becomes a copy) and 1e-3 is a number, not text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value


def gpu_to_use(asked):
    """Whether to run on a GPU, if Paddle sees one; `asked` is what the configuration says: true, false, or None for
    whatever is there. A note on stderr when one is asked for and there is none."""
    import paddle

    available = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if asked and not available:
        print("note: use_gpu is set and Paddle sees no GPU; running on the CPU", file=sys.stderr)
    return available and (asked is None or bool(asked))


def flatten(files, text):
    """One YAML text of the keys of `files`, each file and its bases over those before, and of `text` over all.

    Comments are lost; tags and anchors' values stay, and nothing that a tag names is run.

    Args:
        files (iterable of Path): .yml files.
        text (str): YAML of one mapping.

    Raises:
        UserError: as `with_bases`.
    """
    merged = yaml.compose("{}", Loader=yaml.SafeLoader)
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
    """Puts the keys of one mapping node over those of another, in place; mappings are merged, all else replaced."""
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
