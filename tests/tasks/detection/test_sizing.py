"""The size at which a whole detector is counted."""

import pytest

from densebone.errors import UserError

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
from densebone.tasks.detection.sizing import reader_size, size_of_all

RESIZE = {"Resize": {"target_size": [800, 1333], "keep_ratio": True}}


@pytest.mark.parametrize(
    ("reader", "size"),
    [
        ({"inputs_def": {"image_shape": [3, 300, 320]}, "sample_transforms": [RESIZE]}, (300, 320)),
        ({"inputs_def": {"image_shape": [1, 3, 416, 416]}}, (416, 416)),
        ({"inputs_def": {"image_shape": [3, -1, -1]}, "sample_transforms": [{"Decode": {}}, RESIZE]}, (800, 1333)),
        ({"sample_transforms": [RESIZE], "batch_transforms": [{"PadBatch": {"pad_to_stride": 32}}]}, (800, 1344)),
        ({"sample_transforms": [RESIZE], "batch_transforms": [{"PadBatch": {"pad_to_stride": -1}}]}, (800, 1333)),
    ],
)
def test_it_is_that_of_the_test_reader(reader, size):
    assert reader_size({"TestReader": reader}) == size


def test_a_reader_that_says_nothing():
    with pytest.raises(UserError, match="give --input-size HEIGHT WIDTH"):
        reader_size({"TestReader": {"sample_transforms": [{"Decode": None}]}})


@pytest.mark.parametrize(
    ("reader", "size"),
    [
        ({"sample_transforms": [RESIZE]}, None),
        ({"inputs_def": {"image_shape": [3, 300, 320]}, "sample_transforms": [RESIZE]}, (300, 320)),
        ({"sample_transforms": [{"Resize": {"target_size": [320, 416], "keep_ratio": False}}]}, (320, 416)),
        ({"sample_transforms": [{"Resize": {"target_size": [320, 416]}}]}, None),
        ({"sample_transforms": [{"Decode": None}]}, None),
    ],
)
def test_images_that_keep_their_proportions_have_no_size_in_common(reader, size):
    assert size_of_all({"TestReader": reader}) == size
