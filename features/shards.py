"""The folder that `densebone features` writes: pictures in shards, each of which is whole or not there.

settings.json          what was computed, with what
pictures.jsonl         all pictures, one absolute path in each line; shard k holds the lines from k * shard_size on
shards/000000.npz      (or .safetensors, .parquet) the features of the pictures of a shard that could be read
records/000000.json    their names, and the skipped ones with the reason; it is written after the features, so where it
                       is, the shard is done
skipped.jsonl          all skipped ones, once every shard is done
"""

import json
import shutil
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from filelock import FileLock

from ..errors import UserError
from ..system.files import atomic_path, check_writable, remove_temporaries
from . import listing

FORMATS = ("npz", "safetensors", "parquet")
SHARDS, RECORDS = "shards", "records"
SETTINGS, PICTURES, SKIPPED = "settings.json", "pictures.jsonl", "skipped.jsonl"


def begin(folder, settings, paths):
    """Lists the pictures into a new folder, or checks that a folder was begun with the same settings.

    Args:
        folder (Path), settings (dict of JSON values).
        paths (list): as for `listing.iterate`; used in a new folder, where the settings get `pictures`, their number,
            and `root`, the folder that names are relative to.

    Returns:
        dict: the settings of the folder.

    Raises:
        UserError: other settings, pictures that are not there, a folder that cannot be written to.
    """
    check_paths(folder, paths)
    check_writable(folder)
    with lock(folder):  # the processes that share the work begin at the same time
        file = folder / SETTINGS
        if not file.is_file():
            for leftover in folder.glob(".sorting-*"):  # of a process that was killed
                shutil.rmtree(leftover)
            count, root = listing.write(paths, folder / PICTURES)
            settings = {**settings, "pictures": count, "root": root}
            _write_json(file, settings)
            return settings
    there = _read_settings(folder)
    for key, value in settings.items():
        if there.get(key) != value:
            raise UserError(
                f"{folder} was begun with {key} {_short(there.get(key))}, and now it is {_short(value)}; give what it "
                f"was begun with, or another folder"
            )
    return there


def check_paths(folder, paths):
    """UserError when a folder is new and one of the paths holds no picture; quick."""
    if not (folder / SETTINGS).is_file():
        for path in paths:
            next(listing.iterate([path]))


def lock(folder):
    """For what one process at a time may do in a folder."""
    return FileLock(folder / ".lock")


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:60]}... ({len(text)} letters)"


def _read_settings(folder):
    try:
        return json.loads((folder / SETTINGS).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no {SETTINGS}; give a folder that densebone features wrote") from None
    except ValueError as error:
        raise UserError(f"{folder / SETTINGS} is not JSON ({error}); give another folder") from error


def _write_json(path, value):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def plain(name):
    """A file name as text that every format takes: bytes that are no UTF-8 become \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode()


def record(folder, number):
    """The path of the file that says that a shard is done, and what is in it."""
    return folder / RECORDS / f"{number:06d}.json"


def write(folder, number, settings, names, rows, skipped):
    """Writes one shard, whole, and then its record.

    Args:
        folder (Path), number (int), settings (dict): as `begin` returned.
        names (list of str): of the pictures that could be read.
        rows (list): for each a vector (D,), or a list of maps (C_i, H_i, W_i).
        skipped (list of (str, str)): names and reasons of those that could not.
    """
    file = folder / SHARDS / f"{number:06d}.{settings['format']}"
    if rows:
        with atomic_path(file) as temporary:
            _WRITERS[settings["format"]](temporary, names, _arrays(settings, rows))
    content = {
        "file": file.name if rows else None,
        "names": names,
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped],
    }
    _write_json(record(folder, number), content)


def _arrays(settings, rows):
    """The arrays of a shard by their names in its file."""
    if settings["pooled"]:
        return {"vectors": np.stack(rows)}
    keys = [f"stride{stride}" for stride in settings["strides"]]
    if settings["fixed_size"]:
        return {key: np.stack(maps) for key, maps in zip(keys, zip(*rows))}
    return {
        f"{index:06d}.{key}": np.ascontiguousarray(array)
        for index, maps in enumerate(rows)
        for key, array in zip(keys, maps)
    }


def _write_npz(path, names, arrays):
    np.savez(path, names=np.array(names), **arrays)


def _write_safetensors(path, names, arrays):
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata={"names": json.dumps(names)})


def _write_parquet(path, names, arrays):
    pyarrow, parquet = import_pyarrow()
    vectors = arrays["vectors"]
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    parquet.write_table(pyarrow.table({"name": pyarrow.array(names, pyarrow.string()), "vector": column}), path)


def import_pyarrow():
    """(pyarrow, pyarrow.parquet); UserError when it is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"Parquet needs pyarrow ({error}); pip install 'densebone[features]'") from error
    return pyarrow, parquet


