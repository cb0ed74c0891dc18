"""`extract` writes the features of many pictures into files. It can be killed and resumed, and shared by processes."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures.remote import name_below, path_of
from ..system.packages import import_pyarrow
from ..system.progress import Progress
from ..system.timings import stage
from . import listing, shards
from .extractor import FeatureExtractor

#: pictures per file: about 4 MB of vectors, or 250 MB of maps of HarDNet-68 at 224 x 224
SHARD_SIZES = {"vectors": 1000, "maps": 64}
#: computes shards elsewhere: (number, paths) of each, the folder, its settings -> (number, record) in any order
Hands = Callable[[Iterator[tuple[int, list[str]]], Path, dict[str, Any]], Iterator[tuple[int, dict[str, Any]]]]
#: how many skipped pictures the summary names
EXAMPLES = 5


def extract(
    extractor: FeatureExtractor,
    paths: Sequence[str | Path],
    output: str | Path,
    file_format: str = "npz",
    shard_size: int | None = None,
    part: tuple[int, int] = (0, 1),
    draw: Callable[[int, str, np.ndarray, Any], None] | None = None,
    drawn: int | None = None,
    hands: Hands | None = None,
) -> dict[str, Any]:
    """Write the features of pictures into a folder. Features that are already there are not computed again.

    The first run lists the pictures; later runs keep that list. Each shard of the list becomes one file. Processes that
    share the work take every n-th shard; their number may change from run to run.

    Args:
        extractor: computes the features.
        paths: pictures, folders, patterns and lists, as for `listing.iterate`.
        output: the folder; `shards` describes its files.
        file_format: "npz", "safetensors", or "parquet" for vectors.
        shard_size: pictures per file; None takes `SHARD_SIZES`.
        part: (i, n): this process is number i of n, counted from 0.
        draw: called for each of the first `drawn` pictures of the list that is computed, with its number, its name, the
            input (3, H, W) and the features.
        drawn: how many pictures of the list are drawn; None draws all.
        hands: computes the shards elsewhere; None computes them here.

    Returns:
        For this part: pictures (how many have features), skipped (how many do not), examples (list of (name, reason)
        of skipped ones), computed (pictures read in this run), seconds (the time for these), and complete (whether all
        parts are done).

    Raises:
        UserError: no pictures, a folder with other settings, or one that cannot be written to.
    """
    extractor.check_takes_pictures()
    folder, (first, parts) = Path(output), part
    if shard_size is None:
        shard_size = SHARD_SIZES["vectors" if extractor.pooled else "maps"]
    settings = shards.begin(folder, _settings(extractor, paths, file_format, shard_size), paths)
    if parts == 1:
        shards.clean(folder, settings)
    numbers = range(first, shards.shard_count(settings), parts)
    done = _done(folder, settings, numbers)
    todo = [number for number in numbers if number not in done]
    left = sum(_length(settings, number) for number in todo)
    before = sum(_length(settings, number) for number in done)
    with Progress(total=before + left, initial=before, unit="picture", smoothing=0.05, desc="features") as bar:
        stream = listing.read(folder / shards.PICTURES, shard_size, set(todo).__contains__)
        if hands is None:
            _compute(extractor, stream, folder, settings, (draw, drawn), bar.update)
        else:
            each = ((number, [path for _, _, path in group]) for number, group in groupby(stream, lambda item: item[0]))
            for number, content in hands(each, folder, settings):
                shards.write_record(folder, number, content)
                bar.update(_length(settings, number))
        seconds = bar.format_dict["elapsed"]
    return {**_summary(folder, settings, numbers), "computed": left, "seconds": seconds}


def _done(folder, settings, numbers):
    """The finished shards that are as they were written. The others of them are computed anew, and named."""
    done = {number for number in numbers if shards.record(folder, number).is_file()}
    for number in sorted(done):
        if reason := shards.fault(folder, number, settings):
            print(f"note: {reason}, and is made anew", file=sys.stderr)
            shards.record(folder, number).unlink()
            done.discard(number)
    return done


def _settings(extractor, paths, file_format, shard_size):
    """The settings that must be the same to continue in a folder."""
    if file_format not in shards.FORMATS:
        raise UserError(f"format is {file_format!r}; give one of {', '.join(shards.FORMATS)}")
    if file_format == "parquet":
        if not extractor.pooled:
            raise UserError("Parquet is for vectors, and these are maps; give pooled, or another format")
        import_pyarrow()
    if type(shard_size) is not int or not 1 <= shard_size <= 10**6:
        raise UserError(f"shard_size is {shard_size!r}; give a number of pictures from 1 to a million")
    return {
        "paths": [listing.absolute(os.path.expanduser(os.fspath(path_of(path)))) for path in paths],
        **_facts(extractor),
        "format": file_format,
        "shard_size": shard_size,
    }


def _facts(extractor):
    """What the features depend on."""
    sizes = extractor.sizes
    return {
        "model": extractor.model,
        "weights": extractor.weights_hash,
        "pooled": extractor.pooled,
        "vector_size": extractor.vector_size,
        "strides": extractor.strides,
        "size_mode": sizes.mode,
        "size": list(sizes.size) if sizes.size else None,
        "multiple": sizes.multiple,
        "fixed_size": list(extractor.fixed_size) if extractor.fixed_size else None,
        "preprocessing": str(extractor.preprocessing),
        "precision": extractor.precision,
        "reduced": extractor.reduced,
        **({"calibration": extractor.calibration} if extractor.calibration else {}),
    }


def _length(settings, number):
    """How many pictures a shard has."""
    return min(settings["shard_size"], settings["pictures"] - number * settings["shard_size"])


def _compute(extractor, stream, folder, settings, drawing, advance):
    """Compute and write the features of a stream of (shard number, line number, path), shard by shard."""
    draw, drawn = drawing

    def is_drawn(item):
        return draw is not None and (drawn is None or item[1] < drawn)

    chunks = extractor.chunks(stream, lambda item: item[2], is_drawn, fill=True)
    pairs = (pair for items, rows in chunks for pair in zip(items, rows))
    for number, group in groupby(pairs, key=lambda pair: pair[0][0]):
        content = _write(number, _told(group, draw, settings, advance), folder, settings)
        shards.write_record(folder, number, content)


def _told(pairs, draw, settings, advance):
    """The pairs of a shard, while what is to be drawn is drawn and the progress bar moves on."""
    for pair in pairs:
        (_, line, path), row = pair
        if row.inputs is not None:
            draw(line, _name(path, settings), row.inputs, row.features)
        advance(1)
        yield pair


def _write(number, pairs, folder, settings):
    """Write the features of a shard of ((number, line, path), row); returns its record."""
    names, features, skipped = [], [], []
    for (_, _, path), row in pairs:
        name = _name(path, settings)
        if row.error:
            skipped.append((name, shards.plain(str(row.error).removeprefix(f"{path}: "))))
        else:
            names.append(name)
            features.append(row.features)
    with stage("write"):
        return shards.write_features(folder, number, settings, names, features, skipped)


def _name(path, settings):
    return shards.plain(name_below(path, settings["root"]))


def compute_shard(
    extractor: FeatureExtractor, number: int, paths: Sequence[str], folder: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Write the features of one shard, which another process may have listed.

    Args:
        extractor: computes the features.
        number: of the shard.
        paths: its pictures, as `listing.read` gives them.
        folder: the features go to FOLDER/shards.
        settings: of the whole, as `shards.begin` returned them.

    Returns:
        Its record, which `shards.write_record` is to write where the whole is.
    """
    stream = iter([(number, line, path) for line, path in enumerate(paths)])
    chunks = extractor.chunks(stream, lambda item: item[2], fill=True)
    return _write(number, (pair for items, rows in chunks for pair in zip(items, rows)), folder, settings)


def check_settings(extractor: FeatureExtractor, settings: dict[str, Any]) -> None:
    """Raises UserError unless an extractor computes what the settings of a folder say."""
    for key, value in _facts(extractor).items():
        if settings.get(key) != value:
            raise UserError(f"{key} is {value} here and {settings.get(key)} there; use the same weights and versions")


def _summary(folder, settings, numbers):
    """Count the pictures of the finished shards `numbers`, and name the first skipped ones."""
    pictures, skipped, examples = 0, 0, []
    for number in numbers:
        content = shards.read_record(folder, number, settings)
        pictures += len(content["names"])
        skipped += len(content["skipped"])
        examples += [(row["name"], row["reason"]) for row in content["skipped"][: EXAMPLES - len(examples)]]
    return {"pictures": pictures, "skipped": skipped, "examples": examples, "complete": shards.finish(folder, settings)}
