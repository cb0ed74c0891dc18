"""CenterNet-HarDNet in PaddleDetection: boxes, losses and training data are those of its authors' code.

`tests/data/centernet` holds what that code gives for drawn weights, pictures and boxes (of the network and loss in
PyTorch, of the rest in NumPy and OpenCV).
"""

import json
import math

import numpy as np
import paddle
import pytest
import recipe

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

import yaml
from ppdet.data import transform
from ppdet.modeling.architectures import CenterNet
from ppdet.modeling.post_process import CenterNetPostProcess

import densebone as db
from densebone.errors import UserError
from densebone.integrations.paddledet import CenterNetHarDNet85, CenterNetHarDNetHead, CenterNetHarDNetNeck
from densebone.scripts.options import shipped_configs
from densebone.weights.catalog import find

CONFIGS = {
    "centernet_hardnet85_512_300e_coco": "centernet_hardnet85.official",
    "centernet_hardnet85_608_300e_coco": "centernet_hardnet85.official_608",
}
SIZE = (96, 128)


def stored(name):
    return np.load(recipe.DATA / "centernet" / f"{name}.npz")


def read(name):
    """A shipped configuration as plain dictionaries, with its bases below it."""
    path = shipped_configs()[name]
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)  # the plugin
    content, result = yaml.load(path.read_text(), loader), {}
    for base in content.pop("_BASE_", []):
        result.update(yaml.load((path.parent / base).read_text(), loader))
    for key, value in content.items():
        result[key] = {**result.get(key, {}), **value} if isinstance(value, dict) else value
    return result


def prepared(picture, steps):
    """What the transforms of a configuration make of a picture, (H, W, 3), red, green, blue."""
    sample = {"image": picture}
    for step in steps:
        ((name, arguments),) = step.items()
        sample = getattr(transform, name)(**arguments)(sample)
    return sample


@pytest.mark.parametrize("name, entry", CONFIGS.items())
def test_pictures_are_prepared_as_the_weights_want_them(name, entry):
    config, wanted = read(name), find(entry).preprocessing
    assert wanted.channels == "bgr"  # of which PaddleDetection's pictures, and the turned weights, are the reverse
    for reader in ("TrainReader", "EvalReader", "TestReader"):
        steps = {key: value for step in config[reader]["sample_transforms"] for key, value in step.items()}
        assert steps["CenterNetStretch"]["size"] == wanted.resize[::-1]
        assert steps["NormalizeImage"]["mean"] == wanted.mean[::-1]
        assert steps["NormalizeImage"]["std"] == wanted.std[::-1]
        assert steps["NormalizeImage"]["is_scale"] == ("CenterNetColour" not in steps)  # which scales by itself


def test_published_weights_find_the_authors_boxes():
    """From their file and a picture, through the configuration's own steps, to boxes in the picture's pixels."""
    config, expected = read("centernet_hardnet85_512_300e_coco"), stored("detections")
    picture = np.clip(128 + 50 * recipe.normal("picture", (120, 200, 3)), 0, 255).astype("uint8")
    steps = config["EvalReader"]["sample_transforms"][1:]
    steps[0]["CenterNetStretch"]["size"] = list(SIZE)
    sample = prepared(picture, steps)
    assert np.abs(sample["image"][None, ::-1, ::8, ::8] - expected["input"]).max() < 1e-5
    assert np.allclose(sample["scale_factor"], [96 / 120, 128 / 200])

    backbone = CenterNetHarDNet85()
    neck = CenterNetHarDNetNeck(**CenterNetHarDNetNeck.from_config({}, backbone.out_shape))
    head = CenterNetHarDNetHead(**CenterNetHarDNetHead.from_config({}, neck.out_shape))
    post_process = CenterNetPostProcess(**config["CenterNetPostProcess"])
    detector = CenterNet(backbone, neck, head, post_process)
    report = db.load_weights(detector, recipe.weights("centernet_hardnet85"), adapt_input="rgb")
    assert report.complete and (report.layout, report.turned) == ("CenterNet-HarDNet", True)
    detector.eval()
    batch = {key: paddle.to_tensor(sample[key][None]) for key in ("image", "im_shape", "scale_factor")}
    with paddle.no_grad():
        boxes = detector(batch)["bbox"].numpy()
    assert boxes.shape == expected["boxes"].shape == (100, 6)
    np.testing.assert_allclose(boxes[:, 1], expected["boxes"][:, 1], atol=1e-4)
    assert np.array_equal(boxes[:, 0], expected["boxes"][:, 0])
    np.testing.assert_allclose(boxes[:, 2:], expected["boxes"][:, 2:], atol=2e-3)