_WRITERS = {"npz": _write_npz, "safetensors": _write_safetensors, "parquet": _write_parquet}


def _read_arrays(path):
    """{name: array} of a shard's file, without the names of the pictures."""
    if path.suffix == ".npz":
        with np.load(path) as content:
            return {key: content[key] for key in content.files if key != "names"}
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    column = import_pyarrow()[1].read_table(path, columns=["vector"])["vector"].combine_chunks()
    return {"vectors": column.flatten().to_numpy().reshape(len(column), -1)}


def read_record(folder, number):
    """The record of a shard that is done, a dict of file, names and skipped."""
    return json.loads(record(folder, number).read_text())


def records(folder):
    """Yields (number, content) of the records in a folder, in order."""
    for path in sorted((folder / RECORDS).glob("[0-9]*.json")):
        yield int(path.stem), json.loads(path.read_text())


def finish(folder, settings):
    """Lists what was skipped and deletes what killed processes left, if every shard is done; returns whether it is."""
    if not all(record(folder, number).is_file() for number in range(shard_count(settings))):
        return False
    with lock(folder):
        with atomic_path(folder / SKIPPED) as temporary, temporary.open("w") as stream:
            for _, content in records(folder):
                stream.writelines(json.dumps(row) + "\n" for row in content["skipped"])
        clean(folder, settings)
    return True


def clean(folder, settings):
    """Deletes what killed processes left half written; not while others write."""
    for place in (folder, folder / SHARDS, folder / RECORDS):
        if place.is_dir():
            remove_temporaries(place, (".json", ".jsonl", f".{settings['format']}"))


def shard_count(settings):
    """How many shards there are when all are done."""
    return -(-settings["pictures"] // settings["shard_size"])


def load_features(folder):
    """What `densebone features` wrote, also while it still runs.

    Args:
        folder (str | Path).

    Returns:
        (names, features): list of str, the paths of the pictures relative to `features.settings["root"]`, and
        `Features`, where features[i] belongs to names[i].

    Raises:
        UserError: not such a folder.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    shards = [(content["file"], content["names"]) for _, content in records(folder)]
    return [name for _, names in shards for name in names], Features(folder, settings, shards)


class Features(Sequence):
    """The features of pictures in files, of which one is in memory at a time.

    features[i] is a vector (D,), or a list of maps (C_i, H_i, W_i), float32. Reading in order is fast.

    Attributes:
        settings (dict): what was computed, with what.
        complete (bool): whether every picture is either here or was skipped.
    """

    def __init__(self, folder, settings, shards):
        self.settings = settings
        self.complete = len(shards) == shard_count(settings)
        self._shards = [(folder / SHARDS / file, names) for file, names in shards if file]
        self._ends = list(accumulate(len(names) for _, names in self._shards))
        self._held = None, None

    def __len__(self):
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # counts negative ones from the end, and raises IndexError
        shard = bisect_right(self._ends, index)
        place = index - (self._ends[shard] - len(self._shards[shard][1]))
        arrays = self._load(shard)
        if self.settings["pooled"]:
            return arrays["vectors"][place]
        keys = [f"stride{stride}" for stride in self.settings["strides"]]
        if self.settings["fixed_size"]:
            return [arrays[key][place] for key in keys]
        return [arrays[f"{place:06d}.{key}"] for key in keys]

    def __array__(self, dtype=None, copy=None):
        """All vectors, (N, D)."""
        if not self.settings["pooled"]:
            raise UserError("these are maps, which are not put into one array; go over them one by one, or by shards()")
        rows = [arrays["vectors"] for _, arrays in self.shards()]
        return np.concatenate(rows or [np.zeros((0, self.settings["vector_size"]), np.float32)]).astype(
            dtype or np.float32
        )

    def shards(self):
        """Yields (names, {name: array}) of one file after the other: "vectors" (n, D); or "stride8", ... (n, C_i, H_i,
        W_i); or, of inputs of different sizes, "000000.stride8", ... (C_i, H_i, W_i), with the place in the file."""
        for path, names in self._shards:
            yield names, _read_arrays(path)

    def _load(self, shard):
        if self._held[0] != shard:
            self._held = shard, _read_arrays(self._shards[shard][0])
        return self._held[1]
