"""A model repository of Triton's, read with Triton's own definition of config.pbtxt."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the models of these tests are written with it: pip install densebone[onnx]")

import numpy as np
import onnx
import onnxruntime
from exported import ONE, detector, mean_network, write_model
from google.protobuf import text_format

from densebone.deploy.triton import check_repository, write_repository
from densebone.errors import UserError

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 7: "TYPE_INT64"}


@pytest.fixture(scope="module")
def definition():
    """Triton's protobuf definition, without the client around it, which needs grpc."""
    spec = importlib.util.find_spec("tritonclient")
    if spec is None:
        pytest.skip("needs Triton's definition: pip install tritonclient[http]")
    file = Path(spec.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(definition, place):
    config = text_format.Parse((place / "config.pbtxt").read_text(), definition.ModelConfig())
    assert config.name == place.name and config.backend == "onnxruntime"
    return config


def declared(definition, config, tensors):
    """[(name, type, shape)] as Triton gives them to the file: with the side that counts pictures, and reshaped."""
    first = [-1] if config.max_batch_size else []
    return [
        (one.name, definition.DataType.Name(one.data_type),
         first + list(one.reshape.shape if one.HasField("reshape") else one.dims))
        for one in tensors
    ]  # fmt: skip


def in_file(values):
    sides = [
        (one, [side.dim_value if side.HasField("dim_value") else -1 for side in one.type.tensor_type.shape.dim])
        for one in values
    ]
    return [(one.name, TYPES[one.type.tensor_type.elem_type], shape) for one, shape in sides]


def check(definition, place):
    config, graph = read(definition, place), onnx.load(place / "1" / "model.onnx").graph
    assert declared(definition, config, config.input) == in_file(graph.input)
    assert declared(definition, config, config.output) == in_file(graph.output)
    assert all(one.dims for one in (*config.input, *config.output))  # Triton refuses a tensor without a side
    return config


def test_a_detector(definition, tmp_path):
    (place,) = write_repository(detector(tmp_path / "birds"), tmp_path / "models")
    config = check(definition, place)
    assert config.max_batch_size == 8 and config.HasField("dynamic_batching")
    assert [one.name for one in config.output] == ["boxes", "scores", "labels", "count"]
    assert config.output[3].reshape.shape == [] and list(config.output[3].dims) == [1]
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))
    assert names == ["1", "1/model.onnx", "config.pbtxt", "model_card.json"]


def test_a_classifier_has_labels(definition, tmp_path):
    folder = mean_network(tmp_path / 'c"1', "classification", ["a", "b\nc", "d"], ONE)
    (place,) = write_repository(folder, tmp_path / "models")
    config = check(definition, place)
    assert config.output[0].label_filename == "labels.txt"
    assert (place / "labels.txt").read_text() == "a\nb c\nd\n"


def test_files_that_take_one_batch_and_files_that_take_pictures(definition, tmp_path):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    card = {"task": None, "classes": None, "preprocessing": {"steps": None}}
    folder = write_model(
        tmp_path / "m", [node], {"x": [1, 3, 8, 8]}, {"y": (onnx.TensorProto.FLOAT, [1, 3, 8, 8])}, card
    )
    (folder / "picture.onnx").write_bytes((folder / "model.onnx").read_bytes())
    first, second = write_repository(folder, tmp_path / "models")
    for place in (first, second):
        config = check(definition, place)
        assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
        assert list(config.input[0].dims) == [1, 3, 8, 8]
    assert second.name == "m_picture"


def test_a_model_is_replaced_and_nothing_else_is(tmp_path):
    folder, models = detector(tmp_path / "birds"), tmp_path / "models"
    write_repository(folder, models)
    (models / "birds" / "old").touch()
    write_repository(folder, models)
    assert sorted(path.name for path in models.iterdir()) == ["birds"] and not (models / "birds" / "old").exists()
    (models / "birds" / "config.pbtxt").unlink()
    with pytest.raises(UserError, match="exists and is no model of Triton's; give another --triton DIR"):
        write_repository(folder, models)
    (folder / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"holds no model\.onnx; export with --format onnx"):
        write_repository(folder, tmp_path / "other")
    with pytest.raises(UserError, match="add onnx to --format"):
        check_repository(models, ["paddle"])


def test_export_writes_it(densebone, definition, tmp_path):
    done = densebone(
        "export", "peleenet", "--random", "--format", "onnx", "--input-size", "64", "64", "-O", "out", "--triton",
        "models", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "  triton    models/peleenet, for tritonserver --model-repository" in done.stdout
    config = check(definition, tmp_path / "models" / "peleenet")
    assert list(config.input[0].dims) == [3, 64, 64] and list(config.output[0].dims) == [1000]
    session = onnxruntime.InferenceSession(tmp_path / "models" / "peleenet" / "1" / "model.onnx")
    assert session.run(None, {config.input[0].name: np.zeros((2, 3, 64, 64), np.float32)})[0].shape == (2, 1000)
    card = json.loads((tmp_path / "models" / "peleenet" / "model_card.json").read_text())
    assert len((tmp_path / "models" / "peleenet" / "labels.txt").read_text().splitlines()) == len(card["classes"])
    refused = densebone("export", "peleenet", "--random", "--triton", "models", cwd=tmp_path)
    assert refused.returncode == 2 and "add onnx to --format" in refused.stderr