def test_what_is_learnt_is_what_the_authors_code_draws():
    expected = stored("training")
    sample = {
        "image": np.zeros((3, 48, 64), "float32"), "im_id": 7, "gt_score": np.ones((6, 1)),
        "gt_bbox": expected["boxes"].copy(), "gt_class": expected["classes"][:, None],
    }  # fmt: skip
    made = transform.CenterNetDenseTarget(num_classes=3)(sample)
    assert set(made) == {"image", "im_id", "heatmap", "box_target", "box_weight"}
    for name in ("heatmap", "box_weight"):
        assert made[name].dtype == np.float32
        np.testing.assert_allclose(made[name], expected[name], atol=1e-6)
    seen = np.broadcast_to(expected["box_weight"] > 0, expected["box_target"].shape)
    np.testing.assert_allclose(made["box_target"][seen], expected["box_target"][seen], atol=1e-5)
    assert 0.9 < made["box_weight"].sum() < 4.1  # four objects of the six are inside
    few = transform.CenterNetDenseTarget(num_classes=3, max_objects=1)(sample)
    assert (few["heatmap"] == 1).sum() == 1
    none = {**sample, "gt_bbox": np.zeros((0, 4), "float32"), "gt_class": np.zeros((0, 1), "int32")}
    assert not transform.CenterNetDenseTarget(num_classes=3)(none)["box_weight"].any()


def test_the_loss_is_the_authors():
    expected = stored("training")
    inputs = {key: paddle.to_tensor(np.stack([expected[key]] * 2)) for key in ("heatmap", "box_target", "box_weight")}
    heatmap = paddle.to_tensor(3 * recipe.normal("heatmap", (2, 3, 12, 16)).astype("float32"))
    boxes = paddle.to_tensor(5 * recipe.normal("boxes", (2, 4, 12, 16)).astype("float32"))
    weights = read("centernet_hardnet85_512_300e_coco")["CenterNetHarDNetHead"]["loss_weight"]
    losses = CenterNetHarDNetHead(8, num_classes=3, loss_weight=weights).losses(heatmap, boxes, inputs)
    names = ("heatmap_loss", "size_loss", "offset_loss", "det_loss")
    np.testing.assert_allclose([float(losses[name]) for name in names], expected["losses"], rtol=1e-5)
    half = CenterNetHarDNetHead(8, num_classes=3, loss_weight={"heatmap": 0}).losses(heatmap, boxes, inputs)
    _, size, offset, _ = expected["losses"]
    assert math.isclose(float(half["det_loss"]), 0.05 * size + 0.5 * offset, rel_tol=1e-5)


def test_boxes_move_with_the_picture():
    """A white rectangle on black stays inside its box and touches its sides, however it is stretched and flipped."""
    np.random.seed(0)
    stretch = transform.CenterNetStretch(size=[256, 320], random=True)
    sizes = []
    for _ in range(40):
        image = np.zeros((120, 200, 3), "uint8")
        image[30:90, 40:170] = 255
        sample = stretch({"image": image, "gt_bbox": np.array([[40, 30, 170, 90]], "float32")})
        assert sample["image"].shape == (256, 320, 3)
        box = sample["gt_bbox"][0]
        assert sample["gt_bbox"].dtype == np.float32
        inside = np.clip(box, 0, [320, 256, 320, 256])
        ys, xs = np.nonzero(sample["image"][:, :, 0] > 127)
        pixel = (box[2:] - box[:2]) / [130, 60]
        if min(inside[2:] - inside[:2]) > 4:
            found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert (np.abs(found - inside) <= np.tile(pixel, 2) + 1).all()
        sizes.append(pixel)
    ratios = np.array(sizes)[:, 0] / np.array(sizes)[:, 1]
    assert ratios.min() < 0.7 and ratios.max() > 1.3 and (np.abs(ratios - 1) <= 0.6001).all()
    assert len({round(y * 120) for _, y in sizes} - set(stretch.short_sides)) == 0  # the shorter side


