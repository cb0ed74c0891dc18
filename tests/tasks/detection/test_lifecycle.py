"""A detector's life through the commands, on a tiny data set: train, kill, resume, evaluate, predict, export."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from detection_life import live
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone.pictures.video import first_frame
from densebone.system.packages import missing_package
from densebone.weights.reader import read_arrays

NO_OPENVINO = missing_package("openvino", "paddle2onnx")
SMOKE = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


@pytest.fixture(scope="module")
def sample(tmp_path_factory, densebone):
    folder = tmp_path_factory.mktemp("sample") / "data"
    done = densebone("sample-data", "coco", folder, "--train", 16, "--val", 4)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def lived(sample, tmp_path_factory, densebone):
    cwd = tmp_path_factory.mktemp("life")
    picture = sorted((sample / "val2017").glob("*.jpg"))[0]
    options = ["TrainReader.batch_size=4", "TrainReader.sample_transforms.2.Resize.target_size=[96,96]"]
    return cwd, live(densebone, SMOKE, sample, cwd, options, 3, 12, picture)


def test_train_kill_resume_evaluate_predict_export(lived):
    cwd, (curve, evaluated, _) = lived
    assert curve[-1][1] < curve[0][1]
    assert "mAP@0.5" in evaluated
    assert {p.name for p in (cwd / "output" / SMOKE).glob("*.pdparams")} >= {"0.pdparams", "model_final.pdparams"}


def test_the_figures_of_every_class_are_those_of_pycocotools(lived, sample, capsys):
    """The boxes are those that PaddleDetection wrote beside the report."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = lived[0] / "output" / SMOKE
    truth = COCO(str(sample / "annotations" / "instances_val2017.json"))
    scoring = COCOeval(truth, truth.loadRes(str(folder / "bbox.json")), "bbox")
    scoring.evaluate()
    scoring.accumulate()
    rows = json.loads((folder / "evaluation.json").read_text())["classes"]
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert [row["name"] for row in rows] == [category["name"] for category in truth.loadCats(truth.getCatIds())]
    for place, (row, reported) in enumerate(zip(rows, metrics["classes"])):
        precision = scoring.eval["precision"][:, :, place, 0, 2]
        assert precision.min() > -1 and row["AP"] == reported["AP"] == pytest.approx(precision.mean())
        assert row["AP50"] == pytest.approx(precision[0].mean())
        curve = metrics["curves"]["precision"][row["name"]]
        np.testing.assert_allclose(curve, precision[0], atol=6e-5)
        assert reported["objects"] == len(truth.getAnnIds(catIds=[truth.getCatIds()[place]], iscrowd=False))
    assert sum(row["objects"] for row in rows) == metrics["objects"] and metrics["pictures"] == 4
    assert (folder / "report" / "report.html").stat().st_size > 50_000


