"""The components as PaddleDetection sees them."""

import numpy as np
import paddle
import pytest

import densebone as db

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.core.workspace import create, get_registered_modules

from densebone.integrations import paddledet
from densebone.integrations.paddledet import HarDNet39DS, SSDFeatures

CLASSES = {name: getattr(paddledet, name) for name in paddledet.__all__ if name != "SSDFeatures"}


def test_every_model_is_registered_and_none_hides_a_component_of_the_toolkit():
    assert sorted(cls.model for cls in CLASSES.values()) == db.list_models()
    modules = get_registered_modules()
    for name in paddledet.__all__:
        assert modules[name].pymodule is paddledet
    assert modules["HarDNet"].pymodule.__name__.startswith("ppdet")


@pytest.mark.parametrize("name", CLASSES)
def test_out_shape_is_what_comes_out(name):
    backbone = create(name)
    backbone.eval()
    with paddle.no_grad():
        maps = backbone({"image": paddle.rand([1, 3, 64, 96])})
    assert [spec.channels for spec in backbone.out_shape] == [m.shape[1] for m in maps]
    assert [spec.stride for spec in backbone.out_shape] == [4, 8, 16, 32]
    assert [m.shape[2:] for m in maps] == [[64 // s, 96 // s] for s in (4, 8, 16, 32)]


def test_state_dict_keys_are_those_of_the_plain_backbone():
    plain = db.create_backbone("hardnet39ds", out_indices=(2, 3))
    assert list(HarDNet39DS(return_idx=[1, 2]).state_dict()) == list(plain.state_dict())


def test_the_toolkits_own_loader_takes_a_classifiers_file(tmp_path):
    from ppdet.utils.checkpoint import load_pretrain_weight

    classifier, backbone = db.create_model("hardnet39ds"), HarDNet39DS()
    paddle.save(classifier.state_dict(), str(tmp_path / "c.pdparams"))
    load_pretrain_weight(backbone, str(tmp_path / "c.pdparams"))
    expected = classifier.state_dict()
    assert all(np.array_equal(v.numpy(), expected[k].numpy()) for k, v in backbone.state_dict().items())


def test_pretrained_is_loaded_strictly(tmp_path):
    classifier = db.create_model("hardnet39ds")
    paddle.save(classifier.state_dict(), str(tmp_path / "c.pdparams"))
    backbone = HarDNet39DS(pretrained=str(tmp_path / "c.pdparams"), return_idx=[1])
    expected = classifier.state_dict()
    assert all(np.array_equal(v.numpy(), expected[k].numpy()) for k, v in backbone.state_dict().items())
    with pytest.raises(db.UserError, match="weights do not fit"):
        paddledet.HarDNet68DS(pretrained=str(tmp_path / "c.pdparams"))


def test_freeze_at_counts_as_in_the_toolkits_resnet():
    frozen = HarDNet39DS(freeze_at=0)
    for i, layer in enumerate(frozen.base):
        parameters = layer.parameters()
        expected = i < len(frozen.stage(0)) + len(frozen.stage(1))
        assert all(p.stop_gradient for p in parameters) == expected or not parameters


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"return_idx": [0, 4]}, r"HarDNet39DS.return_idx is \[0, 4\]"),
        ({"return_idx": [1, 0]}, "ascending order"),
        ({"norm_type": "gn"}, "norm_type is 'gn'; give one of bn, sync_bn"),
        ({"freeze_at": 4}, "freeze_at is 4"),
        ({"in_channels": 0}, "in_channels is 0"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(db.UserError, match=words):
        HarDNet39DS(**options)


def test_ssd_features_also_take_a_backbone_of_the_toolkit():
    resnet = create("ResNet")
    features = SSDFeatures(resnet)
    features.eval()
    with paddle.no_grad():
        maps = features({"image": paddle.rand([1, 3, 96, 96])})
    assert [m.shape[1] for m in maps] == [spec.channels for spec in features.out_shape]
    assert len(maps) == len(resnet.out_shape) + 3
