"""Published weights: list them, download them, recognise a file, convert it.

densebone weights list 'hardnet68*'
densebone weights info hardnet68.official
densebone weights download hardnet68.official
densebone weights verify hardnet68.pth
densebone weights convert hardnet68.pdparams hardnet68.safetensors
densebone weights add Downloads/hardnet68.pth --as hardnet68.official
"""

import fnmatch
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, printable
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


def _parser():
    result = options.plain_parser("weights", __doc__)
    commands = result.add_subparsers(required=True, metavar="COMMAND")

    def command(run, summary, **positional):
        sub = options.add_action(commands, "weights", run.__name__.strip("_"), summary, __doc__)
        sub.set_defaults(run=run)
        for name, text in positional.items():
            sub.add_argument(name, metavar=name.upper(), help=text)
        return sub

    sub = command(_list, "the known checkpoints, and whether they are in the cache")
    sub.add_argument("pattern", nargs="?", default="*", help="shell pattern of names; default *")
    command(_info, "all that is known about one", name="a name of the list, or a model's for its default")
    sub = command(_download, "get one into the cache, checked", name="a name of the list, a model's, or a URL")
    sub.add_argument("-O", "--output", metavar="DIR", type=Path, help="also copy it into this folder")
    sub = command(_verify, "tell what a file is: its hashes, its layout and its network", file="a file of weights")
    sub.add_argument("--layout", dest="given", metavar="NAME", help="take it for this layout instead of finding out")
    sub = command(_convert, "write a file in another format and layout", source="the file", target="the file to write")
    sub.add_argument("--layout", choices=("ours", "paddleclas", "pytorch"), default="ours", help="default ours")
    sub.add_argument("--from", dest="given", metavar="NAME", help="take SOURCE for this layout instead of finding out")
    sub = command(_add, "put a file that you downloaded by hand into the cache", file="the file")
    sub.add_argument("--as", dest="name", metavar="NAME", help="the name it has in the list; default: told by its hash")
    return result


def _list(arguments):
    from ..weights.catalog import default_for, entries
    from ..weights.download import cache_path

    defaults = {entry.model: default_for(entry.model) for entry in entries() if entry.model}
    found = [entry for entry in entries() if fnmatch.fnmatch(entry.name, arguments.pattern)]
    if not found:
        print(f"nothing matches {arguments.pattern!r}")
    for entry in found:
        place = "cached" if cache_path(entry).is_file() else "download" if entry.urls else "by hand"
        fit = "" if entry.model else "cannot be loaded; "
        if entry is defaults.get(entry.network):
            fit = "the default; "
        print(f"{entry.name:32} {place:9} {fit}{entry.accuracy or 'no claimed accuracy'}")
    return 0


def _info(arguments):
    from ..weights.catalog import find
    from ..weights.download import cache_path

    entry = find(arguments.name)
    stated = entry.integrity
    hashes = [
        ("SHA-256 begins with", stated.sha256_prefix), ("git blob SHA-1", stated.git_blob_sha1), ("SHA-1", stated.sha1),
    ]  # fmt: skip
    said = ", or ".join(f"{words} {value}" for words, value in hashes if value)
    path = cache_path(entry)
    form = f', form="{entry.form}"' if entry.form else ""
    rows = [
        ("holds", entry.title),
        ("model", f"{entry.model}{form}" if entry.model else f"none of ours: {entry.reason}"),
        ("claimed", f"{entry.accuracy}, by {entry.claimed_by}" if entry.accuracy else "nothing"),
        ("preprocessing", entry.preprocessing or "not stated by its source"),
        ("assumed", ", ".join(entry.assumed)),
        ("licence", entry.licence),
        ("layout", entry.layout),
        ("container", entry.container or "not stated by its source"),
        ("integrity", f"{said} (of the {stated.of})" if said else "nothing published; recorded when first seen"),
        ("note", entry.note),
        ("read in", entry.read_in),
        *(("URL", url) for url in entry.urls),
        *(("page", page) for page in entry.pages),
        ("cache", f"{path}{'' if path.is_file() else ' (not there yet)'}"),
    ]
    if not entry.urls:
        rows.append(("to get it", f"visit a page, then densebone weights add FILE --as {entry.name}"))
    print(entry.name)
    print("\n".join(printable(f"  {label:14} {value}") for label, value in rows if value))
    return 0


