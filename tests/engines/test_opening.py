"""Every engine computes what Paddle computes, for any number and size of images. "auto" takes the fastest."""

import logging
import time

import paddle
import paddle.nn.functional as F
import pytest
import tiny
import tiny_condense
from on_engines import INSTALLED, assert_equal, eager, needs_onnx, needs_openvino
from paddle import nn

from densebone.engines import agreement, conversion, exports, opening, session
from densebone.engines.program import save_program
from densebone.errors import UserError
from densebone.system import packages


def test_paddle_is_always_there():
    assert [name for name in opening.ENGINES if name in INSTALLED] == INSTALLED
    assert INSTALLED[-2:] == ["paddle", "eager"]
    assert {*INSTALLED, *opening.missing()} == set(opening.ENGINES)


def test_what_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
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


@needs_openvino
def test_auto_tries_once_and_remembers(network, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "densebone")
    with opening.open_network(network, cache=tmp_path, input_size=(64, 64)) as engine:
        chosen = engine.name
    assert chosen in ("openvino", "onnxruntime")
    assert "trial at 64 x 64: openvino" in caplog.text and "engine: " in caplog.text
    monkeypatch.setattr(exports, "race", None)
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

    times = exports.race([Sleeper("slow", 0.02), Sleeper("fast", 0.001)], agreement.random_images((1, 3, 8, 8)))
    assert times["slow"] >= 20 > times["fast"] >= 1


class Shuffling(nn.Layer):
    """A layer that paddle2onnx cannot convert: it ends its process at channel_shuffle."""

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
    with pytest.raises(UserError, match=r"'onnxruntime' computes in fp32 or int8;|not installed|needs Paddle"):
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


def test_a_network_in_training_runs_as_in_eval_mode(cache):
    net = tiny.build()
    with opening.open_network(net, "eager", cache=cache) as engine:
        images = agreement.random_images((2, 3, 64, 64))
        found = engine.run(images)
    assert net.training
    net.eval()
    assert_equal(eager(net, images), found)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    save_program(conversion.prepared(network, "paddle"), folder, [2, 3, 64, 48])
    return folder


class TestExported:
    """`open_exported`."""

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
