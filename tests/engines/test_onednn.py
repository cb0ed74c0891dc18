"""What oneDNN gets wrong is computed without it."""

import paddle
import paddle.nn.functional as F
import pytest
from on_engines import assert_equal, eager
from paddle import nn

from densebone.engines import agreement, onednn, opening, session
from densebone.engines.formats import program_file
from densebone.engines.program import save_program


class Enlarging(nn.Layer):
    """A convolution whose map is enlarged to the size of the image."""

    def __init__(self, mode, align_corners):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1)
        self.options = {"mode": mode, "align_corners": align_corners}

    def forward(self, x):
        size = x.shape[2:] if paddle.in_dynamic_mode() else paddle.shape(x)[2:]
        return F.interpolate(self.conv(x), size=size, **self.options)


@pytest.mark.parametrize("mode, align_corners", [("bilinear", True), ("bilinear", False), ("nearest", False)])
def test_what_onednn_gets_wrong_is_kept_from_it(mode, align_corners, tmp_path):
    layer = Enlarging(mode, align_corners)
    layer.eval()
    images = agreement.random_images((1, 3, 96, 64))
    save_program(layer, tmp_path, [-1, 3, -1, -1])
    with session.PaddleInference(tmp_path) as plain:
        assert_equal(eager(layer, images), plain.run(images))
    here = paddle.version.full_version
    assert ("without oneDNN" in plain.description) is onednn.onednn_fails(program_file(tmp_path), here)
    if here.startswith("3."):
        assert onednn.onednn_fails(program_file(tmp_path), "3.3.1")
        assert onednn.onednn_fails(program_file(tmp_path), "3.2.2") is align_corners
    with opening.open_network(layer, "paddle", cache=tmp_path / "cache") as engine:
        assert_equal(eager(layer, images), engine.run(images))
        assert "oneDNN" not in engine.description
