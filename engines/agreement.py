"""Whether an exported network computes what Paddle computes: pictures to try it on, and the largest difference."""

import numpy as np

#: largest difference from eager, over the standard deviation of the output; rounding alone gives a tenth of the first
TOLERANCES = {"fp32": 1e-4, "bf16": 0.25}
#: of outputs that are whole numbers, such as classes: the share that may differ, those on the edge between two
UNEQUAL = 1e-3


def check_shapes(channels, least):
    """Two batches of pictures, (N, C, H, W), for an export that takes any size of `least` pixels or more."""
    side = max(least, 64)
    return (1, channels, 2 * side + 32, 2 * side), (2, channels, 2 * side, 3 * side)


def random_images(shape, seed=0):
    """Normal numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_outputs(expected, found, tolerance):
    """Largest difference of any output, over its standard deviation; of whole numbers, the share that differs.

    For an output that is all but constant, a hundredth of its largest value stands for the standard deviation.

    Raises:
        RuntimeError: a difference above `tolerance`, or outputs of other shapes.
    """
    if [out.shape for out in expected] != [out.shape for out in found]:
        raise RuntimeError(f"returns {[out.shape for out in found]} where Paddle returns {[o.shape for o in expected]}")
    return max(_check(number, *pair, tolerance) for number, pair in enumerate(zip(expected, found)))


def _check(number, expected, found, tolerance):
    if np.issubdtype(expected.dtype, np.integer):
        share = float((expected != found).mean())
        if share > UNEQUAL:
            raise RuntimeError(f"output {number} differs from Paddle's in {share:.2%} of its values")
        return share
    scale = max(float(expected.std()), 0.01 * float(abs(expected).max()), 1e-30)
    difference = float(abs(found.astype(np.float64) - expected).max()) / scale
    if not difference <= tolerance:  # nan too
        raise RuntimeError(
            f"output {number} differs from Paddle's by {difference:.1e} of its standard deviation, and "
            f"{tolerance:g} is allowed"
        )
    return difference
