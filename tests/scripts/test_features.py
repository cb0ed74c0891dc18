"""`densebone features` as a user runs it: killed, shared, with broken pictures; its vectors are the network's."""

import subprocess
import sys
from pathlib import Path

import drawn_pictures
import feature_runs
import numpy as np
import paddle
import pytest
from PIL import Image

from densebone import FeatureExtractor, create_backbone
from densebone.features import load_features
from densebone.pictures.preparing import prepare
from densebone.pictures.reading import read_image
from densebone.scripts import main
from densebone.weights.catalog import find

SHARD = 5


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return feature_runs.write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def extractor(weights):
    return FeatureExtractor(
        "hardnet39ds", pretrained=weights, pooled="avg", size=(32, 32), engine="eager", preprocessing="hardnet39ds"
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return drawn_pictures.draw(tmp_path_factory.mktemp("pictures"), 80)


def test_killed_and_finished_by_two_processes(pictures, weights, extractor, tmp_path):
    arguments = feature_runs.command(pictures, tmp_path, weights, "--shard-size", SHARD, "--batch-size", 1)
    done = feature_runs.kill_when(feature_runs.start(arguments), tmp_path, 4)
    assert 4 <= done < 80 // SHARD  # it was killed in the middle
    processes = [
        feature_runs.start(arguments, PADDLE_TRAINER_ID=str(number), PADDLE_TRAINERS_NUM="2") for number in range(2)
    ]
    for process in processes:
        feature_runs.finish(process)
    feature_runs.check_every_picture_once(tmp_path, 80, extractor, pictures, 80)


def test_vectors_are_those_of_the_eager_network_on_prepared_pictures(pictures, weights, tmp_path, capfd):
    given = [str(path) for path in sorted(pictures.iterdir())[:6]]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    options = ["-m", "hardnet39ds", "-w", weights, "--preprocessing", "hardnet39ds.official", "--engine", "eager"]
    arguments = ["features", *given, tmp_path / "broken.jpg", "-O", tmp_path / "out", "--pooled", *options]
    assert main([str(argument) for argument in arguments]) == 1
    said = capfd.readouterr().out
    assert "6 pictures in " in said and "(7 computed now, " in said and " images/s)" in said
    assert "broken.jpg: is not a picture that Pillow can read" in said
    recipe = find("hardnet39ds.official").preprocessing
    inputs = np.stack([prepare(read_image(path), recipe) for path in given])
    backbone = create_backbone("hardnet39ds", pretrained=weights)
    backbone.eval()
    with paddle.no_grad():
        expected = np.concatenate([m.mean([2, 3]).numpy() for m in backbone(paddle.to_tensor(inputs))], 1)
    names, features = load_features(tmp_path / "out")
    root = Path(features.settings["root"])
    assert [str(root / name) for name in names] == given
    assert abs(np.asarray(features) - expected).max() <= 1e-4 * expected.std()
    fx = FeatureExtractor(
        "hardnet39ds", pretrained=weights, pooled="avg", engine="eager", preprocessing="hardnet39ds.official"
    )
    assert abs(fx(given) - expected).max() <= 1e-4 * expected.std()


def test_maps_and_sheets(pictures, weights, tmp_path):
    arguments = [pictures / "00*.png", "-m", "hardnet39ds", "-w", weights, "--preprocessing", "hardnet39ds.official"]
    arguments += ["--strides", 8, 16, "--size", 64, 96, "--engine", "eager", "--format", "safetensors", "--png", 2]
    assert main(["features", *map(str, arguments), "-O", str(tmp_path)]) == 0
    names, features = load_features(tmp_path)
    assert len(names) == 80 and [m.shape for m in features[79]] == [(320, 8, 12), (640, 4, 6)]
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in sheets] == ["000000-0000.png", "000001-0001.png"]
    assert Image.open(sheets[0]).size[0] > 1000


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none"], "none does not exist; give pictures, folders"),
        (["p", "-m", "hardnet39"], "there is no model 'hardnet39'; the nearest names are hardnet39ds"),
        (["p", "--pooled", "--png"], "--png draws the maps of 1 picture or more, and --pooled writes none"),
        (["p", "--part", "3/2"], "--part is '3/2'; give I/N"),
        (["p", "--size-mode", "resize"], "size is None; size_mode 'resize' takes (height, width)"),
        (["p", "--engine", "fast"], "engine is 'fast'"),
        (["p", "--format", "parquet"], "Parquet is for vectors, and these are maps"),
        (["p", "-w", "W"], "how pictures are prepared for these weights is not known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_user_gets_wrong(arguments, message, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    drawn_pictures.draw(tmp_path / "p", 1)
    arguments = [str(weights) if argument == "W" else argument for argument in arguments]
    if "-w" not in arguments:
        arguments += ["-w", str(weights), "--preprocessing", "hardnet39ds.official"]
    if "-m" not in arguments:
        arguments += ["-m", "hardnet39ds"]
    if "--engine" not in arguments:
        arguments += ["--engine", "eager"]
    assert main(["features", *arguments]) == 2
    error = capsys.readouterr().err
    assert f"densebone: {message}" in error or message in error.splitlines()[-1]
    assert not list(tmp_path.glob("output/features/*"))


@pytest.mark.acceptance
def test_five_thousand_pictures(weights, extractor, tmp_path, monkeypatch):
    """Killed twice; shared by two processes of paddle.distributed.launch; the memory of 1,000 and 5,000."""
    pictures = drawn_pictures.draw(tmp_path / "p", 5000)
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))

    def command(given, output):
        return feature_runs.command(given, tmp_path / output, weights, "--shard-size", 100, engine="auto")

    arguments = command(pictures, "killed")
    first = feature_runs.kill_when(feature_runs.start(arguments), tmp_path / "killed", 12)
    second = feature_runs.kill_when(feature_runs.start(arguments), tmp_path / "killed", 31)
    assert 12 <= first < 31 <= second < 50
    feature_runs.finish(feature_runs.start(arguments))
    feature_runs.check_every_picture_once(tmp_path / "killed", 5000, extractor, pictures, 500)

    arguments = command(pictures, "shared")
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "log")]
    script = Path(sys.executable).with_name("densebone")
    done = subprocess.run([sys.executable, *launch, script, *arguments], capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    feature_runs.check_every_picture_once(tmp_path / "shared", 5000, extractor, pictures, 500)

    peaks = []
    for count in (1000, 5000):
        (tmp_path / f"{count}.txt").write_text("\n".join(f"p/{number:04d}.png" for number in range(count)))
        peaks.append(feature_runs.finish(feature_runs.start(command(tmp_path / f"{count}.txt", str(count)))))
    print(f"killed after {first} and {second} of 50 shards; peak memory {peaks[0]} MB of 1,000, {peaks[1]} MB of 5,000")
    assert peaks[1] < 1.05 * peaks[0]
