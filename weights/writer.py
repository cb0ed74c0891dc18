"""Writes weights as .safetensors, or as .pdparams in the form that PaddleClas publishes."""

import pickle
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path
from .layouts import to_layout

_BOTH = (".safetensors", ".pdparams")
ENDINGS = {"ours": _BOTH, "paddleclas": _BOTH, "pytorch": (".safetensors",)}


def check_target(path: str | Path, layout: str) -> None:
    """Raises a UserError unless `write` has a format for this file ending and layout."""
    if Path(path).suffix not in ENDINGS[layout]:
        known = " or ".join(ENDINGS[layout])
        raise UserError(f"{path}: weights in the layout {layout!r} are written as {known}; give the file that ending")


def write(arrays: dict[str, np.ndarray], path: str | Path, layout: str = "ours") -> None:
    """Writes arrays without changing a bit of their values. The file appears whole or not at all.

    A .pdparams file is a pickled dictionary of arrays; `paddle.load` and PaddleClas read the arrays as tensors.

    Args:
        arrays: in the layout "ours".
        path: a .safetensors or .pdparams file.
        layout: "ours", "paddleclas" or "pytorch" (.safetensors only).

    Raises:
        UserError: another file ending, or a folder that cannot be written to.
    """
    check_target(path, layout)
    # Transposed matrices are views; safetensors would write the memory behind them.
    plain = {key: np.array(value, order="C") for key, value in to_layout(arrays, layout).items()}
    with atomic_path(path) as temporary:
        if Path(path).suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(plain, temporary)
            return
        with open(temporary, "wb") as stream:
            pickle.dump(plain, stream, protocol=4)
