"""Predicting on pictures, by a trained network and by the exported one with nothing but its card."""

import json
import os
import re
import shutil

import numpy as np
import paddle
import pytest
import recipe
import yaml
from PIL import Image
from safetensors.numpy import save_file
from tiny_pictures import SETTINGS, picture, tree

from densebone import create_model
from densebone.datasets.generated.imagenet import draw
from densebone.datasets.imagenet import NAMES
from densebone.deploy.cards import read_card
from densebone.errors import UserError
from densebone.pictures.preparing import prepare
from densebone.pictures.reading import read_image
from densebone.pictures.video import Video, first_frame
from densebone.scripts import main
from densebone.tasks.classification import exporting
from densebone.tasks.classification.config import load
from densebone.tasks.classification.exporting import compare, export
from densebone.tasks.classification.prediction import best, predict, predict_exported
from densebone.tasks.extras import Extras

IMAGENET = {**SETTINGS, "preprocessing": None, "model": {"name": "hardnet39ds"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with known.jpg, mine.yml, the recipe's HarDNet-39DS in w.safetensors, and that exported in out/mine."""
    folder = tmp_path_factory.mktemp("classifier")
    draw(np.random.default_rng(5), "n04285008", 300, 400).save(folder / "known.jpg", quality=95)
    arrays = {key: np.ascontiguousarray(value) for key, value in recipe.weights("hardnet39ds").items()}
    save_file(arrays, folder / "w.safetensors")
    (folder / "mine.yml").write_text(yaml.safe_dump({**IMAGENET, "save_dir": str(folder / "output")}))
    export(load(folder / "mine.yml"), folder / "out", str(folder / "w.safetensors"), check=str(folder / "known.jpg"))
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return place


def test_the_same_five_from_the_trained_and_the_exported_network(here, tmp_path):
    trained = predict(load(here / "mine.yml"), str(here / "known.jpg"), "a", str(here / "w.safetensors"))
    (here / "out" / "mine").rename(tmp_path / "moved")
    try:
        exported = predict_exported("moved", str(here / "known.jpg"), "b")
    finally:
        (tmp_path / "moved").rename(here / "out" / "mine")
    (first,), (second,) = trained["pictures"], exported["pictures"]
    assert [row["class"] for row in first["top"]] == [row["class"] for row in second["top"]]
    np.testing.assert_allclose(*([row["score"] for row in p["top"]] for p in (first, second)), rtol=1e-3)
    assert [row["name"] for row in second["top"]] == [NAMES[row["class"]] for row in second["top"]]
    assert (first["width"], first["height"]) == (400, 300)
    assert json.loads((tmp_path / "b" / "predictions.json").read_text()) == exported["pictures"]

    net = create_model("hardnet39ds", pretrained=str(here / "w.safetensors"))
    net.eval()
    image = prepare(read_image(here / "known.jpg"), load(here / "mine.yml").preprocessing)
    with paddle.no_grad():
        scores = paddle.nn.functional.softmax(net(paddle.to_tensor(image[None])))[0].numpy()
    assert [row["class"] for row in first["top"]] == np.argsort(-scores)[:5].tolist()
    np.testing.assert_allclose([row["score"] for row in first["top"]], np.sort(scores)[::-1][:5], rtol=1e-4)


def test_the_card(here):
    card = read_card(here / "out" / "mine")
    assert (card["name"], card["model"], card["task"]) == ("mine", "hardnet39ds", "classification")
    assert card["parameters"] == 3488228
    assert card["weights"]["source"] == "w.safetensors" and re.fullmatch("[0-9a-f]{64}", card["weights"]["sha256"])
    assert card["preprocessing"] == load(here / "mine.yml").preprocessing
    assert (card["classes"], card["input_shape"]) == (list(NAMES), [-1, 3, 224, 224])


def test_best():
    logits = np.log(np.array([[0.1, 0.2, 0.2, 0.5], [0.7, 0.1, 0.1, 0.1]])) + 700
    first, second = best(logits, "abcd", 3)
    assert [(row["class"], row["name"]) for row in first] == [(3, "d"), (1, "b"), (2, "c")]
    np.testing.assert_allclose([row["score"] for row in first], [0.5, 0.2, 0.2])
    assert second[0] == {"class": 0, "name": "a", "score": pytest.approx(0.7)}
    assert len(best(logits, "abcd", 9)[0]) == 4


def test_commands(here, tmp_path, capsys):
    picture(tmp_path / "pictures" / "line.png", 1, (1, 50))
    picture(tmp_path / "pictures" / "deep" / "b.png", 2)
    (tmp_path / "pictures" / "bad.jpg").write_text("no picture")
    arguments = ["predict", "--model", here / "out" / "mine", "pictures", here / "*.jpg", "--top", "2"]
    assert main([str(a) for a in arguments]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3 * 3 + 3
    assert out[0] == "pictures/deep/b.png" and re.fullmatch(r"  +\d+\.\d\d %  \S.*", out[1])
    assert out[-3] == "3 pictures, in output/mine/predictions/predictions.json"
    assert out[-2].startswith("skipped pictures/bad.jpg: is not a picture that Pillow can read")
    assert out[-1] == "1 pictures skipped"

    command = ["predict", "-c", str(here / "mine.yml"), "-w", str(here / "w.safetensors"), "pictures/deep", "--json"]
    assert main([*command, "-O", "x"]) == 0
    captured = capsys.readouterr()
    (row,) = map(json.loads, captured.out.splitlines())
    assert row["file_name"] == "pictures/deep/b.png" and len(row["top"]) == 5
    assert "1 pictures, in x/predictions.json" in captured.err
    assert json.loads((tmp_path / "x" / "predictions.json").read_text()) == [row]


def test_batches_give_what_single_pictures_give(here, tmp_path, monkeypatch):
    for number in range(5):
        picture(tmp_path / "p" / f"{number}.png", number, (50 + number, 60))
    whole = predict_exported(here / "out" / "mine", "p", "o")["pictures"]
    monkeypatch.setattr("densebone.tasks.classification.prediction.BATCH_SIZE", 2)
    pairs = predict_exported(here / "out" / "mine", "p", "o")["pictures"]
    for one, two in zip(whole, pairs, strict=True):
        assert [row["class"] for row in one["top"]] == [row["class"] for row in two["top"]]


def test_odd_names_are_each_predicted_or_named_once(here, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    names = ["x.jpg", "x.png", "new\nline.png", "esc\x1b[2J.png", "a" * 251 + ".png"]
    for name in [os.fsencode(name) for name in names] + [b"caf\xe9.png"]:
        with open(os.path.join(os.fsencode(folder), name), "wb") as stream:
            Image.new("RGB", (48, 40), "red").save(stream, "PNG")
    (folder / "link.png").symlink_to("x.png")
    (folder / "text.jpg").write_text("no picture")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    result = predict(load(here / "mine.yml"), [str(folder)], tmp_path / "out", str(here / "w.safetensors"))
    assert result["images"] == 7 and sorted(path.name for path, _ in result["skipped"]) == ["pipe.jpg", "text.jpg"]
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))) == 7


def test_a_changed_export_is_refused(here, tmp_path):
    folder = shutil.copytree(here / "out" / "mine", tmp_path / "mine")
    predict_exported(folder, str(here / "known.jpg"), tmp_path / "out")
    file = folder / "model.pdiparams"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.pdiparams is not the file that densebone export wrote; export"):
        predict_exported(folder, str(here / "known.jpg"), tmp_path / "out")


def test_nothing_can_be_read(here, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures can be read \(bad\.jpg: is not a picture"):
        predict_exported(here / "out" / "mine", "bad.jpg", "o")
    assert not (tmp_path / "o" / "predictions.json").exists()


def test_exporting_any_size_and_a_learned_network(here, tmp_path):
    """Pictures as they are: one input shape does not fit all."""
    settings = {**SETTINGS, "model": {"name": "condensenetv2_a", "num_classes": 3, "options": {"form": "learned"}}}
    settings["preprocessing"] = {"resize": None, "crop": None, "interpolation": None}
    (tmp_path / "any.yml").write_text(yaml.safe_dump(settings))
    paddle.seed(2)
    net = create_model("condensenetv2_a", form="learned", num_classes=3)
    net.eval()
    save_file({key: value.numpy() for key, value in net.state_dict().items()}, "w.safetensors")
    result = export(load("any.yml"), "out", "w.safetensors")
    assert result["checked"] == "noise" and 0 <= result["difference"] < 1e-4
    assert read_card("out/any")["input_shape"] == [-1, 3, -1, -1]
    assert read_card("out/any")["options"] == {"form": "learned"}
    tree(tmp_path / "data", parts=("val",))
    picture(tmp_path / "data" / "other.png", 3, (50, 33))
    picture(tmp_path / "data" / "small.png", 3, (31, 33))
    exported = predict_exported("out/any", "data", "o")
    ((path, reason),) = exported["skipped"]
    assert (path.name, reason) == ("small.png", "is prepared to 33 x 31 pixels; both sides must be 32 or more")
    exported = exported["pictures"]
    trained = predict(load("any.yml"), "data", "o", "w.safetensors")["pictures"]
    assert len(exported) == 7
    for one, two in zip(exported, trained, strict=True):
        assert [row["name"] for row in one["top"]] == [row["name"] for row in two["top"]]


def test_an_export_that_differs_leaves_nothing(here, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "save_program", lambda *arguments: None)  # which takes seconds
    monkeypatch.setattr(exporting, "run", lambda folder, batch: [np.zeros((2, 1000), "float32")])
    with pytest.raises(RuntimeError, match=r"differ from the trained one's by up to .* at most 0\.0001 is allowed"):
        export(load(here / "mine.yml"), "out", str(here / "w.safetensors"))
    assert not (tmp_path / "out" / "mine").exists()
    with pytest.raises(RuntimeError, match="returns"):
        compare(np.zeros((1, 2)), np.zeros((1, 3)))


def test_a_video_gets_the_classes_of_its_frames(here, tmp_path):
    pytest.importorskip("cv2")
    import clips

    clips.write(tmp_path / "clip.avi", 3, code="MJPG")
    with Video(tmp_path / "clip.avi") as clip:
        for frame in clip.frames():
            Image.fromarray(frame.image).save(tmp_path / f"{frame.number}.png")
    found = predict_exported(here / "out" / "mine", ["clip.avi", "0.png", "1.png", "2.png"], "a", top=3)
    (video,) = found["videos"]
    rows = [json.loads(line) for line in (tmp_path / video["file"]).read_text().splitlines()]
    assert [(row["frame"], row["time"]) for row in rows] == [(0, 0), (1, 0.04), (2, 0.08)]
    for row, still in zip(rows, found["pictures"]):
        assert [one["name"] for one in row["top"]] == [one["name"] for one in still["top"]] and len(row["top"]) == 3
        scores = [[one["score"] for one in tops["top"]] for tops in (row, still)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert first_frame(video["video"]).shape == (64, 96, 3)
    with pytest.raises(UserError, match="a classifier takes whole pictures"):
        predict_exported(here / "out" / "mine", "0.png", "a", extras=Extras((64, 64)))
