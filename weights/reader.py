"""Reading checkpoint files as arrays. No pickle is ever executed: .safetensors and .npz hold arrays alone."""

from pathlib import Path

import numpy as np

from ..errors import UserError

READERS = {}


def read_arrays(path):
    """The arrays of a checkpoint file.

    Args:
        path (str | Path): a .safetensors or .npz file.

    Returns:
        dict of str to numpy array.

    Raises:
        UserError: no such file, another kind of file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    if path.suffix not in READERS:
        known = " and ".join(READERS)
        raise UserError(
            f"weights file {path} is of kind {path.suffix or 'unknown'!r}; {known} files are read. "
            f"Convert it where it was made, or give a .pdparams file to the toolkit's own pretrain_weights"
        )
    try:
        return READERS[path.suffix](path)
    except Exception as error:  # whatever the two libraries raise for a damaged file
        reason = " ".join(str(error).split())
        raise UserError(f"weights file {path} cannot be read as {path.suffix} ({reason}); fetch it again") from error


def _read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def _read_npz(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


READERS.update({".safetensors": _read_safetensors, ".npz": _read_npz})
