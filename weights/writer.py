"""Writing weights: .safetensors, or .pdparams as PaddleClas publishes them."""

import pickle
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path
from .layouts import to_layout

_BOTH = (".safetensors", ".pdparams")
ENDINGS = {"ours": _BOTH, "paddleclas": _BOTH, "pytorch": (".safetensors",)}


def check_target(path, layout):
    """UserError unless weights in a layout are written in the format that the ending of a file stands for."""
    if Path(path).suffix not in ENDINGS[layout]:
        known = " or ".join(ENDINGS[layout])
        raise UserError(f"{path}: weights in the layout {layout!r} are written as {known}; give the file that ending")


def write(arrays, path, layout="ours"):
    """Writes arrays, bit by bit as they are; the file appears whole or not at all.

    A .pdparams file is a pickled dictionary of arrays, which `paddle.load` and PaddleClas read as tensors.

    Args:
        arrays (dict of str to array): in our layout.
        path (str | Path): a .safetensors or .pdparams file.
        layout (str): "ours", "paddleclas" or "pytorch" (.safetensors only).

    Raises:
        UserError: another ending, or a folder that cannot be written to.
    """
    check_target(path, layout)
    # Turned matrices are views; safetensors would write the memory behind them.
    plain = {key: np.array(value, order="C") for key, value in to_layout(arrays, layout).items()}
    with atomic_path(path) as temporary:
        if Path(path).suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(plain, temporary)
            return
        with open(temporary, "wb") as stream:
            pickle.dump(plain, stream, protocol=4)
