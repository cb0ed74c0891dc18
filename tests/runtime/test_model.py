"""densebone.runtime: exported models without Paddle, from their folders alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

import onnx
from exported import ONE, detector, mean_network, segmenter
from PIL import Image

from densebone.errors import UserError
from densebone.runtime import Boxes, Classes, Maps, Model, Pixels


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_boxes_in_pixels_of_the_picture(engine, tmp_path):
    pytest.importorskip(engine, reason=f"pip install {engine}")
    model = Model(detector(tmp_path / "m"), engine, threads=1)
    bright = np.full((64, 256, 3), 230, np.uint8)
    found = model(bright)
    assert isinstance(found, Boxes) and found.names == ["dog"] and len(found) == 1
    assert np.allclose(found.boxes, [[0, 0, 128, 64]]) and found.scores[0] == pytest.approx(230 / 255, abs=1e-3)
    assert len(Model(tmp_path / "m", engine, threshold=0.01)(bright)) == 2
    pictures = [bright, Image.new("RGB", (64, 32)), bright]
    scores = [[] if not len(one) else one.scores.tolist() for one in model(pictures)]
    assert [len(row) for row in scores] == [1, 0, 1]
    futures = [model.submit(bright) for _ in range(8)]
    assert all(np.array_equal(future.result().boxes, found.boxes) for future in futures)
    assert model.description.startswith("tiny on ")


def test_pixels_classes_and_maps(tmp_path):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :15, 0] = picture[:, 15:, 2] = 200
    found = Model(segmenter(tmp_path / "s"))(picture)
    assert isinstance(found, Pixels) and found.labels.shape == (20, 30)
    assert (found.labels[:, :14] == 0).all() and (found.labels[:, 16:] == 2).all()
    green = np.zeros((80, 90, 3), np.uint8)
    green[..., 1] = 255
    found = Model(mean_network(tmp_path / "c", "classification", ["r", "g", "b"], ONE), top=2)(green)
    assert isinstance(found, Classes) and found.names[0] == "g" and len(found.names) == 2
    assert found.scores[0] == pytest.approx(np.e / (np.e + 2))
    found = Model(mean_network(tmp_path / "b", "classification", None, ONE))(green)
    assert isinstance(found, Maps) and np.allclose(found.maps[0], [0, 1, 0])


def test_neither_paddle_nor_a_toolkit_is_imported(tmp_path):
    detector(tmp_path / "m")
    code = f"""
import sys
import numpy as np
from densebone.runtime import Model
Model({str(tmp_path / "m")!r})(np.zeros((40, 40, 3), np.uint8))
foreign = {{"paddle", "ppdet", "paddleseg", "matplotlib", "cv2", "torch", "pandas", "scipy", "yaml"}}
print(sorted(foreign & set(sys.modules)))
print(sorted({{name.split(".")[1] for name in sys.modules if name.startswith("densebone.")}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "['errors', 'pictures', 'runtime', 'system']"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model_card.json").unlink(), "holds no model_card.json"),
        (lambda f: (f / "model_card.json").write_text("{"), "is no model card"),
        (lambda f: (f / "model_card.json").write_text('{"name": "x", "classes": null}'), "is no model card .KeyError"),
        (lambda f: (f / "model.onnx").write_bytes(b"x"), "is not the file that densebone export wrote"),
        (lambda f: (f / "model.onnx").unlink(), "holds no model.xml or model.onnx; export with --format onnx"),
    ],
)
def test_folders_that_are_no_models(harm, message, tmp_path):
    folder = detector(tmp_path / "m")
    harm(folder)
    with pytest.raises(UserError, match=message):
        Model(folder)


def test_a_file_that_the_engine_does_not_know(tmp_path):
    folder = detector(tmp_path / "m")
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"model.onnx cannot be opened by onnxruntime"):
        Model(folder, "onnxruntime", check=False)
    model = onnx.load(detector(tmp_path / "n") / "model.onnx")
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "n" / "model.onnx")
    with pytest.raises(UserError, match=r"model.onnx cannot be opened by onnxruntime .*opset"):
        Model(tmp_path / "n", "onnxruntime", check=False)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"the picture is uint8 of shape \[9, 9\]; uint8 .height, width, 3. in RGB"),
        (np.zeros((9, 9, 3), np.float32), "the picture is float32"),
        (np.zeros((0, 9, 3), np.uint8), "of shape"),
        ("gone.jpg", "gone.jpg: does not exist"),
        ([], "no pictures were given"),
    ],
)
def test_pictures_that_are_none(picture, message, tmp_path):
    model = Model(detector(tmp_path / "m"))
    with pytest.raises(UserError, match=message):
        model(picture)


def test_prepared_inputs(tmp_path):
    model = Model(detector(tmp_path / "m"))
    feed = {"image": np.ones((2, 3, 32, 64), np.float32), "scale_factor": np.ones((2, 2), np.float32)}
    assert model.run(feed)["boxes"].shape == (2, 2, 4)
    with pytest.raises(UserError, match="the input 'scale_factor' is missing"):
        model.run({"image": feed["image"]})
    with pytest.raises(UserError, match=r"the input 'image' is float64 of shape .*; float32 \(any, 3, 32, 64\)"):
        model.run({**feed, "image": np.ones((2, 3, 32, 64))})
    with pytest.raises(UserError, match=r"the input 'image' is float32 of shape \[0, 3, 32, 64\]"):
        model.run({**feed, "image": np.ones((0, 3, 32, 64), np.float32)})
    for options, message in (({"engine": "tensorrt"}, "engine is 'tensorrt'"), ({"threshold": 2}, "threshold is 2"),
                             ({"top": 0}, "top is 0")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            Model(tmp_path / "m", **options)


def test_the_example_in_plain_onnx_runtime_finds_the_same(tmp_path):
    pytest.importorskip("cv2", reason="the example resizes with OpenCV: pip install opencv-python")
    folder, picture = detector(tmp_path / "m"), tmp_path / "a.png"
    Image.fromarray(np.full((64, 256, 3), 230, np.uint8)).save(picture)
    example = Path(__file__).parents[2] / "docs" / "examples" / "detect.py"
    command = [sys.executable, str(example), str(folder), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = Model(folder)(str(picture))
    rows = zip(found.names, found.scores, found.boxes)
    assert done.stdout.splitlines() == [
        " ".join([name, f"{score:.4f}", *(f"{value:.2f}" for value in box)]) for name, score, box in rows
    ]
    assert len(found) == 1
