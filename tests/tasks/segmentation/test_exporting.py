"""Exported segmentation models: whole, for any size, and the trained model's classes."""

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
import tiny_condense
import tiny_training
import yaml
from paddle import nn
from paddleseg.cvlibs import manager
from paddleseg.deploy.infer import DeployConfig
from PIL import Image

from densebone.engines.opening import missing
from densebone.engines.program import run
from densebone.errors import UserError
from densebone.runtime import Model
from densebone.tasks.segmentation import exporting
from densebone.tasks.segmentation.exporting import compare, describe, export


@manager.MODELS.add_component
class TinyOnCondensed(nn.Layer):
    """A head on a CondenseNetV2 of toy size."""

    def __init__(self, num_classes):
        super().__init__()
        self.backbone = tiny_condense.build(out_indices=(2,))
        self.head = nn.Conv2D(self.backbone.channels[0], num_classes, 1)

    def forward(self, x):
        """(N, 3, H, W) -> [(N, num_classes, H, W)]."""
        return [nn.functional.interpolate(self.head(self.backbone(x)[0]), x.shape[2:], mode="bilinear")]


@pytest.fixture
def tiny(tmp_path):
    return make(tmp_path)


def make(folder, *overrides):
    paddle.seed(3)
    job = tiny_training.job(tiny_training.write(folder), *overrides)
    model = job.builder.model
    tiny_condense.randomise(model)
    paddle.save(model.state_dict(), str(folder / "mine.pdparams"))
    return job, folder / "mine.pdparams"


def expected_of(job, x):
    job.builder.model.eval()
    with paddle.no_grad():
        return job.builder.model(paddle.to_tensor(x))[0].numpy().argmax(1)


def test_the_model_takes_any_size_and_number_of_pictures(tiny, tmp_path):
    job, weights = tiny
    result = export(job, tmp_path / "out", weights)
    folder = tmp_path / "out" / "tiny"
    assert result == {"folder": str(folder), "pixels": 32 * 64, "agreement": 1.0, "formats": {}, "int8": None}
    random = np.random.default_rng(0)
    for shape in ((1, 3, 32, 64), (2, 3, 96, 160), (3, 3, 50, 35)):
        x = random.normal(size=shape).astype("float32")
        (found,) = run(folder, x)
        assert (found.dtype, found.shape) == (np.int32, (shape[0], *shape[2:]))
        expected = expected_of(job, x)
        assert len(np.unique(expected)) > 1
        assert (found == expected).mean() > 0.999
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny"]


def test_8_bits_are_written_beside(tiny, tmp_path):
    if reason := missing().get("onnxruntime"):
        pytest.skip(reason)
    job, weights = tiny
    pictures = next(tmp_path.rglob("*.png")).parent
    result = export(job, tmp_path / "out", weights, formats=("paddle", "onnx"), input_size=(32, 64), int8=pictures)
    (row,) = result["int8"]["files"].values()
    assert 0.8 < row["agreement"] <= 1 and row["error"] is None
    assert any("int8      model_int8.onnx" in line for line in describe(result))
    (exact,), (rounded,) = (
        Model(tmp_path / "out" / "tiny", "onnxruntime", precision=name)([next(pictures.iterdir())])
        for name in ("fp32", "int8")
    )
    assert (exact.labels == rounded.labels).mean() > 0.8


