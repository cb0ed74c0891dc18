"""Networks in 8 bits as an engine's precision: calibrated, kept, compared, and left where float32 is faster."""

import logging

import numpy as np
import pytest
import tiny
from PIL import Image

from densebone import UserError
from densebone.engines import calibration, exports, opening, quantization
from densebone.engines.calibration import Calibration
from densebone.pictures.preparing import Preprocessing

pytest.importorskip("onnxruntime")
RECIPE = Preprocessing(64, 64, "bilinear", "pil", "rgb", [0.5] * 3, [0.25] * 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixteen pictures of coarse colours, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for number in range(16):
        coarse = Image.fromarray(random.integers(0, 256, (6, 9, 3)).astype(np.uint8))
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def inputs(pictures):
    return Calibration(pictures, RECIPE)


@pytest.fixture(scope="module")
def quantizer(network, inputs, tmp_path_factory):
    """A quantizer of the tiny network, and its float32 file."""
    folder = tmp_path_factory.mktemp("export")
    from densebone.engines.conversion import prepared, to_onnx
    from densebone.engines.program import save_program

    save_program(prepared(network, "onnxruntime"), folder, [-1, 3, -1, -1])
    to_onnx(folder, folder / "model.onnx")
    calibrated, _, _ = inputs.read()
    return quantization.Quantizer(folder / "model.onnx", ({"x": image[None]} for image in calibrated)), folder


def test_activations_are_fused_with_the_convolutions_before_them(quantizer):
    """Between a convolution and its activation no tensor is rounded, or engines compute both in float32."""
    import onnx

    made, _ = quantizer
    graph = onnx.load_from_string(made.model(made.layers)).graph
    makers = {output: node for node in graph.node for output in node.output}
    activations = [node for node in graph.node if node.op_type in ("Relu", "Clip")]
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions and all(makers[node.input[0]].op_type != "Relu" for node in convolutions)
    assert {makers[node.input[0]].op_type for node in convolutions} == {"DequantizeLinear"}
    assert all(makers[node.input[0]].op_type == "Conv" for node in activations)


def test_what_layers_cost_and_which_stay(quantizer, inputs):
    made, folder = quantizer
    _, compared, _ = inputs.read()
    with opening.open_session("onnxruntime", folder / "model.onnx") as model:
        expected = [model.run(image[None]) for image in compared]
    costs = quantization.costs_of(made, compared[:2], expected[:2], None)
    assert sorted(costs) == sorted(made.layers) and list(costs.values()) == sorted(costs.values(), reverse=True)
    assert all(0 < cost < 0.5 for cost in costs.values())
    kept = quantization.choose_float32(made, costs, compared[:2], expected[:2], None)
    assert kept == list(costs)[: len(kept)]
    whole = quantization._error(made, made.layers, compared[:2], expected[:2], None)
    left = [layer for layer in made.layers if layer not in kept]
    assert not kept or quantization._error(made, left, compared[:2], expected[:2], None) < whole


def test_a_model_in_8_bits_is_refused(quantizer, tmp_path):
    made, _ = quantizer
    (tmp_path / "model.onnx").write_bytes(made.model(made.layers))
    with pytest.raises(UserError, match="is in 8 bits already; give the float32 model"):
        quantization.Quantizer(tmp_path / "model.onnx", [])


def test_an_8_bit_network_is_kept_for_its_pictures(network, inputs, tmp_path, monkeypatch):
    images = np.stack(inputs.read()[1][:2])
    with opening.open_network(network, "onnxruntime", "int8", cache=tmp_path, calibration=inputs) as engine:
        assert "int8" in engine.description and "keeps the best class on" in engine.description
        assert "of 8 pictures, error 0." in engine.description
        found = engine.run(images)
    with opening.open_network(network, "onnxruntime", cache=tmp_path) as engine:
        exact = engine.run(images)
    error = quantization.agreement([exact], [found])["error"]
    assert 1e-4 < error < 0.3
    monkeypatch.setattr(exports, "Quantizer", None)
    monkeypatch.setattr(exports, "agreement", None)
    with opening.open_network(network, "onnxruntime", "int8", cache=tmp_path, calibration=inputs) as engine:
        np.testing.assert_array_equal(engine.run(images)[0], found[0])


def test_auto_takes_float32_where_it_is_faster(network, inputs, cache, monkeypatch, caplog):
    monkeypatch.setattr(
        exports, "race", lambda engines, images: {e.label: 9.0 - 8 * (" " not in e.label) for e in engines}
    )
    for _ in range(2):  # the second time it is remembered
        with opening.open_network(network, "auto", "int8", cache=cache, calibration=inputs) as engine:
            assert engine.precision == "fp32"
    assert caplog.text.count("8 bits are no faster than float32 here") == 1


def test_what_8_bits_need(network, pictures, tmp_path, inputs):
    for given in ({"precision": "int8"}, {"calibration": inputs}):
        with pytest.raises(UserError, match="8 bits and a folder of pictures to calibrate on go together"):
            opening.open_network(network, "onnxruntime", **given)
    with pytest.raises(UserError, match="'paddle' computes in fp32 or bf16; give one of them"):
        opening.open_network(network, "paddle", "int8", calibration=inputs)
    with pytest.raises(UserError, match="no preprocessing is known for the 8-bit calibration pictures"):
        Calibration(pictures, None)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures in .* can be read; give a folder with pictures"):
        Calibration(tmp_path, RECIPE).read()


def test_the_key_follows_the_files_and_their_preparation(pictures, tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "a.png")
    first = Calibration(tmp_path, RECIPE).key
    assert Calibration(tmp_path, RECIPE).key == first
    assert Calibration(tmp_path, RECIPE, (96, 96)).key != first
    Image.new("RGB", (80, 80)).save(tmp_path / "b.png")
    assert Calibration(tmp_path, RECIPE).key != first


def test_few_and_strange_pictures_are_warned_of(pictures, tmp_path, caplog):
    Image.new("RGB", (80, 80)).save(tmp_path / "a.png")
    calibrated, compared, skipped = Calibration(tmp_path, RECIPE).read()
    assert (len(calibrated), len(compared), skipped) == (1, 1, 0)
    assert "8 bits are calibrated on 1 picture; give some dozens" in caplog.text
    network = tiny.build()
    network.train()
    images = Calibration(pictures, RECIPE).read()[0]
    for _ in range(60):  # the batch norms learn the statistics of these pictures
        network(tiny.paddle.to_tensor(np.stack(images)))
    caplog.clear()
    near = calibration.warn_of_unlike(network, images, pictures)
    assert near < calibration.UNLIKE and not caplog.text and network.training
    far = calibration.warn_of_unlike(network, [image * 3 + 4 for image in images], "strange/")
    assert far > calibration.UNLIKE > near
    assert "the feature maps of strange/ lie" in caplog.text


@pytest.mark.parametrize("flags", [("avx2",), ("avx2", "avx512_vnni")])
def test_a_processor_without_8_bits_is_named(flags, monkeypatch, caplog):
    monkeypatch.setattr(calibration, "cpu_flags", lambda: flags)
    with caplog.at_level(logging.WARNING):
        calibration.note_the_processor()
    assert ("this CPU has no instructions for 8-bit products" in caplog.text) == (len(flags) == 1)
