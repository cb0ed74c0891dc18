"""Predicting on pictures of any kind: what is written, and that it is what PaddleSeg finds."""

import importlib
import json

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
import tiny_training
from PIL import Image

from densebone.datasets import cityscapes
from densebone.errors import UserError
from densebone.pictures.video import Video
from densebone.tasks.extras import Extras
from densebone.tasks.segmentation.data import palette
from densebone.tasks.segmentation.prediction import predict

NORMALIZE = {"type": "Normalize"}
WINDOW = {"is_slide": True, "crop_size": [32, 32], "stride": [16, 16]}
FLIPPED = {"aug_eval": True, "scales": [0.75, 1.0], "flip_horizontal": True}


def make(folder, *overrides):
    """(job, weights) of a model that finds every class somewhere."""
    paddle.seed(3)
    job = tiny_training.job(tiny_training.write(folder), *overrides)
    job.builder.model.head.weight.set_value(job.builder.model.head.weight * 5)
    paddle.save(job.builder.model.state_dict(), str(folder / "mine.pdparams"))
    return job, folder / "mine.pdparams"


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "data").mkdir()
    return make(tmp_path / "data")


def pictures(folder, sizes=((64, 32), (50, 90), (131, 77))):
    """Noise of these (width, height), as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    files = [folder / f"p{index}.png" for index in range(len(sizes))]
    for file, (width, height) in zip(files, sizes):
        coarse = random.integers(0, 256, (6, 9, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file)
    return files


def by_paddleseg(job, file, **options):
    """(H, W): PaddleSeg's own reading, preparing and predicting."""
    from paddleseg.transforms import Compose

    core = importlib.import_module("paddleseg.core.predict")
    data = core.preprocess(str(file), Compose(job.builder.val_transforms))
    infer = core.infer.aug_inference if options.pop("aug_eval", False) else core.infer.inference
    with paddle.no_grad():
        found, _ = infer(job.builder.model, data["img"], trans_info=data["trans_info"], **options)
    return found.numpy().squeeze()


def test_tiles_give_the_labels_of_the_whole_picture(tiny, tmp_path):
    """Of a network that looks at the pixels around; all but the ones beside a border of a tile, which it sees cut."""
    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [NORMALIZE]
    pictures(tmp_path / "in", ((330, 210),))
    for name, extras in (("whole", None), ("tiles", Extras((96, 80), 0.25))):
        predict(job, [str(tmp_path / "in")], tmp_path / name, weights, extras=extras)
    whole, tiles = (np.asarray(Image.open(tmp_path / name / "labels" / "p0.png")) for name in ("whole", "tiles"))
    assert (whole == tiles).all() and len(np.unique(whole)) == 3  # a tile sees 8 pixels more than it counts for


def test_tiles_of_a_network_that_resizes_with_aligned_corners_give_the_labels_of_the_whole_picture(tmp_path):
    """FC-HarDNet-70, which looks about 500 pixels far; where tiles part, each sees 700 more of the picture."""
    paddle.seed(0)
    job = tiny_training.job(tiny_training.write(tmp_path, model={"type": "FCHarDNet", "num_classes": 3}))
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    pictures(tmp_path / "in", ((1700, 75),))
    for name, extras in (("whole", None), ("tiles", Extras((1536, 96), 0.25))):
        predict(job, [str(tmp_path / "in")], tmp_path / name, tmp_path / "mine.pdparams", extras=extras)
    whole, tiles = (np.asarray(Image.open(tmp_path / name / "labels" / "p0.png")) for name in ("whole", "tiles"))
    assert (whole == tiles).mean() > 0.9999 and len(np.unique(whole)) == 3


def test_a_video_gets_the_labels_of_its_frames(tiny, tmp_path):
    pytest.importorskip("cv2")
    import clips

    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [NORMALIZE]
    clips.write(tmp_path / "clip.avi", 6, code="MJPG")
    with Video(tmp_path / "clip.avi") as clip:
        for frame in clip.frames():
            Image.fromarray(frame.image).save(tmp_path / f"{frame.number:08}.png")
    result = predict(job, [str(tmp_path / "clip.avi")], tmp_path / "out", weights)
    assert result["images"] == 0 and result["videos"][0]["frames"] == 6
    predict(job, [str(path) for path in sorted(tmp_path.glob("0*.png"))], tmp_path / "pictures", weights)
    for file in sorted((tmp_path / "pictures" / "labels").iterdir()):
        assert (np.asarray(Image.open(file)) == np.asarray(Image.open(tmp_path / "out/labels/clip" / file.name))).all()
    shares = [row["classes"] for row in json.loads((tmp_path / "pictures" / "predictions.json").read_text())]
    rows = [json.loads(line) for line in (tmp_path / "out" / "clip.jsonl").read_text().splitlines()]
    assert [row["classes"] for row in rows] == shares