def _download(arguments):
    from ..system.files import atomic_path, check_writable
    from ..weights.download import fetch

    if arguments.output:
        check_writable(arguments.output)
    path = fetch(arguments.name)
    if arguments.output:
        copy = arguments.output / path.name
        with atomic_path(copy) as temporary:
            shutil.copyfile(path, temporary)
        path = copy
    print(path)
    return 0


def _verify(arguments):
    from ..weights.integrity import agrees, digests, namesakes, owners

    path = _existing(arguments.file)
    found = digests(path)
    print(f"{path}\n  {'size':14} {found.size:,} bytes\n  {'SHA-256':14} {found.sha256}")
    known = owners(found)
    for entry in known:
        print(f"  {'published as':14} {entry.name}: {agrees(entry.integrity, found)} agrees")
    if not known and (wrong := [e.name for e in namesakes(path) if e.integrity.stated and not e.zipped]):
        raise UserError(f"{path} has the name of {wrong[0]} and is not that file: its hash is not the published one")
    content, recognised = _recognise(path, arguments.given)
    count = sum(value.size for value in recognised.arrays.values())
    rows = [
        ("container", content.container),
        ("layout", recognised.layout),
        ("model", recognised.model or f"none of ours: {recognised.foreign or 'its shapes fit none'}"),
        ("needs", ", ".join(f"{k}={v!r}" for k, v in recognised.needs.items())),
        ("tensors", f"{len(recognised.arrays)}, {count:,} numbers"),
    ]
    print("\n".join(printable(f"  {label:14} {value}") for label, value in rows if value))
    return 0


def _convert(arguments):
    from ..system.files import check_writable
    from ..weights.array_conversion import turned
    from ..weights.layouts import DEFAULTS, DETECTORS
    from ..weights.writer import check_target, write

    check_target(arguments.target, arguments.layout)
    _, recognised = _recognise(_existing(arguments.source), arguments.given)
    if recognised.foreign:
        raise UserError(f"{arguments.source} holds weights of {recognised.foreign}; they are not converted")
    special = {option: value for option, value in recognised.needs.items() if value != DEFAULTS[option]}
    if special and recognised.model not in DETECTORS:  # whose configuration says it
        needs = ", ".join(f"{option}={value!r}" for option, value in special.items())
        raise UserError(
            f"{arguments.source} has the layout {recognised.layout!r}, whose network needs {needs}; another file could "
            "not say so, so it is not converted: load this one"
        )
    arrays, note = recognised.arrays, ""
    if recognised.channels == "bgr":
        arrays = turned(arrays)
        note = "" if arguments.layout == "pytorch" else "; for RGB images, where the file was for BGR ones"
    check_writable(Path(arguments.target).parent)
    write(arrays, arguments.target, arguments.layout)
    what = f"{recognised.model or 'weights'}, {recognised.layout} -> {arguments.layout}"
    print(f"wrote {arguments.target}: {what}{note}")
    return 0


def _add(arguments):
    from ..weights.download import add

    entry, path = add(arguments.file, arguments.name, _examine)
    use = f"; use it as pretrained: {entry.name}" if entry.model else f"; it cannot be loaded: {entry.reason}"
    print(f"{path}{use}")
    return 0


def _examine(path, entry):
    """Raises UserError unless a file holds weights of the entry's network."""
    if entry.model:
        _, recognised = _recognise(path)
        if recognised.model != entry.model:
            what = recognised.model or recognised.foreign or "another network"
            raise UserError(f"it is not {entry.name}: it holds weights of {what}, and {entry.model} is expected")


def _existing(file):
    if not Path(file).is_file():
        raise UserError(f"weights file {file} does not exist")
    return Path(file)


def _recognise(path, layout=None):
    """(Checkpoint, Recognised) of a file; `layout` skips the recognition."""
    from ..weights.layouts import recognise
    from ..weights.reader import read_checkpoint

    content = read_checkpoint(path)
    return content, recognise(content.arrays, layout)
