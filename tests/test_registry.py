"""Names, options and inputs: what is accepted, and one clear line for what is not."""

import subprocess
import sys

import paddle
import pytest
import tiny
import write_facts

import densebone as db
from densebone import registry

HARDNETS = ["hardnet39ds", "hardnet68", "hardnet68ds", "hardnet70", "hardnet85"]


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "tiny", registry.Row("backbones.hardnet", "HarDNet", tiny.TINY))


def test_list_models_takes_a_shell_pattern():
    assert db.list_models("hardnet??*") == HARDNETS
    assert db.list_models("hardnet*ds") == ["hardnet39ds", "hardnet68ds"]
    assert db.list_models("nothing*") == []
    assert db.list_models() == sorted(registry.MODELS)


@pytest.mark.parametrize("create", [db.create_model, db.create_backbone])
@pytest.mark.parametrize("name", ["hardnet67", "HarDNet-68", "Hardnet68"])
def test_an_unknown_name_lists_the_near_ones(create, name):
    with pytest.raises(db.UserError, match=f"there is no model '{name}'; the nearest names are .*hardnet68") as error:
        create(name)
    assert "tiny" not in str(error.value)


def test_a_name_like_no_other_lists_all():
    with pytest.raises(db.UserError, match="known names are " + ", ".join(sorted(registry.MODELS))):
        db.create_model("zzz")


@pytest.mark.parametrize(
    "indices",
    [(5,), (-6,), (-1, 2), (3, 2), (2, 2), (4, -1), (), ("1",), (1.0,), (True,), 3, "123", None],
    ids=str,
)
def test_out_indices_must_be_ascending_stages(indices):
    with pytest.raises(db.UserError, match=r"out_indices is .*; give a list of different numbers from 0\.\.4"):
        db.create_backbone("tiny", out_indices=indices)


@pytest.mark.parametrize("value", [0, -3, 1.5, "3", True])
def test_channels_must_be_whole_and_positive(value):
    with pytest.raises(db.UserError, match=f"in_channels is {value!r}; it must be a whole number of 1 or more"):
        db.create_model("tiny", in_channels=value)


@pytest.mark.parametrize("value", [-3, 1.5, "3", True])
def test_classes_must_be_whole(value):
    with pytest.raises(db.UserError, match=f"num_classes is {value!r}; it must be a whole number, or 0 for no last"):
        db.create_model("tiny", num_classes=value)


def test_in_channels_of_a_backbone_is_checked_too():
    with pytest.raises(db.UserError, match="in_channels is 0"):
        db.create_backbone("tiny", in_channels=0)


@pytest.mark.parametrize("value", [-2, 5, 1.0, "0", True, None])
@pytest.mark.parametrize("create", [db.create_model, db.create_backbone])
def test_freeze_at_must_be_a_stage(create, value):
    with pytest.raises(db.UserError, match=rf"freeze_at is {value!r}; it must be -1 \(freeze nothing\), 0 \("):
        create("tiny", freeze_at=value)


@pytest.mark.parametrize(
    "create, option",
    [
        (db.create_model, "dropuot"),
        (db.create_model, "variant"),
        (db.create_backbone, "num_classes"),
        (db.create_backbone, "self"),
    ],
)
def test_an_unknown_option_lists_the_known_ones(create, option):
    known = "freeze_at, freeze_norm, recompute, norm_eval, global_pool, drop_rate, output_stride, norm, include_image"
    known += ", block_activation, stride_padding, stem_stride, block_maps, activation, ceil_first_pool"
    with pytest.raises(db.UserError, match=f"no option {option}; the options here are {known}$"):
        create("tiny", **{option: 1})


@pytest.mark.parametrize("create", [db.create_model, db.create_backbone])
def test_weights_are_loaded_strictly(create, tmp_path):
    with pytest.raises(db.UserError, match=r"nowhere\.safetensors does not exist"):
        create("tiny", pretrained=tmp_path / "nowhere.safetensors")
    with pytest.raises(db.UserError, match=r"weights do not fit: .* missing"):
        create("tiny", pretrained={"base.0.norm._mean": paddle.zeros([4])})
    weights = tiny.snapshot(create("tiny"))
    again = create("tiny", pretrained=weights)
    assert tiny.changed(weights, again) == set()


@pytest.mark.parametrize("create", [db.create_model, db.create_backbone])
@pytest.mark.parametrize(
    "shape, message",
    [
        ((1, 4, 64, 64), "input has 4 channels .* built for in_channels=3"),
        ((1, 3, 31, 64), "input is 31 x 64 pixels; both sides must be 32 or more"),
        ((1, 3, 64, 16), "input is 64 x 16 pixels"),
        ((3, 64, 64), r"input has shape \[3, 64, 64\]; expected \(N, 3, H, W\)"),
    ],
)
def test_images_of_another_shape_are_refused(create, shape, message):
    with pytest.raises(db.UserError, match=message):
        create("tiny")(tiny.images(shape))


def test_the_smallest_image_runs():
    net = db.create_backbone("tiny")
    assert [list(m.shape[2:]) for m in net(tiny.images((1, 3, 32, 32)))] == [[8, 8], [4, 4], [2, 2], [1, 1]]


def test_import_is_light_and_silent():
    heavy = ("ppdet", "paddleseg", "cv2", "matplotlib", "pycocotools", "onnxruntime", "openvino")
    code = (
        "import sys, paddle; before = set(sys.modules); import densebone; "  # paddle imports cv2 where it can
        f"print([m for m in {heavy!r} if m in set(sys.modules) - before])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


def test_the_recorded_facts_are_those_of_the_networks():
    """To record them anew: python tests/helpers/write_facts.py"""
    names = [name for name in registry.MODELS if name != "tiny"]
    assert {name: registry.model_facts(name) for name in names} == {name: write_facts.measure(name) for name in names}
