"""A segmenter's life through the commands: train, kill, resume, evaluate, predict, export.

With `-m acceptance`, every shipped configuration trains for 20 iterations at a small size: minutes each, so that is
asked for by name.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from killing import kill_after, start
from PIL import Image

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from densebone.scripts.options import shipped_configs

SMOKE = "smoke_fchardnet70_sample"
SIZE = "train_dataset.transforms.0.target_size=[128,64]", "val_dataset.transforms.0.target_size=[128,64]"


@pytest.fixture(scope="module")
def sample(tmp_path_factory, densebone):
    folder = tmp_path_factory.mktemp("sample") / "data"
    done = densebone("sample-data", "cityscapes", folder, "--train", 6, "--val", 2, "--test", 0, "--size", "128x256")
    assert done.returncode == 0, done.stderr
    return folder


def succeeded(done):
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_train_kill_resume_evaluate_predict_export(sample, densebone, tmp_path):
    settings = ["iters=6", "save_interval=2", "log_iters=1", "batch_size=2", "loss.types.0.min_K=512", *SIZE]
    common = ["-c", SMOKE, "--data", sample, "-o", *settings]
    folder = tmp_path / "output" / SMOKE
    process = start([*common, "--seed", 3, "--eval"], tmp_path, tmp_path / "train.log")
    kill_after(process, f"saved output/{SMOKE}/2", tmp_path / "train.log")
    assert "resuming from" in succeeded(densebone("train", *common, "--eval", "--resume", cwd=tmp_path))
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [row["iteration"] for row in rows if row["kind"] == "eval"] == [2, 4, 6]
    assert Image.open(folder / "curves.png").size[0] > 100
    assert {p.stem for p in folder.glob("*.pdparams")} == {"2", "4", "model_final", "best_model"}
    assert not list(tmp_path.rglob(".*"))

    printed = succeeded(densebone("eval", *common, "--flip", cwd=tmp_path))
    result = json.loads((folder / "evaluation.json").read_text())
    assert 0 <= result["mIoU"] <= 1 and len(result["classes"]) == 19 and result["images"] == 2
    assert "traffic light" in printed and "mIoU" in printed

    pictures = sample / "leftImg8bit" / "val"
    succeeded(densebone("predict", *common, "-O", "drawn", "--city-ids", pictures, cwd=tmp_path))
    for picture in pictures.rglob("*.png"):
        place = picture.relative_to(pictures)
        place = next(p for p in (place, Path(place.name)) if (tmp_path / "drawn" / p.with_suffix(".jpg")).is_file())
        labels = Image.open(tmp_path / "drawn" / "labels" / place)
        assert labels.mode == "P" and labels.size == Image.open(picture).size == (256, 128)
        assert np.asarray(labels).max() < 19
    assert len(list((tmp_path / "drawn" / "submission").rglob("*_pred_labelIds.png"))) == 2

    printed = succeeded(densebone("export", *common, "-O", "exported", cwd=tmp_path))
    assert "it gives 100.000 % of the" in printed or "it gives 99.9" in printed
    assert (tmp_path / "exported" / SMOKE / "model.pdiparams").is_file()
    pictures = sample / "leftImg8bit" / "val"
    succeeded(densebone("predict", "--model", f"exported/{SMOKE}", pictures, "-O", "from_export", cwd=tmp_path))
    succeeded(densebone("predict", *common, pictures, "-O", "from_training", cwd=tmp_path))
    for drawn in (tmp_path / "from_training" / "labels").rglob("*.png"):
        other = tmp_path / "from_export" / drawn.relative_to(tmp_path / "from_training")
        assert (np.asarray(Image.open(drawn)) == np.asarray(Image.open(other))).mean() > 0.9


CROP = "train_dataset.transforms.{}.crop_size=[192,96]"
CITYSCAPES = ["batch_size=2", CROP.format(1)]
FCHARDNET = [*CITYSCAPES, "loss.types.0.min_K=1024"]
CONFIGS = {
    "fchardnet70_cityscapes_1024x1024_90k": [*FCHARDNET, "model.pretrained_encoder=null"],
    "fchardnet70_paddleseg_cityscapes_1024x1024_160k": FCHARDNET,
    "fchardnet_peleenet_cityscapes_1024x1024_90k": [*FCHARDNET, "model.backbone.pretrained=null"],
    "deeplabv3p_hardnet68_cityscapes_1024x1024_80k": [*CITYSCAPES, "model.backbone.pretrained=null"],
    "fcn_condensenetv2c_cityscapes_1024x1024_80k": [*CITYSCAPES, "model.backbone.pretrained=null"],
    "fchardnet70_camvid_960x720_10k": [
        *FCHARDNET,
        "model.pretrained_encoder=null",
        "lr_scheduler.warmup_iters=2",
    ],
    SMOKE: ["batch_size=2", "loss.types.0.min_K=512", *SIZE],
}


def camvid(cityscapes, folder):
    """CamVid's layout: lists of pictures and labels with 11 classes, made of the first 11 of Cityscapes."""
    for part in ("train", "val"):
        lines = []
        for picture in sorted((cityscapes / "leftImg8bit" / part).rglob("*.png")):
            name = picture.name.replace("_leftImg8bit", "_gtFine_labelTrainIds")
            label = cityscapes / "gtFine" / part / picture.parent.name / name
            values = np.asarray(Image.open(label)).copy()
            values[values > 10] = 255
            for kind, image in (("images", Image.open(picture)), ("labels", Image.fromarray(values))):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                image.save(folder / kind / picture.name)
            lines.append(f"images/{picture.name} labels/{picture.name}\n")
        (folder / f"{part}.txt").write_text("".join(lines))
    return folder


@pytest.mark.acceptance
@pytest.mark.parametrize("config", CONFIGS)
def test_configuration_on_sample_data(config, sample, densebone, tmp_path):
    data = camvid(sample, tmp_path / "camvid") if "camvid" in config else sample
    common = ["-c", config, "--data", data, "-o", *CONFIGS[config]]
    # a rate for these few iterations from random weights, the same pictures again and again
    settings = ["iters=20", "log_iters=1", "save_interval=20", "lr_scheduler.learning_rate=0.01"]
    succeeded(densebone("train", *common, *settings, "--seed", 3, "--eval", cwd=tmp_path, timeout=3000))
    folder = tmp_path / "output" / config
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 20
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    printed = succeeded(densebone("eval", *common, cwd=tmp_path, timeout=3000))
    print(f"\n{config}: loss {first:.3f} -> {last:.3f}; {printed.splitlines()[-1]}")
    assert last < first


def test_every_configuration_is_in_the_acceptance_table():
    shipped = [name for name, path in shipped_configs().items() if path.parent.name == "segmentation"]
    assert sorted(CONFIGS) == sorted(shipped)
