"""Training checkpoints that are whole or do not count.

A checkpoint `NAME` is the files that the toolkit would write (`NAME.pdparams`, `NAME.pdopt`, ...) and `NAME.json`,
which lists their sizes and SHA-256 and is written last. Without a `NAME.json` that agrees with the files, the
checkpoint is not whole: a killed run leaves at most such a one, and the one before it stays.
"""

import json
from pathlib import Path

from ..errors import UserError
from ..system.files import atomic_path, check_writable, remove_temporaries, sha256_of

SUFFIXES = (".pdparams", ".pdopt", ".pdema")


def save(folder, name, states, info):
    """Writes a checkpoint.

    Args:
        folder (Path): where.
        name (str): such as "11" or "best_model".
        states (dict): suffix, such as ".pdparams", to the state that `paddle.save` writes.
        info (dict): JSON values to keep with it; needs "epoch" and "iteration", both counted from 0 at the start.
    """
    import paddle

    folder = Path(folder)
    manifest = folder / f"{name}.json"
    manifest.unlink(missing_ok=True)
    files = {}
    for suffix, state in states.items():
        file = folder / f"{name}{suffix}"
        with atomic_path(file) as temporary:
            paddle.save(state, str(temporary))
        files[file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    with atomic_path(manifest) as temporary:
        temporary.write_text(json.dumps({**info, "files": files}, indent=1))


def info(path):
    """What was saved with a checkpoint, FOLDER/NAME with or without a suffix; None when it is not whole."""
    path = stem(path)
    try:
        content = json.loads(path.with_name(path.name + ".json").read_text())
        for name, expected in content["files"].items():
            file = path.with_name(name)
            if file.stat().st_size != expected["bytes"] or sha256_of(file) != expected["sha256"]:
                return None
        return content if content["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def last_whole(folder):
    """(FOLDER/NAME, info) of the whole checkpoint that is furthest in training, or None. `best_model` does not count:
    it is a copy of another one."""
    names = {p.stem for p in Path(folder).glob("*.json")} - {"best_model"}
    whole = [(Path(folder) / name, info(Path(folder) / name)) for name in names]
    whole = [(path, about) for path, about in whole if about and "iteration" in about]
    return max(whole, key=lambda item: item[1]["iteration"], default=None)


def require(path):
    """FOLDER/NAME and the info of a whole checkpoint; UserError when it is missing or half written.

    A checkpoint that PaddleDetection or PaddleSeg wrote has no list of files: it passes when both its files can be read
    to the end, and its info is {}.
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


def find_weights(folder, given=None, configured=None, what="detector"):
    """The weights file to use after training.

    Args:
        folder (Path): save_dir/NAME, where training leaves its checkpoints.
        given (str | None): a path, of which .pdparams may be left out. None takes what is in the folder: best_model,
            else model_final, else the last whole snapshot; else `configured`.
        configured (str | None): the configuration's own path.
        what (str): what was trained, for the messages.

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


def last_unlisted(folder):
    """(FOLDER/NAME, {}) of the newest checkpoint without a list of files that can be read to its end, or None: one that
    PaddleDetection or PaddleSeg wrote, or ours when the run was killed before the list."""
    files = [p for p in Path(folder).glob("*.pdopt") if p.stem != "best_model" and not p.with_suffix(".json").exists()]
    for file in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            return require(file)
        except UserError:
            continue
    return None


def starting_point(folder, resume, overwrite):
    """Where a run starts.

    Args:
        folder (Path): of the run; created where it is missing.
        resume (str | None): "auto" for the last whole checkpoint of the folder, if any; the path of one; None to start
            anew.
        overwrite (bool): delete an earlier run's checkpoints when starting anew, instead of refusing to.

    Returns:
        (FOLDER/NAME to resume from, its info), or (None, {}) to start anew.

    Raises:
        UserError: a checkpoint that is missing or half written; a folder that holds another run or cannot be written
            to.
    """
    import paddle

    check_writable(folder)
    if resume not in (None, "auto"):
        return require(resume)
    if resume == "auto":
        if paddle.distributed.get_rank() == 0:
            remove_temporaries(folder, (*SUFFIXES, ".png"))  # of the run that was killed
        last = last_whole(folder) or last_unlisted(folder)
        if last is None:
            print(f"nothing to resume in {folder}: starting from the beginning", flush=True)
        return last or (None, {})
    if any_files(folder) and not overwrite:
        raise UserError(
            f"{folder} holds the checkpoints of an earlier run; go on with -r, or choose another -o save_dir=DIR, or "
            f"delete them with --overwrite"
        )
    if overwrite and paddle.distributed.get_rank() == 0:
        remove_temporaries(folder, (*SUFFIXES, ".png"))
        remove_all(folder)
    return None, {}


def any_files(folder):
    """Whether a folder holds files of checkpoints, whole or not."""
    return any(file for suffix in SUFFIXES for file in Path(folder).glob(f"*{suffix}"))


def remove_all(folder):
    """Deletes every checkpoint of a folder, their lists of files first, and nothing else."""
    files = [file for suffix in SUFFIXES for file in Path(folder).glob(f"*{suffix}")]
    for file in files:
        file.with_suffix(".json").unlink(missing_ok=True)
    for file in files:
        file.unlink()


def remove(folder, name):
    """Deletes one checkpoint, its list of files first."""
    for suffix in (".json", *SUFFIXES):
        (Path(folder) / f"{name}{suffix}").unlink(missing_ok=True)


def stem(path):
    """FOLDER/NAME of a checkpoint given with or without the suffix of one of its files."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (*SUFFIXES, ".json") else path
