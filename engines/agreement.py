"""Does an exported network compute what Paddle computes? The random inputs to try, and the largest difference."""

from collections.abc import Sequence

import numpy as np

#: precision -> allowed difference from Paddle, in standard deviations of the output. Of fp32 the largest: rounding
#: alone gives a thirtieth of this, for some random weights a third. Of bf16 and int8 the root mean square; trained
#: networks have below 0.1.
TOLERANCES = {"fp32": 3e-4, "bf16": 0.25, "int8": 0.5}
#: for integer outputs such as classes: the share of values that may differ, where two classes score nearly the same
UNEQUAL = 1e-3


def check_shapes(channels: int, least: int) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Two input shapes (N, C, H, W) for checking an export that takes any batch size and sides from `least` pixels."""
    side = max(least, 64)
    return (1, channels, 2 * side + 32, 2 * side), (2, channels, 2 * side, 3 * side)


def random_images(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Normally distributed numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_outputs(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray], tolerance: float, mean: bool = False
) -> float:
    """The largest difference of any output from the expected one, in standard deviations of that output.

    With `mean` the root mean square of each output's differences counts, not the largest one.

    When an output is nearly constant, a hundredth of its largest value replaces the standard deviation. For an integer
    output, the difference is the share of values that are not equal.

    Raises:
        RuntimeError: a difference is above `tolerance`, or the shapes differ.
    """
    if [out.shape for out in expected] != [out.shape for out in found]:
        raise RuntimeError(f"returns {[out.shape for out in found]} where Paddle returns {[o.shape for o in expected]}")
    return max(_check_output(number, *pair, tolerance, mean) for number, pair in enumerate(zip(expected, found)))


def _check_output(number, expected, found, tolerance, mean):
    if np.issubdtype(expected.dtype, np.integer):
        share = float((expected != found).mean())
        if share > UNEQUAL:
            raise RuntimeError(f"output {number} differs from Paddle's in {share:.2%} of its values")
        return share
    scale = max(float(expected.std()), 0.01 * float(abs(expected).max()), 1e-30)
    apart = found.astype(np.float64) - expected
    difference = float(np.sqrt((apart**2).mean()) if mean else abs(apart).max()) / scale
    if not difference <= tolerance:  # `not <=` also catches nan
        raise RuntimeError(
            f"output {number} differs from Paddle's by {difference:.1e} of its standard deviation, and "
            f"{tolerance:g} is allowed"
        )
    return difference
