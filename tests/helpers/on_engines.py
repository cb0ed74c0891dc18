"""Which engines are installed, and whether what they compute is what Paddle computes."""

import paddle
import pytest

from densebone.engines import agreement, opening

INSTALLED = opening.available()
EXPORTING = [name for name in INSTALLED if name != "eager"]
needs_onnx = pytest.mark.skipif("onnxruntime" not in INSTALLED, reason=opening.missing().get("onnxruntime", ""))
needs_openvino = pytest.mark.skipif("openvino" not in INSTALLED, reason=opening.missing().get("openvino", ""))


def eager(net, images):
    """The outputs of a layer in Paddle, as a list of arrays."""
    with paddle.no_grad():
        found = net(paddle.to_tensor(images))
    return [out.numpy() for out in (found if isinstance(found, list) else [found])]


def assert_equal(expected, found):
    """Equal up to the rounding that an export may have."""
    assert agreement.check_outputs(expected, found, agreement.TOLERANCES["fp32"]) <= 1e-4
