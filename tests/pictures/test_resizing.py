"""Resizing without OpenCV gives OpenCV's pixels, and the steps of a card those of PaddleDetection's transforms."""

import numpy as np
import pytest

from densebone.errors import UserError
from densebone.pictures.resizing import resize, stretch
from densebone.pictures.steps import check_steps, prepare

cv2 = pytest.importorskip("cv2", reason="OpenCV is what the values are compared with: pip install opencv-python")
METHODS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}


def picture(height, width):
    rng = np.random.default_rng(height)
    smooth = cv2.resize(
        rng.integers(0, 256, (9, 11, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(smooth.astype(int) + rng.integers(-30, 30, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(96, 96), (160, 320), (301, 7), (480, 640)])
def test_the_pixels_are_opencvs(method, size):
    image = picture(213, 320)
    expected = cv2.resize(image, size[::-1], interpolation=METHODS[method])
    difference = np.abs(expected.astype(int) - resize(image, size, method))
    assert difference.max() <= (0 if method == "nearest" else 1) and (difference > 0).mean() < 0.002


def test_stretching_is_opencvs_warp():
    image = picture(213, 320)
    matrix = np.array([[160 / 320, 0, 0], [0, 128 / 213, 0]])
    expected = cv2.warpAffine(image, matrix, (160, 128), flags=cv2.INTER_LINEAR)
    assert np.abs(expected.astype(int) - stretch(image, (128, 160))).max() <= 2


@pytest.mark.parametrize("keep_ratio", [False, True])
def test_steps_are_those_of_paddledetection(keep_ratio):
    operators = pytest.importorskip("ppdet.data.transform.operators", reason="pip install densebone[detection]")
    batch = pytest.importorskip("ppdet.data.transform.batch_operators", reason="pip install densebone[detection]")
    from densebone.tasks.detection.steps import steps_of

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    image = picture(213, 320)
    sample = {"image": image, "im_shape": np.float32([213, 320]), "scale_factor": np.ones(2, np.float32)}
    size = [100, 140]
    for operator in (
        operators.Resize(target_size=size, keep_ratio=keep_ratio, interp=2),
        operators.NormalizeImage(mean=mean, std=std, is_scale=True),
        operators.Permute(),
    ):
        sample = operator(sample)
    (sample,) = batch.PadBatch(pad_to_stride=32)([sample])
    reader = {
        "sample_transforms": [
            {"Decode": {}},
            {"Resize": {"target_size": size, "keep_ratio": keep_ratio, "interp": 2}},
            {"NormalizeImage": {"mean": mean, "std": std, "is_scale": True}},
            {"Permute": {}},
        ],
        "batch_transforms": [{"PadBatch": {"pad_to_stride": 32}}],
    }
    found = prepare(image, steps_of({"TestReader": reader}))
    assert found.image.shape == sample["image"].shape
    assert np.abs(found.image - sample["image"]).max() < 1.1 / 255 / min(std)
    assert np.allclose(found.scale, sample["scale_factor"]) and np.allclose(found.shape, sample["im_shape"], atol=0.5)
    assert steps_of({"TestReader": {"sample_transforms": [{"WarpAffine": {}}]}}) is None


@pytest.mark.parametrize(
    "steps",
    [
        [{"blur": {}}],
        [{"resize": {"size": [0, 3]}}],
        [{"resize": {"size": [3, 3], "interpolation": "lanczos"}}],
        [{"normalize": {"mean": [0, 0, 0], "std": [1, 0, 1], "scale": 255}}],
        [{"pad": {"stride": 0}}],
        [{}],
        5,
    ],
)
def test_steps_that_are_not_known(steps):
    with pytest.raises(UserError, match="preprocessing has a step that is not known"):
        check_steps(steps)
