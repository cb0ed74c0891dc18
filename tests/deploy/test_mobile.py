"""Formats for telephones: a small network converted and run by the programs of others that are installed."""

import json

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

import onnx
from exported import ONE, detector, write_model
from onnx import helper

from densebone.deploy import mobile
from densebone.errors import UserError
from densebone.scripts import main


def network(folder, size=(16, 24), batch=1, factor=1.0):
    """A convolution, a branch that is joined again, and two outputs: a map and a vector."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
        helper.make_node("Conv", ["c", "v"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"], axis=1),
    ]
    weights = [
        ("w", factor * rng.standard_normal((8, 3, 3, 3), np.float32)),
        ("v", rng.standard_normal((5, 16, 1, 1), np.float32)),
    ]
    kind = onnx.TensorProto.FLOAT
    outputs = {"map": (kind, [batch, 5, *size]), "vector": (kind, [batch, 5])}
    card = {"task": "classification", "classes": None, "preprocessing": ONE}
    return write_model(folder, nodes, {"x": [batch, 3, *size]}, outputs, card, weights)


@pytest.mark.parametrize("name", [*mobile.FILES])
def test_what_is_converted_computes_the_same(name, tmp_path):
    try:
        mobile.check_mobile([name], ["onnx"])
    except UserError as error:
        pytest.skip(str(error))
    folder = network(tmp_path / "m", size=("h", "w"), batch="n")
    report = mobile.write_mobile(folder, [name], (32, 48))
    assert report[name]["difference"] < 1e-5
    card = json.loads((folder / "model_card.json").read_text())
    for end in mobile.FILES[name]:
        assert card["files"][f"model{end}"]["bytes"] == (folder / f"model{end}").stat().st_size > 0
    (line,) = mobile.describe_mobile(report)
    assert line.startswith(f"  {name}") and "differs from ONNX Runtime by" in line
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_wrong_conversion_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("MNN", reason="pip install densebone[mobile]")
    folder, other = network(tmp_path / "m"), network(tmp_path / "other", factor=1.01)
    convert = mobile._convert
    monkeypatch.setattr(
        mobile, "_convert", lambda name, _, work, shape: convert(name, other / "model.onnx", work, shape)
    )
    with pytest.raises(UserError, match=r"--mnn: the outputs differ from ONNX Runtime's by .*and 0.001 is allowed"):
        mobile.write_mobile(folder, ["mnn"])
    monkeypatch.setattr(mobile, "_convert", lambda name, _, work, shape: (work / "model.mnn").write_bytes(b"nothing"))
    with pytest.raises(UserError, match="--mnn: this network cannot be run"):
        mobile.write_mobile(folder, ["mnn"])
    assert not (folder / "model.mnn").exists()


def test_networks_that_are_not_for_telephones(tmp_path):
    with pytest.raises(UserError, match="has 2 inputs, or outputs that are no floating-point numbers"):
        mobile.write_mobile(detector(tmp_path / "det"), ["mnn"])
    with pytest.raises(UserError, match="takes pictures of any size, or several at once; give --input-size"):
        mobile.write_mobile(network(tmp_path / "any", size=("h", "w")), ["mnn"])
    with pytest.raises(UserError, match="or several at once"):
        mobile.write_mobile(network(tmp_path / "four", batch=4), ["mnn"])


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(UserError, match="--mnn is made from the ONNX file; add onnx to --format"):
        mobile.check_mobile(["mnn"], ["paddle"])
    monkeypatch.setattr(mobile.importlib.util, "find_spec", lambda name: None)
    for name in mobile.FILES:
        with pytest.raises(UserError, match=f"--{name}: its converter is not installed; pip install"):
            mobile.check_mobile([name], ["onnx"])


def test_the_command_refuses_other_tasks_before_it_exports(capsys):
    pytest.importorskip("MNN", reason="pip install densebone[mobile]")
    assert main(["export", "-c", "ssd_hardnet68_300_150e_coco", "--format", "onnx", "--mnn"]) == 2
    assert "--mnn is for a MODEL and for classification, and this is detection" in capsys.readouterr().err