def test_half_of_the_pictures_are_flipped():
    np.random.seed(1)
    stretch = transform.CenterNetStretch(size=[64, 64], random=True, short_sides=[64], distortion=0, room=0)
    image = np.zeros((64, 64, 3), "uint8")
    image[:, :32] = 200
    left = sum(stretch({"image": image.copy()})["image"][32, 8, 0] == 200 for _ in range(60))
    assert 20 <= left <= 40


def test_colours_vary_around_the_picture():
    np.random.seed(0)
    picture = np.clip(128 + 40 * recipe.normal("colour", (8, 8, 3)), 0, 255).astype("uint8")
    same = transform.CenterNetColour(strength=0, lighting=0)({"image": picture})["image"]
    assert same.dtype == np.float32 and np.abs(same - picture / 255).max() < 1e-6
    means = [transform.CenterNetColour()({"image": picture})["image"].mean() for _ in range(200)]
    assert abs(np.mean(means) - picture.mean() / 255) < 0.05 and 0.08 < np.std(means) < 0.2


@pytest.fixture(scope="module")
def sample(tmp_path_factory, densebone):
    folder = tmp_path_factory.mktemp("centernet") / "data"
    done = densebone("sample-data", "coco", folder, "--train", 4, "--val", 2)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=[pytest.mark.acceptance] if "608" in name else []) for name in CONFIGS]
)
def test_a_configuration_trains_and_the_detector_is_the_plain_network(config, sample, densebone, tmp_path):
    stretch = "CenterNetStretch.size=[64,96]"
    options = [
        "num_classes=4", "epoch=1", "log_iter=1", "worker_num=0", "CenterNetHarDNet85.pretrained=null",
        "TrainReader.batch_size=2", f"TrainReader.sample_transforms.1.{stretch}",
        "TrainReader.sample_transforms.1.CenterNetStretch.short_sides=[64]",  # so that objects are inside
        f"EvalReader.sample_transforms.1.{stretch}",
    ]  # fmt: skip
    common = ["-c", config, "--data", sample, "-o", *options]
    done = densebone("train", *common, "--seed", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "output" / config
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if row["kind"] == "train"] == [1, 2]
    for row in rows:
        parts = [row[f"{name}_loss"] for name in ("heatmap", "size", "offset")]
        assert all(math.isfinite(value) and value > 0 for value in parts)
        assert math.isclose(row["loss"], parts[0] + 0.05 * parts[1] + 0.5 * parts[2], rel_tol=1e-3)
    if config != next(iter(CONFIGS)):
        return
    plain = db.create_model("centernet_hardnet85", num_classes=4, pretrained=folder / "model_final.pdparams")
    assert plain.load_report.layout == "densebone CenterNet-HarDNet" and plain.load_report.channels == "rgb"
    encoder = CenterNetHarDNet85(pretrained=str(folder / "model_final.pdparams"))
    assert encoder.load_report.complete and encoder.channels == [214, 458, 784]
    evaluated = densebone("eval", *common, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "558 tensors used, 100 % of the parameters" in evaluated.stderr


def test_commands_that_replace_the_weights_do_not_fetch_those_to_start_from(sample, densebone, tmp_path):
    """Without a file they stop at that, and not at the encoder's weights, which are not at hand."""
    arguments = ["-c", "centernet_hardnet85_512_300e_coco", "--data", sample, "-o", "num_classes=4"]
    done = densebone("eval", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and "there is no trained detector in output/" in done.stderr


def test_what_cannot_be_built():
    from densebone.integrations.paddledet import HarDNet39DS

    with pytest.raises(UserError, match="first map is at stride 8; it must be 4, so let return_idx begin with 0"):
        CenterNetHarDNetNeck.from_config({}, HarDNet39DS(return_idx=[1, 2]).out_shape)
    with pytest.raises(UserError, match="loss_weight has iou; its keys are heatmap, size, offset"):
        CenterNetHarDNetHead(8, loss_weight={"iou": 1})
    for size in ([512], [510, 512], [16, 64], 512, ["512", 512]):
        with pytest.raises(UserError, match=r"CenterNetStretch.size is .*; give height and width, multiples of 4"):
            transform.CenterNetStretch(size=size)
    with pytest.raises(UserError, match=r"CenterNetHarDNet85.freeze_at is 3; give -1 .freeze nothing. or 0..2"):
        CenterNetHarDNet85(freeze_at=3)