def test_deploy_yaml_is_what_paddlesegs_deployment_reads(tiny, tmp_path):
    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [
        {"type": "ResizeByLong", "long_size": 48},
        {"type": "Normalize", "mean": (0.1, 0.2, 0.3), "std": [0.4, 0.5, 0.6]},
    ]
    folder = export(job, tmp_path / "out", weights)["folder"]
    content = yaml.safe_load((tmp_path / "out" / "tiny" / "deploy.yaml").read_text())
    assert set(content) == {"Deploy"}
    assert content["Deploy"]["transforms"] == [
        {"type": "ResizeByLong", "long_size": 48},
        {"type": "Normalize", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    ]
    assert content["Deploy"]["input_shape"] == [-1, 3, -1, -1]
    assert (content["Deploy"]["output_op"], content["Deploy"]["output_dtype"]) == ("argmax", "int32")
    description = DeployConfig(f"{folder}/deploy.yaml")
    config = paddle.inference.Config(description.model, description.params)
    config.disable_gpu()
    config.disable_glog_info()
    assert paddle.inference.create_predictor(config).get_input_names() == ["x"]
    image, _ = job.builder.val_dataset.file_list[0]
    x = description.transforms({"img": image})["img"][None]
    assert x.shape == (1, 3, 24, 48)
    assert (run(folder, x)[0] == expected_of(job, x)).mean() > 0.999


@pytest.mark.parametrize("own", [[], [{"type": "Resize", "target_size": [96, 64]}]], ids=["any", "resized"])
def test_a_fixed_size(tiny, tmp_path, own):
    job, weights = tiny
    job.dic["val_dataset"]["transforms"] = [*own, {"type": "Normalize"}]
    result = export(job, tmp_path / "out", weights, input_size=(64, 96))
    assert result["pixels"] == 64 * 96
    content = yaml.safe_load((tmp_path / "out" / "tiny" / "deploy.yaml").read_text())["Deploy"]
    assert content["input_shape"] == [-1, 3, 64, 96]
    steps = [step["type"] for step in content["transforms"]]
    assert steps == (["Resize", "Normalize"] if own else ["Normalize", "Resize"])
    image, _ = job.builder.val_dataset.file_list[1]
    assert DeployConfig(f"{result['folder']}/deploy.yaml").transforms({"img": image})["img"].shape == (3, 64, 96)


@pytest.mark.parametrize("size", [(64,), (64, 31), (64.0, 64), "64"])
def test_sizes_that_are_none(tiny, tmp_path, size):
    with pytest.raises(UserError, match="give \\(height, width\\), both 32 pixels or more"):
        export(tiny[0], tmp_path / "out", tiny[1], input_size=size)


def test_a_condensenet_is_folded(tmp_path):
    job, weights = make(tmp_path, "model.type=TinyOnCondensed")
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype("float32")
    before = expected_of(job, x)
    result = export(job, tmp_path / "out", weights)
    assert job.builder.model.backbone.deployed == "paddle"
    assert result["agreement"] > 0.999
    assert len(np.unique(before)) > 1
    assert (run(result["folder"], x)[0] == before).mean() > 0.999


def test_the_check_picture(tiny, tmp_path, capsys):
    job, weights = tiny
    Image.new("RGB", (50, 40), "red").save(tmp_path / "mine.png")
    assert export(job, tmp_path / "out", weights, check=tmp_path / "mine.png")["pixels"] == 50 * 40
    with pytest.raises(UserError, match="does not exist"):
        export(job, tmp_path / "out", weights, check=tmp_path / "none.png")
    (tmp_path / "0.png").unlink()
    assert "--check" not in capsys.readouterr().err
    result = export(job, tmp_path / "out", weights)
    assert (result["pixels"], result["agreement"]) == (None, None)
    assert "give one with --check PICTURE" in capsys.readouterr().err


def test_without_the_data_set(tmp_path, capsys):
    job, weights = make(tmp_path, "val_dataset.dataset_root=/none")
    assert export(job, tmp_path / "out", weights)["pixels"] is None
    assert (tmp_path / "out" / "tiny" / "model.pdiparams").is_file()
    assert "no picture at hand" in capsys.readouterr().err


def test_a_wrong_model_is_not_kept(tiny, tmp_path, monkeypatch):
    job, weights = tiny
    export(job, tmp_path / "out", weights)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out" / "tiny").iterdir()}
    monkeypatch.setattr(exporting, "run", lambda *given: [(run(*given)[0] + 1) % 3])
    with pytest.raises(RuntimeError, match=r"class for 0\.00% of the pixels; more than 99\.9% are needed"):
        export(job, tmp_path / "out", weights)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "tiny").iterdir()} == before
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_training_results_are_not_replaced(tiny, tmp_path):
    job, weights = tiny
    job.folder.mkdir(parents=True)
    (job.folder / "best_model.pdparams").write_bytes(b"weeks of work")
    with pytest.raises(UserError, match=r"is no exported model; only an exported model is replaced"):
        export(job, job.save_dir, weights)
    assert (job.folder / "best_model.pdparams").read_bytes() == b"weeks of work"


def test_classes_are_compared_one_by_one():
    found = np.zeros((1, 100, 100), np.int32)
    assert compare(found, found) == 1
    other = found.copy()
    other[0, 0, :9] = 1
    assert compare(found, other) == pytest.approx(0.9991)
    other[0, 0, :10] = 1
    with pytest.raises(RuntimeError, match="more than"):
        compare(found, other)
    with pytest.raises(RuntimeError, match=r"returns \(1, 99, 100\)"):
        compare(found, found[:, 1:])