@pytest.mark.parametrize("way", [{}, WINDOW, FLIPPED], ids=["whole", "window", "flipped"])
@pytest.mark.parametrize("resize", [[], [{"type": "ResizeByLong", "long_size": 80}]], ids=["as it is", "resized"])
def test_labels_are_paddlesegs_in_the_size_of_the_picture(tiny, tmp_path, way, resize):
    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [*resize, NORMALIZE]
    job.dic["test_config"] = way
    files = pictures(tmp_path / "in")
    result = predict(job, [str(tmp_path / "in")], tmp_path / "out", weights, drawing="png")
    assert (result["images"], result["skipped"]) == (3, [])
    assert result["labels"] == str(tmp_path / "out" / "labels")
    seen = set()
    for file in files:
        with Image.open(tmp_path / "out" / "labels" / file.name) as picture:
            assert picture.mode == "P"
            assert picture.getpalette() == palette(job).ravel().tolist()
            labels = np.array(picture)
        assert (labels == by_paddleseg(job, file, **way)).all()
        overlay = np.array(Image.open(tmp_path / "out" / file.name))
        height, width = labels.shape
        assert (overlay[:height, :width] != np.array(Image.open(file))).any()
        seen |= set(labels.ravel())
    assert seen == {0, 1, 2}


def test_the_file_has_sizes_and_shares(tiny, tmp_path):
    job, weights = tiny
    files = pictures(tmp_path / "in")
    result = predict(job, [str(file) for file in files], tmp_path / "out", weights)
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert result["file"] == str(tmp_path / "out" / "predictions.json")
    assert [row["file_name"] for row in rows] == [str(file) for file in files]
    for row, file in zip(rows, files):
        labels = np.array(Image.open(tmp_path / "out" / "labels" / file.name))
        assert (row["height"], row["width"]) == labels.shape
        expected = {f"class {i}": (labels == i).mean() for i in range(3) if (labels == i).any()}
        assert row["classes"] == pytest.approx(expected, abs=1e-6)
    assert not list((tmp_path / "out").rglob(".*")), "temporary files are left"


def test_opacity(tiny, tmp_path):
    job, weights = tiny
    (file,) = pictures(tmp_path / "in", [(64, 48)])
    for opacity in (0, 1):
        predict(job, [str(file)], tmp_path / str(opacity), weights, opacity=opacity, drawing="png")
    labels = np.array(Image.open(tmp_path / "0" / "labels" / file.name))
    plain, full = (np.array(Image.open(tmp_path / name / file.name))[:48, :64] for name in "01")
    assert (full == palette(job)[labels]).all()
    assert (plain == np.array(Image.open(file))).all(axis=2).mean() > 0.3
    with pytest.raises(UserError, match=r"opacity is 1\.5; it must be from 0 to 1"):
        predict(job, [str(file)], tmp_path / "out", weights, opacity=1.5)


def test_other_formats_are_read_and_broken_ones_named(tiny, tmp_path):
    job, weights = tiny
    (file,) = pictures(tmp_path / "in", [(60, 40)])
    whole = Image.open(file)
    whole.save(tmp_path / "in" / "a.gif")
    whole.convert("L").save(tmp_path / "in" / "gray.jpg")
    whole.save(tmp_path / "in" / "cut.jpg")
    cut = (tmp_path / "in" / "cut.jpg").read_bytes()
    (tmp_path / "in" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "in" / "text.jpg").write_text("text")
    result = predict(job, [str(tmp_path / "in")], tmp_path / "out", weights)
    assert result["images"] == 3
    assert [path.name for path, _ in result["skipped"]] == ["cut.jpg", "text.jpg"]
    labels = {path.name: Image.open(path).size for path in (tmp_path / "out" / "labels").iterdir()}
    assert labels == {"a.png": (60, 40), "gray.png": (60, 40), "p0.png": (60, 40)}
    with pytest.raises(UserError, match="none of the 2 pictures can be read"):
        predict(job, [str(tmp_path / "in" / name) for name in ("cut.jpg", "text.jpg")], tmp_path / "out", weights)


def test_a_model_of_gray_pictures(tmp_path):
    one = [f"{key}_dataset.img_channels=1" for key in ("train", "val")]
    gray = [f"val_dataset.transforms.0.{key}=[0.5]" for key in ("mean", "std")]
    job, weights = make(tmp_path, "model.in_channels=1", *one, *gray)
    (file,) = pictures(tmp_path / "in", [(60, 40)])
    predict(job, [str(file)], tmp_path / "out", weights)
    assert np.array(Image.open(tmp_path / "out" / "labels" / "p0.png")).shape == (40, 60)


