"""The folder that `densebone features` writes. Pictures go into shards; a shard is complete or not there.

settings.json          what was computed, and with what
pictures.jsonl         all pictures, one absolute path per line; shard k starts at line k * shard_size
shards/000000.npz      (or .safetensors, .parquet) the features of a shard's readable pictures
records/000000.json    their names, the skipped pictures with the reasons, and the size and SHA-256 of the features.
                       It is written after the features, so the shard is done if it exists
skipped.jsonl          all skipped pictures, written when every shard is done
"""

import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ..errors import UserError
from ..system.files import atomic_path, check_writable, facts_of, remove_temporaries, sha256_of
from ..system.packages import import_pyarrow
from . import listing

FORMATS = ("npz", "safetensors", "parquet")
SHARDS, RECORDS = "shards", "records"
SETTINGS, PICTURES, SKIPPED = "settings.json", "pictures.jsonl", "skipped.jsonl"
_AGAIN = "give the same densebone features command again, which makes it anew"


def begin(folder: Path, settings: dict[str, Any], paths: Sequence[str | Path]) -> dict[str, Any]:
    """List the pictures in a new folder, or check that an existing one was begun with the same settings.

    Args:
        folder: the output folder.
        settings: JSON values.
        paths: as for `listing.iterate`. Read in a new folder only, where they add three settings: `pictures`, how many
            there are, `root`, the folder that names are relative to, and `list`, the SHA-256 of their list.

    Returns:
        The settings of the folder.

    Raises:
        UserError: other settings, missing pictures, or a folder that cannot be written to.
    """
    check_paths(folder, paths)
    check_writable(folder)
    with lock(folder):  # processes that share the work start at the same time
        file = folder / SETTINGS
        if not file.is_file():
            for leftover in folder.glob(".sorting-*"):  # from a killed process
                shutil.rmtree(leftover)
            count, root = listing.write(paths, folder / PICTURES)
            settings = {**settings, "pictures": count, "root": root, "list": sha256_of(folder / PICTURES)}
            _write_json(file, settings)
            return settings
    there = _read_settings(folder)
    if not (folder / PICTURES).is_file() or sha256_of(folder / PICTURES) != there.get("list"):
        raise UserError(
            f"{folder / PICTURES} is not the list that the folder was begun with; put it back, or give another folder"
        )
    if "reduced" in settings:
        there.setdefault("reduced", False)  # folders of earlier versions do not say it
    for key, value in settings.items():
        if there.get(key) != value:
            raise UserError(
                f"{folder} was begun with {key} {_short(there.get(key))}, and now it is {_short(value)}; give what it "
                f"was begun with, or another folder"
            )
    return there


def check_paths(folder: Path, paths: Sequence[str | Path]) -> None:
    """UserError when the folder is new and a path holds no picture. Stops at the first picture of each path."""
    if not (folder / SETTINGS).is_file():
        for path in paths:
            next(listing.iterate([path]))


def lock(folder: Path) -> FileLock:
    """A lock for steps that one process at a time may do in a folder."""
    return FileLock(folder / ".lock")


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:60]}... ({len(text)} letters)"


def _read_settings(folder):
    try:
        return json.loads((folder / SETTINGS).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no {SETTINGS}; give a folder that densebone features wrote") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder / SETTINGS} is not JSON ({error}); give another folder") from error


def _write_json(path, value):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def plain(name: str) -> str:
    """A file name that every format can store: bytes that are not UTF-8 become \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode()


def record(folder: Path, number: int) -> Path:
    """The path of a shard's record, which exists if the shard is done."""
    return folder / RECORDS / f"{number:06d}.json"


def write(folder: Path, number: int, *content: Any) -> None:
    """Write one shard, and then its record; arguments as of `write_features`."""
    write_record(folder, number, write_features(folder, number, *content))


