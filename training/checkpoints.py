"""Training checkpoints that are either whole or ignored.

A checkpoint `NAME` consists of the files that the toolkit would write (`NAME.pdparams`, `NAME.pdopt`, ...) and of
`NAME.json`, which lists their sizes and SHA-256 and is written last; until then it lists nothing. A checkpoint is whole
when `NAME.json` agrees with the files. A killed run leaves at most one that is not whole, and the one before it stays
intact.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..system.files import atomic_path, check_writable, remove_temporaries, sha256_of

SUFFIXES = (".pdparams", ".pdopt", ".pdema", ".pdavg")
# what else a run writes into its folder
_WRITTEN = (*SUFFIXES, ".json", ".jsonl", ".csv", ".png")


def save(folder: str | Path, name: str, states: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Writes a checkpoint.

    Args:
        folder: where to write it.
        name: such as "11" or "best_model".
        states: {suffix such as ".pdparams": the state that `paddle.save` writes}.
        info: JSON values to store with it. Needs "epoch" and "iteration": how many are done.
    """
    import paddle

    folder = Path(folder)
    manifest = folder / f"{name}.json"
    with atomic_path(manifest) as temporary:  # without files: what is there until the end is half written
        temporary.write_text(json.dumps({"files": {}}))
    files = {}
    for suffix, state in states.items():
        file = folder / f"{name}{suffix}"
        with atomic_path(file) as temporary:
            paddle.save(state, str(temporary))
        files[file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    with atomic_path(manifest) as temporary:
        temporary.write_text(json.dumps({**info, "files": files}, indent=1))


def info(path: str | Path) -> dict[str, Any] | None:
    """The JSON values stored with a checkpoint, or None when it is not whole.

    Args:
        path: FOLDER/NAME, with or without the suffix of one of its files.
    """
    path = stem(path)
    try:
        content = json.loads(path.with_name(path.name + ".json").read_text())
        for name, expected in content["files"].items():
            file = path.with_name(name)
            if file.stat().st_size != expected["bytes"] or sha256_of(file) != expected["sha256"]:
                return None
        return content if content["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def last_whole(folder: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """(FOLDER/NAME, info) of the whole checkpoint with the most iterations, or None.

    `best_model` does not count, because it copies another checkpoint.
    """
    names = {p.stem for p in Path(folder).glob("*.json")} - {"best_model"}
    found = [(Path(folder) / name, info(Path(folder) / name)) for name in names]
    whole = [(path, about) for path, about in found if about and "iteration" in about]
    return max(whole, key=lambda item: item[1]["iteration"], default=None)


def require(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """(FOLDER/NAME, info) of a whole checkpoint.

    A checkpoint that PaddleDetection or PaddleSeg wrote has no list of files. It passes when both its files can be read
    to the end, and its info is {}.

    Raises:
        UserError: the checkpoint is missing or half written.
    """
    path = stem(path)
    weights = path.with_name(path.name + ".pdparams")
    optimizer = path.with_name(path.name + ".pdopt")
    for file in (weights, optimizer):
        if not file.is_file():
            raise UserError(
                f"cannot resume from {path}: {file} does not exist; -r alone takes the last whole checkpoint"
            )
    if path.with_name(path.name + ".json").is_file():
        about = info(path)
        if about is None:
            raise UserError(f"cannot resume from {path}: it is half written; -r alone takes the last whole checkpoint")
        return path, about
    from ..weights.reader import read_pickle

    for file in (weights, optimizer):
        read_pickle(file)
    return path, {}


def find_weights(
    folder: str | Path, given: str | Path | None = None, configured: str | Path | None = None, what: str = "detector"
) -> Path:
    """The weights file to use after training.

    Args:
        folder: save_dir/NAME, where training leaves its checkpoints.
        given: a path, with or without .pdparams. None looks in the folder for best_model, model_final and the last
            whole snapshot, in this order, and then takes `configured`.
        configured: the path that the configuration names.
        what: what was trained, for the messages.

    Raises:
        UserError: there is no such file, or it is half written.
    """
    if given is not None:
        return _existing(given, f"weights {given}", what)
    folder = Path(folder)
    for name in ("best_model", "model_final"):
        if info(folder / name):
            return (folder / name).with_suffix(".pdparams")
    last = last_whole(folder)
    if last is not None:
        return last[0].with_name(last[0].name + ".pdparams")
    absent = f"there is no trained {what} in {folder}"
    if not configured:
        raise UserError(f"{absent}; train one, or give -w FILE.pdparams")
    return _existing(configured, f"{absent}, and the configuration's weights {configured}", what)


def _existing(path, subject, what):
    from ..weights.reader import SUFFIXES as READ

    path = Path(path)
    file = path if path.suffix in READ else path.with_name(path.name + ".pdparams")
    if not file.is_file():
        raise UserError(f"{subject} do not exist ({file}); train a {what}, or give -w FILE.pdparams")
    if file.with_suffix(".json").is_file() and not info(file):
        raise UserError(f"{file} is half written; use another snapshot of its folder")
    return file


def last_unlisted(folder: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """(FOLDER/NAME, {}) of the newest checkpoint without a list of files that can be read to the end, or None.

    PaddleDetection and PaddleSeg write such checkpoints, and so does a run that is killed before it writes the list.
    """
    files = [p for p in Path(folder).glob("*.pdopt") if p.stem != "best_model" and not p.with_suffix(".json").exists()]
    for file in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            return require(file)
        except UserError:
            continue
    return None


def starting_point(
    folder: str | Path, resume: str | Path | None, overwrite: bool
) -> tuple[Path | None, dict[str, Any]]:
    """Finds where a run starts.

    Args:
        folder: of the run; created when it is missing.
        resume: "auto" takes the last whole checkpoint of the folder, if any; a path names a checkpoint; None starts
            from scratch.
        overwrite: when starting from scratch, delete an earlier run's checkpoints instead of refusing to start.

    Returns:
        (FOLDER/NAME to resume from, its info), or (None, {}) to start from scratch.

    Raises:
        UserError: the checkpoint is missing or half written, or a file of it was replaced; the folder holds another run
            or is not writable.
    """
    import paddle

    check_writable(folder)
    if resume not in (None, "auto"):
        return require(resume)
    if resume == "auto":
        if paddle.distributed.get_rank() == 0:
            remove_temporaries(folder, _WRITTEN)  # of the killed run
        last = last_whole(folder)
        _refuse_replaced(folder, last[1]["iteration"] if last else -1)
        last = last or last_unlisted(folder)
        if last is None:
            print(f"nothing to resume in {folder}: starting from the beginning", flush=True)
        return last or (None, {})
    if any_files(folder) and not overwrite:
        raise UserError(
            f"{folder} holds the checkpoints of an earlier run; go on with -r, or choose another -o save_dir=DIR, or "
            f"delete them with --overwrite"
        )
    if overwrite and paddle.distributed.get_rank() == 0:
        remove_temporaries(folder, _WRITTEN)
        remove_all(folder)
    return None, {}


def _refuse_replaced(folder, iteration):
    """Raises UserError when a checkpoint after this iteration has its list of files, and the files do not agree.

    A killed run leaves no such list: it deletes the old one before it writes the files.
    """
    for manifest in sorted(Path(folder).glob("*.json")):
        try:
            content = json.loads(manifest.read_text())
            files, done = content["files"], content["iteration"]
            later = manifest.stem != "best_model" and done > iteration and isinstance(files, dict)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # another file
        if later and info(manifest) is None:
            raise UserError(
                f"cannot resume: of checkpoint {manifest.with_suffix('')} a file is missing or is not the one that "
                f"training wrote ({', '.join(files)}); put it back, name another checkpoint with -r FOLDER/NAME, or "
                f"start anew with --overwrite"
            )


def any_files(folder: str | Path) -> bool:
    """Whether a folder holds files of checkpoints, whole or not."""
    return any(file for suffix in SUFFIXES for file in Path(folder).glob(f"*{suffix}"))


def remove_all(folder: str | Path) -> None:
    """Deletes every checkpoint of a folder and nothing else. The lists of files go first."""
    files = [file for suffix in SUFFIXES for file in Path(folder).glob(f"*{suffix}")]
    for file in files:
        file.with_suffix(".json").unlink(missing_ok=True)
    for file in files:
        file.unlink()


def remove(folder: str | Path, name: str) -> None:
    """Deletes one checkpoint, its list of files first."""
    for suffix in (".json", *SUFFIXES):
        (Path(folder) / f"{name}{suffix}").unlink(missing_ok=True)


def remove_old(folder: str | Path, iteration: int, keep: int) -> None:
    """Deletes all but the last `keep` numbered snapshots up to an iteration.

    Snapshots of later iterations stay: an earlier run left them, and this run will overwrite them.
    """
    stems = {file.stem for file in Path(folder).glob("*.pdparams")}
    numbers = sorted(int(name) for name in stems if name.isdecimal() and int(name) <= iteration)
    for number in numbers[:-keep]:
        remove(folder, str(number))


def stem(path: str | Path) -> Path:
    """FOLDER/NAME of a checkpoint that is given with or without the suffix of one of its files."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (*SUFFIXES, ".json") else path
