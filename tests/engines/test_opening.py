"""Every engine computes what Paddle computes, for any number and size of pictures; exports are made once."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import tiny
import tiny_condense
from paddle import nn

from densebone.engines import agreement, conversion, onednn, opening, session
from densebone.engines.cache import KEPT, YOUNG, forget_oldest, new_folder
from densebone.engines.program import program_file, save_program
from densebone.errors import UserError

INSTALLED = opening.available()
EXPORTING = [name for name in INSTALLED if name != "eager"]
needs_onnx = pytest.mark.skipif("onnxruntime" not in INSTALLED, reason=opening.missing().get("onnxruntime", ""))
needs_openvino = pytest.mark.skipif("openvino" not in INSTALLED, reason=opening.missing().get("openvino", ""))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def network():
    net = tiny.build()
    net.eval()
    return net


def eager(net, images):
    with paddle.no_grad():
        found = net(paddle.to_tensor(images))
    return [out.numpy() for out in (found if isinstance(found, list) else [found])]


def assert_equal(expected, found):
    assert agreement.check_outputs(expected, found, agreement.TOLERANCES["fp32"]) <= 1e-4


def test_paddle_is_always_there():
    assert [name for name in opening.ENGINES if name in INSTALLED] == INSTALLED
    assert INSTALLED[-2:] == ["paddle", "eager"]
    assert {*INSTALLED, *opening.missing()} == set(opening.ENGINES)


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: None)
    assert opening.available() == ["paddle", "eager"]
    assert opening.missing()["openvino"] == "openvino is not installed; pip install 'densebone[openvino]'"
    with pytest.raises(UserError, match=r"onnxruntime is not installed; pip install 'densebone\[onnx\]'"):
        opening.open_network(tiny.build(), "onnxruntime")


@pytest.mark.parametrize("name", INSTALLED)
def test_any_number_and_size_of_pictures(name, network, cache):
    with opening.open_network(network, name, threads=2, cache=cache) as engine:
        assert (engine.name, engine.precision) == (name, "fp32")
        assert "2 threads" in engine.description
        for shape in ((1, 3, 32, 32), (3, 3, 97, 131), (2, 3, 64, 40)):
            images = agreement.random_images(shape, seed=1)
            found = engine.run(images)
            assert [(out.shape, str(out.dtype)) for out in found] == [((shape[0], 5), "float32")]
            assert_equal(eager(network, images), found)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_backbone_gives_its_maps_in_order(name, cache):
    backbone = tiny_condense.randomise(tiny_condense.build(out_indices=(1, 3, 4)))
    backbone.eval()
    images = agreement.random_images((2, 3, 70, 96))
    with opening.open_network(backbone, name, cache=cache) as engine:
        found = engine.run(images)
    assert [out.shape[1] for out in found] == backbone.channels
    assert_equal(eager(backbone, images), found)


@pytest.mark.parametrize("name", EXPORTING)
def test_an_export_is_made_and_checked_once(name, network, cache, monkeypatch):
    opening.open_network(network, name, cache=cache).close()
    again = tiny.build()  # the same weights, under other names of Paddle's
    again.eval()
    monkeypatch.setattr(opening, "save_program", None)
    monkeypatch.setattr(opening, "check_outputs", None)
    with opening.open_network(again, name, cache=cache) as engine:
        assert "differs from eager by" in engine.description


def test_the_digest_tells_apart_what_computes_differently():
    digests = [
        conversion.digest(net)
        for net in (
            tiny.build(),
            tiny.build(seed=1),
            tiny.build(tiny.TINY_DS),
            tiny.build(num_classes=6),
            tiny.build(out_indices=(3, 4)),
            tiny.build(out_indices=(2, 3, 4)),
        )
    ]
    assert len({*digests}) == len(digests)
    assert conversion.digest(tiny.build()) == digests[0]
    changed = tiny.build()
    changed.sublayers()[1].stride = 7  # a setting, not a weight
    assert conversion.digest(changed) != digests[0]


@needs_openvino
def test_auto_tries_once_and_remembers(network, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "densebone")
    with opening.open_network(network, cache=tmp_path, input_size=(64, 64)) as engine:
        chosen = engine.name
    assert chosen in ("openvino", "onnxruntime")
    assert "trial at 64 x 64: openvino" in caplog.text and "engine: " in caplog.text
    monkeypatch.setattr(opening, "race", None)
    with opening.open_network(network, cache=tmp_path, input_size=(64, 64)) as engine:
        assert engine.name == chosen
    assert [f.name.partition("-")[0] for f in tmp_path.glob("auto-*.json")] == ["auto"]


def test_the_race_takes_the_least_time():
    class Sleeper(opening.Engine):
        def __init__(self, name, seconds):
            super().__init__()
            self.name, self.seconds = name, seconds

        def _run(self, images):
            time.sleep(self.seconds)
            return []

    times = opening.race([Sleeper("slow", 0.02), Sleeper("fast", 0.001)], agreement.random_images((1, 3, 8, 8)))
    assert times["slow"] >= 20 > times["fast"] >= 1


class Shuffling(nn.Layer):
    """paddle2onnx ends its process on channel_shuffle."""

    def forward(self, x):
        return F.channel_shuffle(x, 3)


@needs_onnx
def test_auto_passes_over_what_cannot_be_converted(tmp_path, caplog):
    net = Shuffling()
    net.eval()
    with opening.open_network(net, cache=tmp_path) as engine:
        assert engine.name == "paddle"
        images = agreement.random_images((1, 3, 8, 9))
        assert_equal(eager(net, images), engine.run(images))
    assert "onnxruntime is left out: paddle2onnx cannot convert this network" in caplog.text
    with pytest.raises(UserError, match="paddle2onnx cannot convert this network"):
        opening.open_network(net, "onnxruntime", cache=tmp_path)
    assert not [f for f in tmp_path.iterdir() if f.is_dir() and f.name.endswith("-onnx")]


def test_auto_passes_over_an_engine_that_computes_something_else(network, tmp_path, caplog, monkeypatch):
    run = session.PaddleInference._run
    monkeypatch.setattr(opening, "available", lambda: ["paddle", "eager"])
    monkeypatch.setattr(session.PaddleInference, "_run", lambda self, x: [out + 0.01 for out in run(self, x)])
    with opening.open_network(network, cache=tmp_path) as engine:
        assert engine.name == "eager"
    assert "paddle is left out: output 0 differs from Paddle's by" in caplog.text
    with pytest.raises(RuntimeError, match="of its standard deviation, and 0"):
        opening.open_network(network, "paddle", cache=tmp_path)


def test_on_a_gpu_auto_stays_with_eager(network, tmp_path, monkeypatch):
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    with opening.open_network(network, cache=tmp_path) as engine:
        assert engine.name == "eager"


def test_bf16(network, cache):
    with pytest.raises(UserError, match=r"'onnxruntime' computes in fp32 only|not installed|needs Paddle"):
        opening.open_network(network, "onnxruntime", "bf16", cache=cache)
    name = "openvino" if "openvino" in INSTALLED else "paddle"
    images = agreement.random_images((1, 3, 64, 64))
    try:
        with opening.open_network(network, name, "bf16", cache=cache) as engine:
            assert_rounded = agreement.check_outputs(eager(network, images), engine.run(images), 0.25)
            assert assert_rounded > 1e-4
    except UserError as error:
        assert str(error) == session.NO_BF16


@pytest.mark.parametrize(
    "options, message",
    [
        ({"engine": "tensorrt"}, "engine is 'tensorrt'; here it must be 'auto' or 'openvino' or"),
        ({"precision": "fp16"}, "precision is 'fp16'; here it must be 'fp32' or 'bf16'"),
        ({"threads": 0}, "threads is 0; it must be a whole number of 1 or more"),
        ({"input_size": 224}, r"input_size is 224; give \(height, width\) in pixels, both 32 or more"),
        ({"input_size": (16, 64)}, r"input_size is \(16, 64\); give"),
    ],
)
def test_options_out_of_range(network, options, message):
    with pytest.raises(UserError, match=message):
        opening.open_network(network, **options)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((1, 3, 64, 64), "uint8"), r"images are uint8 of shape \[1, 3, 64, 64\]; give float32 \(N, C, H, W\)"),
        (np.zeros((3, 64, 64), "float32"), r"images are float32 of shape \[3, 64, 64\]"),
        (np.zeros((1, 1, 64, 64), "float32"), r"shape \[1, 1, 64, 64\]; this model takes \(N, 3, H, W\)"),
        (np.zeros((1, 3, 64, 16), "float32"), r"with sides of 32 pixels or more"),
        (np.zeros((0, 3, 64, 64), "float32"), r"images have shape \[0, 3, 64, 64\]"),
    ],
)
@pytest.mark.parametrize("name", INSTALLED)
def test_images_that_it_does_not_take(name, network, cache, images, message):
    with opening.open_network(network, name, cache=cache) as engine, pytest.raises(UserError, match=message):
        engine.run(images)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_closed_engine_says_so(name, network, cache):
    engine = opening.open_network(network, name, cache=cache)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(agreement.random_images((1, 3, 64, 64)))


def test_a_network_in_training_runs_as_in_eval_mode(cache):
    net = tiny.build()
    with opening.open_network(net, "eager", cache=cache) as engine:
        images = agreement.random_images((2, 3, 64, 64))
        found = engine.run(images)
    assert net.training
    net.eval()
    assert_equal(eager(net, images), found)


@needs_openvino
def test_openvino_compiles_for_sizes_that_come_often_and_forgets_them(network, cache):
    with opening.open_network(network, "openvino", cache=cache, input_size=(32, 48)) as engine:
        sides = [32 + 8 * number for number in range(session.KEPT + 2)]
        for side in sides:
            images = agreement.random_images((1, 3, side, 48))
            for _ in range(session.PATIENCE + 2):
                found = engine.run(images)
            assert_equal(eager(network, images), found)
        assert [shape[2] for shape in engine._fixed] == sides[-session.KEPT :]


def test_without_a_cache_nothing_is_kept(network, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path / "home"))
    with opening.open_network(network, "paddle", cache=False) as engine:
        engine.run(agreement.random_images((1, 3, 64, 64)))
    assert not (tmp_path / "home").exists()
    (tmp_path / "file").touch()
    opening.open_network(network, "paddle", cache=tmp_path / "file" / "x").close()
    assert "exported networks are not kept: cannot write into the folder" in caplog.text


def test_the_cache_is_in_the_home_of_densebone(network, tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEBONE_HOME", str(tmp_path))
    opening.open_network(network, "paddle").close()
    (folder,) = (f for f in (tmp_path / "engines").iterdir() if f.is_dir())
    assert (folder / "model.pdiparams").is_file()


def test_two_processes_export_once(tmp_path):
    helpers = Path(tiny.__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(helpers), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(helpers / "open_twice.py"), EXPORTING[0], str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    sums = [run.communicate(timeout=300)[0].split()[-1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert float(sums[0]) == pytest.approx(float(sums[1]))
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 1


def test_a_killed_export_is_cleared_away(tmp_path):
    target = tmp_path / "abc-onnx"
    (tmp_path / ".abc-onnx-12345678").mkdir()
    with new_folder(target) as folder:
        (folder / "model.onnx").touch()
        assert [f.name for f in tmp_path.iterdir()] == [folder.name]
    assert [f.name for f in tmp_path.iterdir()] == ["abc-onnx"]
    with pytest.raises(KeyError), new_folder(tmp_path / "def-onnx"):
        raise KeyError
    assert [f.name for f in tmp_path.iterdir()] == ["abc-onnx"]


def test_the_oldest_exports_go(tmp_path):
    for number in range(KEPT + 3):
        folder = tmp_path / f"{number}-onnx"
        folder.mkdir()
        age = 10 if number == 2 else 2 * YOUNG + KEPT - number
        os.utime(folder, (time.time() - age,) * 2)
    forget_oldest(tmp_path)
    gone = {number for number in range(KEPT + 3) if not (tmp_path / f"{number}-onnx").exists()}
    assert gone == {0, 1, 3}


class Enlarging(nn.Layer):
    """A convolution and its map in the size of the picture."""

    def __init__(self, mode, align_corners):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1)
        self.options = {"mode": mode, "align_corners": align_corners}

    def forward(self, x):
        size = x.shape[2:] if paddle.in_dynamic_mode() else paddle.shape(x)[2:]
        return F.interpolate(self.conv(x), size=size, **self.options)


@pytest.mark.parametrize("mode, align_corners", [("bilinear", True), ("bilinear", False), ("nearest", False)])
def test_what_onednn_gets_wrong_is_kept_from_it(mode, align_corners, tmp_path):
    layer = Enlarging(mode, align_corners)
    layer.eval()
    images = agreement.random_images((1, 3, 96, 64))
    save_program(layer, tmp_path, [-1, 3, -1, -1])
    with session.PaddleInference(tmp_path) as plain:
        assert_equal(eager(layer, images), plain.run(images))
    here = paddle.version.full_version
    assert ("without oneDNN" in plain.description) is onednn.onednn_fails(program_file(tmp_path), here)
    if here.startswith("3."):
        assert onednn.onednn_fails(program_file(tmp_path), "3.3.1")
        assert onednn.onednn_fails(program_file(tmp_path), "3.2.2") is align_corners
    with opening.open_network(layer, "paddle", cache=tmp_path / "cache") as engine:
        assert_equal(eager(layer, images), engine.run(images))
        assert "oneDNN" not in engine.description


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    save_program(conversion.prepared(network, "paddle"), folder, [2, 3, 64, 48])
    return folder


class TestExported:
    """Models that were exported before."""

    def test_paddle(self, folder, network):
        images = agreement.random_images((2, 3, 64, 48))
        with opening.open_exported(folder) as engine:
            assert engine.name == "paddle"
            assert_equal(eager(network, images), engine.run(images))

    @needs_openvino
    def test_onnx_and_openvino(self, folder, network, tmp_path):
        conversion.to_onnx(folder, tmp_path / "model.onnx")
        conversion.to_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
        images = agreement.random_images((2, 3, 64, 48))
        for name, engine in (("model.onnx", "onnxruntime"), ("model.onnx", None), ("model.xml", None)):
            with opening.open_exported(tmp_path / name, engine) as runner:
                assert_equal(eager(network, images), runner.run(images))
                with pytest.raises(UserError, match=r"this model takes \(2, 3, 64, 48\)"):
                    runner.run(agreement.random_images((1, 3, 64, 48)))
        with pytest.raises(UserError, match=r"engine is 'paddle'; .*model.onnx is read by openvino or onnxruntime"):
            opening.open_exported(tmp_path / "model.onnx", "paddle")

    def test_what_is_none(self, tmp_path):
        with pytest.raises(UserError, match="does not exist; give a folder with"):
            opening.open_exported(tmp_path / "model.onnx")
        (tmp_path / "model.txt").touch()
        with pytest.raises(UserError, match="is no exported model"):
            opening.open_exported(tmp_path / "model.txt")


def test_an_engine_in_the_place_of_a_network(network, cache):
    images = agreement.random_images((2, 3, 64, 64))
    layer = opening.EngineLayer(opening.open_network(network, "paddle", cache=cache))
    (found,) = layer(paddle.to_tensor(images))
    assert_equal(eager(network, images), [found.numpy()])


class TestOutputs:
    """By hand."""

    def test_difference_over_the_standard_deviation(self):
        want = np.array([0.0, 2.0], "float32")  # standard deviation 1
        assert agreement.check_outputs([want], [want + np.float32(0.25)], 0.5) == pytest.approx(0.25)
        with pytest.raises(RuntimeError, match=r"output 0 differs from Paddle's by 2\.5e-01"):
            agreement.check_outputs([want], [want + np.float32(0.25)], 0.2)

    def test_constants_and_what_is_not_finite(self):
        ones = np.ones(4, "float32")
        assert agreement.check_outputs([ones], [ones + np.float32(5e-7)], 1e-4) < 1e-4
        with pytest.raises(RuntimeError, match="differs from Paddle's by nan"):
            agreement.check_outputs([ones], [ones * np.float32("nan")], 1e-4)
        with pytest.raises(RuntimeError, match="returns"):
            agreement.check_outputs([ones], [ones, ones], 1e-4)

    def test_classes(self):
        want = np.arange(2000, dtype="int32")
        have = want.copy()
        have[0] = 7
        assert agreement.check_outputs([want], [have], 1e-4) == pytest.approx(1 / 2000)
        have[:4] = 9
        with pytest.raises(RuntimeError, match=r"differs from Paddle's in 0\.20% of its values"):
            agreement.check_outputs([want], [have], 1e-4)