def write_features(
    folder: Path,
    number: int,
    settings: dict[str, Any],
    names: Sequence[str],
    rows: Sequence[Any],
    skipped: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Write the features of one shard. It is done when `write_record` has written what this returns.

    Args:
        folder: the output folder.
        number: of the shard.
        settings: as `begin` returned them.
        names: the readable pictures.
        rows: the features of each: a vector (D,), or a list of maps (C_i, H_i, W_i).
        skipped: (name, reason) of the pictures that could not be read.

    Returns:
        The shard's record, as `read_record` returns it.
    """
    file = folder / SHARDS / f"{number:06d}.{settings['format']}"
    if rows:
        with atomic_path(file) as temporary:
            _WRITERS[settings["format"]](temporary, names, _arrays(settings, rows))
    return {
        "of": _key(settings, number),
        "file": file.name if rows else None,
        "facts": facts_of(file) if rows else None,
        "names": names,
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped],
    }


def write_record(folder: Path, number: int, content: dict[str, Any]) -> None:
    """Write the record of a shard whose features are there: `content` is what `write_features` returned."""
    _write_json(record(folder, number), content)


def _key(settings, number):
    """Tells the record of a shard from those of other shards and folders."""
    return hashlib.sha256(json.dumps([settings, number], sort_keys=True).encode()).hexdigest()[:16]


def fault(folder: Path, number: int, settings: dict[str, Any]) -> str | None:
    """Why a shard that has a record is not what was written; None when it is. Hashing takes 0.5 ms a megabyte."""
    try:
        content = read_record(folder, number, settings)
    except UserError as error:
        return str(error).split(";")[0]
    return _changed(folder / SHARDS / content["file"], content["facts"]) if content["file"] else None


def _changed(path, facts):
    """Why a file of features is not what was written, or None."""
    if not path.is_file():
        return f"{path.name} is missing"
    return None if facts_of(path) == facts else f"{path.name} has changed"


def _arrays(settings, rows):
    """The arrays of a shard's file, by name."""
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


_WRITERS = {"npz": _write_npz, "safetensors": _write_safetensors, "parquet": _write_parquet}


def _read_arrays(path, facts):
    """{name: array} of a shard's file, without the picture names. UserError when it is not what was written."""
    if reason := _changed(path, facts):
        raise UserError(f"{path.parent.parent}: {reason}; {_AGAIN}")
    if path.suffix == ".npz":
        with np.load(path) as content:
            return {key: content[key] for key in content.files if key != "names"}
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    column = import_pyarrow()[1].read_table(path, columns=["vector"])["vector"].combine_chunks()
    return {"vectors": column.flatten().to_numpy().reshape(len(column), -1)}


def read_record(folder: Path, number: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The record of a finished shard: file, facts, names and skipped.

    Raises:
        UserError: it is damaged, or the record of another shard or folder.
    """
    path = record(folder, number)
    try:
        content = json.loads(path.read_text())
        key, _ = content["of"], (content["file"], content["facts"], content["names"], content["skipped"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged; {_AGAIN}") from error
    if key != _key(settings, number):
        raise UserError(f"{path} is the record of other features; {_AGAIN}")
    return content


def records(folder: Path, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the records of the finished shards in a folder, in order; see `read_record`."""
    for path in sorted((folder / RECORDS).glob("[0-9]*.json")):
        yield read_record(folder, int(path.stem), settings)


def finish(folder: Path, settings: dict[str, Any]) -> bool:
    """If every shard is done, list the skipped pictures and `clean` the folder. Returns whether every shard is done."""
    if not all(record(folder, number).is_file() for number in range(shard_count(settings))):
        return False
    with lock(folder):
        with atomic_path(folder / SKIPPED) as temporary, temporary.open("w") as stream:
            for content in records(folder, settings):
                stream.writelines(json.dumps(row) + "\n" for row in content["skipped"])
        clean(folder, settings)
    return True


def clean(folder: Path, settings: dict[str, Any]) -> None:
    """Delete the half-written files of killed processes. Call it only while no process writes."""
    for place in (folder, folder / SHARDS, folder / RECORDS):
        if place.is_dir():
            remove_temporaries(place, (".json", ".jsonl", f".{settings['format']}"))


def shard_count(settings: dict[str, Any]) -> int:
    """How many shards the pictures need."""
    return -(-settings["pictures"] // settings["shard_size"])


def load_features(folder: str | Path) -> tuple[list[str], "Features"]:
    """Read the features that `densebone features` wrote. Works while the command still runs.

    Args:
        folder: the output folder of the command.

    Returns:
        (names, features): the pictures' paths relative to `features.settings["root"]`, and their features;
        features[i] belongs to names[i].

    Raises:
        UserError: the command did not write this folder, or a record of it was changed. Reading features from a file
            that was changed raises one too.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    contents = [*records(folder, settings)]
    return [name for content in contents for name in content["names"]], Features(folder, settings, contents)


class Features(Sequence):
    """The features of pictures in files. Keeps one file in memory at a time, so reading in order is fast.

    features[i] is a vector (D,) or a list of maps (C_i, H_i, W_i), float32.

    Args:
        folder: the output folder.
        settings: of the folder.
        contents: the record of each finished shard.

    Attributes:
        settings: what was computed, and with what.
        complete: whether all shards are done: every picture either has features or was skipped.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], contents: Sequence[dict[str, Any]]):
        self.settings = settings
        self.complete = len(contents) == shard_count(settings)
        self._shards = [(folder / SHARDS / c["file"], c["facts"], c["names"]) for c in contents if c["file"]]
        self._ends = list(accumulate(len(names) for _, _, names in self._shards))
        self._held: tuple[int, dict[str, np.ndarray]] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # counts negative ones from the end, and raises IndexError
        shard = bisect_right(self._ends, index)
        place = index - (self._ends[shard] - len(self._shards[shard][2]))
        arrays = self._load(shard)
        if self.settings["pooled"]:
            return arrays["vectors"][place]
        keys = [f"stride{stride}" for stride in self.settings["strides"]]
        if self.settings["fixed_size"]:
            return [arrays[key][place] for key in keys]
        return [arrays[f"{place:06d}.{key}"] for key in keys]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All vectors, (N, D)."""
        if not self.settings["pooled"]:
            raise UserError("these are maps, which are not put into one array; go over them one by one, or by shards()")
        rows = [arrays["vectors"] for _, arrays in self.shards()]
        return np.concatenate(rows or [np.zeros((0, self.settings["vector_size"]), np.float32)]).astype(
            dtype or np.float32
        )

    def shards(self) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
        """Yields (picture names, {name: array}) of one file after the other.

        Vectors are in "vectors" (n, D). Maps are in "stride8", ... (n, C_i, H_i, W_i). If inputs differ in size, each
        picture's maps are in "000000.stride8", ... (C_i, H_i, W_i), numbered by their place in the file.
        """
        for path, facts, names in self._shards:
            yield names, _read_arrays(path, facts)

    def _load(self, shard):
        if self._held is None or self._held[0] != shard:
            self._held = shard, _read_arrays(*self._shards[shard][:2])
        return self._held[1]
