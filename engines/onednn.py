"""What oneDNN, Paddle's CPU library, gets wrong, and how to keep it from doing so.

In Paddle 3.3 oneDNN fails on every float32 interpolation. In the other 3.x releases it ignores `align_corners` of the
bilinear one. Paddle 2 is free of both. In float64 Paddle computes without oneDNN, and rightly.
"""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paddle
import paddle.nn.functional as F


def interpolates_wrongly(mode: str, align_corners: bool, version: str) -> bool:
    """Whether oneDNN gets a float32 interpolation wrong.

    Args:
        mode: "bilinear", "nearest" or another mode of `paddle.nn.functional.interpolate`.
        align_corners: as in `interpolate`.
        version: of Paddle, such as "3.2.2".
    """
    if version.startswith("2."):
        return False
    if version.startswith("3.3."):
        return mode in ("bilinear", "nearest")
    return mode == "bilinear" and align_corners


def onednn_fails(program: str | Path, version: str) -> bool:
    """Whether an exported program holds an operator that oneDNN gets wrong.

    Args:
        program: the file model.json. Programs of Paddle 2, model.pdmodel, are free of this.
        version: of Paddle.
    """
    if Path(program).suffix != ".json":
        return False
    return any(_is_wrong(operator, version) for operator in _operators(json.loads(Path(program).read_text())))


def _operators(node):
    """Yields every operator of a program, also inside branches and loops: the dicts that have a name and outputs."""
    if isinstance(node, dict):
        if "#" in node and "O" in node:
            yield node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _operators(child)


def _is_wrong(operator, version):
    mode, is_interpolation, _ = operator["#"].rpartition(".")[2].partition("_interp")
    if not is_interpolation or "t_f32" not in json.dumps(operator["O"]):
        return False
    settings = {each["N"]: each["AT"].get("D") for each in operator.get("A", ())}
    return interpolates_wrongly(mode, settings.get("align_corners") is True, version)


@contextmanager
def interpolation_for_onednn() -> Iterator[None]:
    """Within the block, `F.interpolate` computes in float64 wherever oneDNN would be wrong in float32."""
    version, plain = paddle.version.full_version, F.interpolate
    if version.startswith("2."):
        yield
        return

    @paddle.jit.not_to_static
    @functools.wraps(plain)
    def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False, *arguments, **options):
        wrong = interpolates_wrongly(mode, bool(align_corners), version)
        if not wrong or x.dtype not in (paddle.float32, "float32"):
            return plain(x, size, scale_factor, mode, align_corners, *arguments, **options)
        exact = plain(x.astype("float64"), size, scale_factor, mode, align_corners, *arguments, **options)
        return exact.astype("float32")

    F.interpolate = interpolate
    try:
        yield
    finally:
        F.interpolate = plain