def test_a_long_picture_does_not_change_the_next(tiny, tmp_path):
    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [{"type": "ResizeByShort", "short_size": 64, "max_size": 128}, NORMALIZE]
    _, after = pictures(tmp_path / "in", [(200, 40), (64, 64)])
    predict(job, [str(after)], tmp_path / "alone", weights)  # first: a limit that was set would stay
    predict(job, [str(tmp_path / "in")], tmp_path / "both", weights)
    both, alone = (Image.open(tmp_path / name / "labels" / after.name) for name in ("both", "alone"))
    assert (np.array(both) == np.array(alone)).all()


def test_transforms_that_cannot_be_undone(tiny, tmp_path):
    job, weights = tiny
    pictures(tmp_path / "in", [(300, 200)])
    job.dic["val_dataset"]["transforms"] = [
        {"type": "ResizeRangeScaling", "min_value": 64, "max_value": 64}, NORMALIZE,
    ]  # fmt: skip
    with pytest.raises(UserError, match="turn 300 x 200 pixels into 64 x 43, and PaddleSeg cannot undo"):
        predict(job, [str(tmp_path / "in")], tmp_path / "out", weights)
    job.dic["val_dataset"]["transforms"] = []
    with pytest.raises(UserError, match="no transforms in val_dataset"):
        predict(job, [str(tmp_path / "in")], tmp_path / "out", weights)


def test_a_submission_to_cityscapes(tmp_path):
    nineteen = [f"{part}.num_classes=19" for part in ("model", "train_dataset", "val_dataset")]
    names = f"class_names=[{','.join(cityscapes.CLASS_NAMES)}]"
    job, weights = make(tmp_path, *nineteen, names)
    (file,) = pictures(tmp_path / "in" / "berlin", [(64, 32)])
    frame = file.rename(file.with_name("berlin_000000_000019_leftImg8bit.png"))
    other = pictures(tmp_path / "in" / "bonn", [(64, 32)])[0]
    result = predict(job, [str(tmp_path / "in")], tmp_path / "out", weights, city_ids=True)
    folder = tmp_path / "out" / "submission"
    assert result["submission"] == str(folder)
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert written == ["berlin/berlin_000000_000019_pred_labelIds.png", "bonn/p0_pred_labelIds.png"]
    ids = Image.open(folder / "berlin" / "berlin_000000_000019_pred_labelIds.png")
    labels = np.array(Image.open(tmp_path / "out" / "labels" / "berlin" / frame.name))
    assert ids.mode == "L"
    assert len(np.unique(labels)) > 3
    by_train_id = {label.train_id: label.id for label in cityscapes.LABELS if not label.ignored}
    assert (np.array(ids) == np.vectorize(by_train_id.get)(labels)).all()
    assert other.is_file()


def test_only_cityscapes_has_its_ids(tiny, tmp_path):
    job, weights = tiny
    pictures(tmp_path / "in")
    with pytest.raises(UserError, match="not the 19 of Cityscapes"):
        predict(job, [str(tmp_path / "in")], tmp_path / "out", weights, city_ids=True)
    assert not (tmp_path / "out").exists()


def test_no_file_is_written_over_another(tiny, tmp_path):
    job, weights = tiny
    pictures(tmp_path / "in", [(64, 48)])
    pictures(tmp_path / "in" / "labels", [(40, 40)])
    predict(job, [str(tmp_path / "in")], tmp_path / "out", weights)
    written = (tmp_path / "out").rglob("*.*g")
    sizes = {str(p.relative_to(tmp_path / "out")): Image.open(p).size for p in written}
    assert sizes["labels/p0.png"] == (64, 48)
    assert sizes["labels/labels_/p0.png"] == (40, 40)
    assert {"p0.jpg", "labels_/p0.jpg"} < set(sizes)
    with pytest.raises(UserError, match="is one of the pictures and would be overwritten"):
        predict(job, [str(tmp_path / "in")], tmp_path / "in", weights)


def test_a_picture_that_is_too_small_for_the_network_is_skipped(tmp_path):
    job = tiny_training.job(tiny_training.write(tmp_path), "model={type: FCHarDNet, num_classes: 3}")
    paddle.save(job.builder.model.state_dict(), str(tmp_path / "mine.pdparams"))
    small, large = pictures(tmp_path / "in", [(90, 40), (70, 64)])
    result = predict(job, [str(tmp_path / "in")], tmp_path / "out", tmp_path / "mine.pdparams")
    reason = "input is 40 x 90 pixels; both sides must be 64 or more"
    assert (result["images"], result["skipped"]) == (1, [(small, reason)])
    assert [row["file_name"] for row in json.loads((tmp_path / "out" / "predictions.json").read_text())] == [str(large)]
    with pytest.raises(UserError, match=f"none of the 1 pictures can be used .*p0.png: {reason}"):
        predict(job, [str(small)], tmp_path / "none", tmp_path / "mine.pdparams")
    assert not list((tmp_path / "none").iterdir())
