"""The extra maps of SSD."""

import paddle
import pytest

import densebone as db
from densebone.necks.ssd import SSDExtraMaps

ROWS_300 = [[256, 512, 2, 1], [128, 256, 2, 1], [128, 256, 1, 0]]
ROWS_512 = [[8, 16, 2, 1]] * 4


@pytest.mark.parametrize(
    ("model", "side", "rows", "sides"),
    [
        ("hardnet68", 300, ROWS_300, [37, 18, 9, 5, 3, 1]),
        ("hardnet39ds", 300, ROWS_300, [38, 19, 10, 5, 3, 1]),
        ("peleenet", 300, ROWS_300, [37, 18, 9, 5, 3, 1]),
        ("hardnet39ds", 512, ROWS_512, [64, 32, 16, 8, 4, 2, 1]),
    ],
)
def test_six_or_seven_maps(model, side, rows, sides):
    backbone = db.create_backbone(model, out_indices=(2, 3, 4))
    neck = SSDExtraMaps(backbone.channels, backbone.strides, rows)
    backbone.eval(), neck.eval()
    with paddle.no_grad():
        maps = neck(backbone(paddle.rand([1, 3, side, side])))
    assert [m.shape[2:] for m in maps] == [[s, s] for s in sides]
    assert [m.shape[1] for m in maps] == neck.channels == [*backbone.channels, *(row[1] for row in rows)]
    assert neck.strides[3:] == [64, 128, 128] if len(rows) == 3 else [64, 128, 256, 512]


@pytest.mark.parametrize("row", [[256, 512, 2], [256, 512, 3, 1], [256, 512, 2, 2], [0, 512, 2, 1]])
def test_a_wrong_row_is_named(row):
    with pytest.raises(db.UserError, match="each row is"):
        SSDExtraMaps([8], [32], [row])


def test_too_small_an_image_is_refused():
    neck = SSDExtraMaps([8], [32], ROWS_300)
    neck.eval()
    assert neck([paddle.rand([1, 8, 9, 9])])[-1].shape == [1, 256, 1, 1]
    with pytest.raises(db.UserError, match=r"one of 1 x 3 has no room .* give larger images or fewer extra_maps"):
        neck([paddle.rand([1, 8, 3, 9])])