@pytest.mark.skipif(bool(NO_OPENVINO), reason=NO_OPENVINO)
def test_an_engine_finds_the_same_and_its_file_is_exported(lived, sample, densebone, tmp_path):
    cwd, _ = lived
    common = ("-c", SMOKE, "--data", sample, "-w", cwd / "output" / SMOKE / "model_final.pdparams")
    done = densebone("eval", *common, "--engine", "openvino", "-o", f"save_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "engine: OpenVINO" in done.stderr and "backbone, neck, yolo_head" in done.stderr
    again, before = (json.loads((f / SMOKE / "evaluation.json").read_text()) for f in (tmp_path, cwd / "output"))
    assert again["AP"] == pytest.approx(before["AP"], abs=1e-3)
    assert again["AP50"] == pytest.approx(before["AP50"], abs=1e-3)
    pictures = sample / "val2017"
    done = densebone("export", *common, "--format", "onnx", "--int8", pictures, "--with-preprocessing",
                     "-O", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the whole detector; differs from Paddle by" in done.stdout and "int8      model_int8.onnx" in done.stdout
    files = {file.name for file in (tmp_path / "out" / SMOKE).iterdir()}
    assert files > {"model.onnx", "model_int8.onnx", "picture.onnx", "model.pdiparams", "model_card.json"}
    rows = {}
    for name, given in (("trained", common), ("exported", ("--model", tmp_path / "out" / SMOKE))):
        done = densebone("predict", *given, pictures, "-O", tmp_path / name)
        assert done.returncode == 0, done.stderr
        rows[name] = json.loads((tmp_path / name / "predictions.json").read_text())
        assert len(list((tmp_path / name).rglob("*.jpg"))) == len(list(pictures.iterdir()))
    for again in ("writes", "takes"):  # the whole detector, which the first one keeps
        folder = tmp_path / f"kept{again}"
        done = densebone(
            "predict", *common, pictures, "-O", folder, "--engine", "onnxruntime", "--no-draw", "--timings"
        )
        assert done.returncode == 0, done.stderr
        assert ("written as one file" in done.stderr) == (again == "writes") and "network " in done.stderr
        rows[again] = json.loads((folder / "predictions.json").read_text())
        assert [file.name for file in folder.iterdir()] == ["predictions.json"]
    best = {name: sorted(row["score"] for row in found)[-20:] for name, found in rows.items()}
    for name in ("exported", "writes", "takes"):
        assert best[name] == pytest.approx(best["trained"], abs=1e-3)
    assert {row["category_id"] for row in rows["exported"]} <= {1, 3, 7, 18}


def test_a_killed_prediction_goes_on_and_frames_get_the_boxes_of_pictures(lived, sample, densebone, tmp_path):
    pytest.importorskip("cv2")
    import clips

    cwd, _ = lived
    weights = ("-w", cwd / "output" / SMOKE / "model_final.pdparams")
    common = ("predict", "-c", SMOKE, "--data", sample, *weights, "-o", "TestReader.batch_size=3")
    pictures = sorted((sample / "train2017").glob("*.jpg"))[:7]
    done = densebone(*common, *pictures, "-O", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    command = [sys.executable, "-m", "densebone.scripts", *map(str, (*common, *pictures, "-O", out))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = out / "predictions.json.part"
    while process.poll() is None and (not part.is_file() or part.read_bytes().count(b"\n#") < 2):
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = densebone(*common, *pictures, "-O", out)
    assert done.returncode == 0 and "pictures were done before" in done.stderr
    for file in (tmp_path / "whole").iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes()
    clips.write(tmp_path / "clip.mp4", 3, size=(160, 128))
    Image.fromarray(first_frame(tmp_path / "clip.mp4")).save(tmp_path / "frame.png")
    given = (tmp_path / "clip.mp4", tmp_path / "frame.png", "-O", tmp_path / "video")
    assert densebone(*common, *given).returncode == 0
    boxes = [row["bbox"] for row in json.loads((tmp_path / "video" / "predictions.json").read_text())]
    row = json.loads((tmp_path / "video" / "clip.jsonl").read_text().splitlines()[0])
    assert [one["bbox"] for one in row["boxes"]] == boxes and len(boxes) > 10
    assert densebone(*common, pictures[0], "--tile", 150, "-O", tmp_path / "tiles").returncode == 0
    assert json.loads((tmp_path / "tiles" / "predictions.json").read_text())


def test_a_learned_condensenetv2_is_pruned_condensed_and_evaluated(sample, densebone, tmp_path):
    from densebone.scripts.options import find_config
    from densebone.weights.reader import read_arrays

    (tmp_path / "mine.v2.yml").write_text(
        f"_BASE_: [{find_config(SMOKE)}]\n"
        "YOLOv3: {backbone: CondenseNetV2A}\n"
        "CondenseNetV2A: {return_idx: [1, 2, 3], form: learned}\n"
    )
    small = "[96,96]"
    options = [
        f"{mode}Reader.sample_transforms.{i}.Resize.target_size={small}" for mode, i in (("Train", 2), ("Eval", 1))
    ]
    common = ["-c", "mine.v2.yml", "--data", sample, "-o", "epoch=2", "snapshot_epoch=1", *options]
    trained = densebone("train", *common, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    folder = tmp_path / "output" / "mine.v2"
    for name, stage in (("0", 7), ("model_final", 7)):  # pruned in the first half; the smoke configuration averages
        arrays = read_arrays(folder / f"{name}.pdparams")
        masks = {key: value for key, value in arrays.items() if key.endswith("._mask")}
        assert len(masks) == 40
        for key, mask in masks.items():
            assert set(np.unique(mask)) == {0, 1}
            assert mask.mean() == 1 / 8 if name == "model_final" else mask.mean() < 1
            assert (arrays[key.replace("._mask", "._stage")] == stage) == (name == "model_final")

    condensed = densebone("condense", folder / "model_final.pdparams", "small.safetensors", cwd=tmp_path)
    assert condensed.returncode == 0, condensed.stderr
    results = []
    for more in ([], ["CondenseNetV2A.form=condensed", "-w", "small.safetensors"]):
        done = densebone("eval", *common, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        results.append(json.loads((folder / "evaluation.json").read_text())["AP"])
    assert abs(results[0] - results[1]) < 1e-3
    more += [
        "-o",
        "TestReader.inputs_def.image_shape=[3,96,96]",
        f"TestReader.sample_transforms.1.Resize.target_size={small}",
    ]
    exported = densebone("export", *common, *more, "PPYOLOEHead.nms.score_threshold=1.0e-9", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "largest relative difference" in exported.stdout and " 0 boxes" not in exported.stdout


def test_a_second_run_does_not_overwrite_the_first(lived, sample, densebone):
    cwd, _ = lived
    arguments = ("train", "-c", SMOKE, "--data", sample, "-o", "epoch=3")
    before = (cwd / "output" / SMOKE / "0.json").read_text()
    refused = densebone(*arguments, cwd=cwd)
    assert refused.returncode == 2
    assert "holds the checkpoints of an earlier run" in refused.stderr
    assert (cwd / "output" / SMOKE / "0.json").read_text() == before
    finished = densebone(*arguments, "-r", cwd=cwd)
    assert finished.returncode == 0
    assert "training is complete" in finished.stdout


def test_resume_passes_over_a_half_written_checkpoint(lived, sample, densebone, tmp_path):
    cwd, _ = lived
    saved = cwd / "output" / SMOKE
    copy = tmp_path / "output" / SMOKE
    copy.mkdir(parents=True)
    for name in ("0", "1"):
        for file in saved.glob(f"{name}.*"):
            (copy / file.name).write_bytes(file.read_bytes())
    whole = (copy / "1.pdparams").read_bytes()
    (copy / "1.pdparams").write_bytes(whole[: len(whole) // 2])
    named = densebone("train", "-c", SMOKE, "--data", sample, "-r", f"output/{SMOKE}/1", cwd=tmp_path)
    assert (named.returncode, "half written" in named.stderr) == (2, True)
    unnamed = densebone("train", "-c", SMOKE, "--data", sample, "-r", cwd=tmp_path)
    assert (unnamed.returncode, "cannot resume: of checkpoint" in unnamed.stderr) == (2, True)
    (copy / "1.json").unlink()  # as a run leaves it that is killed while it writes
    options = ["TrainReader.batch_size=4", "TrainReader.sample_transforms.2.Resize.target_size=[96,96]", "epoch=2"]
    resumed = densebone("train", "-c", SMOKE, "--data", sample, "-r", "--eval", "--vdl", "-o", *options, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming from output/{SMOKE}/0: iteration 4 of 8" in resumed.stdout
    best = json.loads((copy / "best_model.json").read_text())
    (scored,) = [json.loads(row) for row in (copy / "history.jsonl").read_text().splitlines() if '"eval"' in row]
    assert best["best_ap"] == scored["AP"]
    assert list((copy / "vdl").iterdir())
    assert [p.name for p in tmp_path.iterdir()] == ["output"]


def test_a_loss_that_is_not_finite_ends_the_run(sample, densebone, tmp_path):
    rate = ["LearningRate.base_lr=1e30", "TrainReader.batch_size=2", "snapshot_epoch=1", "epoch=9"]
    done = densebone("train", "-c", SMOKE, "--data", sample, "--seed", 1, "-o", *rate, cwd=tmp_path)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        re.match(r"densebone: iteration \d+: (loss\w* is (nan|inf)|[\w.]+ is not finite)", said)
        and "lower LearningRate" in said
    )
    for file in tmp_path.rglob("*.pdparams"):
        assert all(np.isfinite(value).all() for value in read_arrays(file).values())


def test_predict_names_and_skips_broken_pictures(lived, sample, densebone, tmp_path):
    cwd, _ = lived
    good = sorted((sample / "val2017").glob("*.jpg"))[0].read_bytes()
    (tmp_path / "good.jpg").write_bytes(good)
    (tmp_path / "cut.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("RGB", (31, 64)).save(tmp_path / "small.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "anim.gif")
    done = densebone("predict", "-c", SMOKE, "--data", sample, tmp_path, "-O", tmp_path / "out", cwd=cwd)
    assert done.returncode == 1, done.stderr
    for name in ("cut.jpg", "text.jpg", "small.png"):
        assert f"skipped {tmp_path / name}" in done.stdout
    assert "3 pictures skipped" in done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["anim.jpg", "good.jpg", "predictions.json"]


def test_exported_boxes_are_compared_with_the_nearest():
    from densebone.tasks.detection.exporting import compare

    boxes = np.array([[0, 0.9, 1, 2, 30, 40], [1, 0.5, 5, 6, 70, 80]], "float32")
    assert compare(boxes, boxes[::-1]) == 0
    nearly_equal = np.array([[0, 0.50004, 1, 2, 30, 40], [0, 0.50006, 5, 6, 70, 80]], "float32")
    assert compare(nearly_equal, nearly_equal + np.array([[0, 3e-5, 0, 0, 0, 0], [0, -3e-5, 0, 0, 0, 0]])) < 1e-4
    filled_up = np.array([[1, 0, 3, 3, 4, 4]], "float32")
    assert compare(np.concatenate([boxes, filled_up]), boxes) == 0
    with pytest.raises(RuntimeError, match="differ from the trained one's"):
        compare(boxes, boxes + np.array([0, 0, 1, 0, 0, 0], "float32"))
    with pytest.raises(RuntimeError, match="finds 1 boxes where the trained one finds 2"):
        compare(boxes, boxes[:1])
