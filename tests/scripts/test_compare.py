"""`densebone compare` as a user starts it, on networks of ours and a file."""

import json

import numpy as np
import pytest

from densebone.profiling import costs
from densebone.scripts import main

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install densebone[onnx]")
pytest.importorskip("paddle2onnx", reason="needs paddle2onnx: pip install densebone[onnx]")


def small_file(path):
    """Writes an ONNX file with one convolution of 4 channels."""
    make, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), "float32"), "w")
    given = make.make_tensor_value_info("x", floats, ["N", 3, "H", "W"])
    found = make.make_tensor_value_info("y", floats, ["N", 4, "h", "w"])
    graph = make.make_graph([make.make_node("Conv", ["x", "w"], ["y"])], "small", [given], [found], [weight])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_ours_and_a_file_side_by_side(tmp_path, densebone):
    kept, table, plot = tmp_path / "onnx", tmp_path / "table.json", tmp_path / "front.png"
    done = densebone(
        "compare", "condensenetv2_a", f"onnx:{small_file(tmp_path / 'small.onnx')}", "--size", 64, 64, "--rounds", 1,
        "--threads", 1, "--engine", "onnxruntime", "--onnx", kept, "--json", table, "--plot", plot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, file = json.loads(table.read_text())["rows"]
    profile = costs.profile("condensenetv2_a", (64, 64))
    assert (ours["parameters"], ours["macs"], ours["cio"]) == (profile.parameters, profile.macs, profile.cio)
    assert ours["checked"]
    assert (ours["accuracy"]["value"], ours["accuracy"]["metric"]) == (64.38, "top-1")
    assert (file["parameters"], file["macs"], file["cio"]) == (108, 108 * 62 * 62, 3 * 64 * 64 + 4 * 62 * 62)
    assert file["accuracy"] is None
    assert all(0 < row["ms"]["onnxruntime"]["least"] <= row["ms"]["onnxruntime"]["median"] for row in (ours, file))
    assert ours["ms"]["onnxruntime"]["ratio"] == 1
    assert "condensenetv2_a" in done.stdout
    assert f"written: {plot}" in done.stdout
    assert sorted(path.name for path in kept.iterdir()) == ["condensenetv2_a.onnx", "small.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give networks to compare"),
        (["hardnet67"], "there is no model 'hardnet67'"),
        (["hardnet39ds", "--size", "0", "64"], "input_size is (0, 64)"),
        (["hardnet39ds", "--batch", "0"], "batch is 0; give a whole number of 1 or more"),
        (["hardnet39ds", "--threads", "0"], "threads is 0"),
        (["hardnet39ds", "--rounds", "-1"], "rounds is -1"),
        (["hardnet39ds", "--engine", "tensorrt"], "engine 'tensorrt' runs no ONNX file; give openvino or onnxruntime"),
        (["hardnet39ds", "--plot", "a.pdf"], "give a name that ends in .png or .svg"),
        (["hardnet39ds", "--rounds", "0", "--plot", "a.png"], "--rounds 0 measures none; leave one out"),
        (["onnx:no.onnx"], "there is no file 'no.onnx'"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(arguments, message, capsys):
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_file_that_is_no_onnx(tmp_path, densebone):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no onnx")
    done = densebone("compare", f"onnx:{path}", "--csv", tmp_path / "a.csv")
    assert done.returncode == 2
    assert "cannot be read as ONNX" in done.stderr
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("option", ["--onnx", "--csv"])
def test_a_place_that_cannot_be_written_is_named_before_the_work(option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["compare", "hardnet39ds", option, str(tmp_path / "file" / "a.csv")]) == 2
    error = capsys.readouterr().err
    assert "file" in error
    assert error.count("\n") == 1
