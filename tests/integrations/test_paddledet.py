"""Our components in PaddleDetection: registration, keys, outputs, weights."""

import numpy as np
import paddle
import pytest

import densebone as db

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.core.workspace import create, get_registered_modules

from densebone.integrations import paddledet
from densebone.integrations.paddledet import HarDNet39DS, SSDFeatures

HARDNET_KEYS = {"block_activation", "stride_padding", "activation", "ceil_first_pool"}
CLASSES = {name: getattr(paddledet, name) for name in paddledet.BACKBONES}


def test_every_model_is_registered_and_none_hides_a_component_of_the_toolkit():
    elsewhere = ["fchardnet70", "centernet_hardnet85", paddledet.CenterNetHarDNet85.model]
    assert sorted([*(cls.model for cls in CLASSES.values()), *elsewhere]) == db.list_models()
    modules = get_registered_modules()
    for name in paddledet.__all__:
        assert modules[name].pymodule.__name__.startswith(paddledet.__name__)
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


def test_keys_of_a_configuration():
    modules = get_registered_modules()
    shared = {"return_idx", "in_channels", "pretrained", "freeze_at", "freeze_norm", "norm_type", "recompute"}
    shared |= {"norm_eval", "output_stride"}
    own = {
        "PeleeNet": {"ceil_mode", "norm", "norm_epsilon"},
        **{n: HARDNET_KEYS for n in CLASSES if n[0] == "H"},
        **{f"CondenseNetV2{v}": {"form", "out_norm"} for v in "ABC"},
    }
    for name in CLASSES:
        assert set(modules[name].schema) == shared | own.get(name, set())


def test_type_hints_do_not_count_as_mismatches():
    modules = get_registered_modules()
    assert {name: modules[name].find_mismatch_keys() for name in paddledet.__all__} == {
        name: [] for name in paddledet.__all__
    }


@pytest.mark.parametrize("name", CLASSES)
def test_maps_are_those_of_the_plain_backbone(name):
    adapter = create(name)
    options = {"out_norm": True} if name.startswith("Condense") else {}
    plain = db.create_backbone(adapter.model, **options)
    assert list(plain.state_dict()) == list(adapter.state_dict())
    db.load_weights(plain, adapter.state_dict())
    for net in (adapter, plain):
        net.eval()
    x = paddle.rand([1, 3, 64, 64])
    with paddle.no_grad():
        for a, b in zip(adapter({"image": x}), plain(x), strict=True):
            assert np.array_equal(a.numpy(), b.numpy())


def test_condensenetv2_normalises_its_maps_unless_told_otherwise():
    backbone = paddledet.CondenseNetV2A()
    backbone.eval()
    with paddle.no_grad():
        assert all(m.min() >= 0 for m in backbone({"image": paddle.rand([1, 3, 64, 64])}))
    assert not any("out_norms" in key for key in paddledet.CondenseNetV2A(out_norm=False).state_dict())


def test_a_classifiers_file_leaves_the_norms_of_the_maps_as_they_start(tmp_path):
    classifier = db.create_model("condensenetv2_a")
    paddle.save(classifier.state_dict(), str(tmp_path / "c.pdparams"))
    backbone = paddledet.CondenseNetV2A(pretrained=str(tmp_path / "c.pdparams"))
    state, expected = backbone.state_dict(), classifier.state_dict()
    assert all(np.array_equal(v.numpy(), expected[k].numpy()) for k, v in state.items() if k in expected)
    assert {k.split(".")[1] for k in state if k not in expected} == {"1", "2", "3", "4"}


@pytest.mark.parametrize("form", ["condensed", "learned"])
def test_a_moving_average_of_the_weights_leaves_channel_numbers_alone(form):
    from ppdet.optimizer.ema import ModelEMA

    net = paddledet.CondenseNetV2A(form=form)
    if form == "learned":
        net.set_progress(0.2)
    before = {key: value.numpy().copy() for key, value in net.state_dict().items()}
    average = ModelEMA(net)
    for _ in range(5):
        average.update()
    net.set_dict(average.apply())
    for key, value in net.state_dict().items():
        if key.endswith(paddledet.CHANNEL_TENSORS):
            assert np.array_equal(value.numpy(), before[key]), key
        else:
            np.testing.assert_allclose(value.numpy(), before[key], rtol=2e-2, err_msg=key)  # its own bias correction


def test_deployed_backbone_of_a_detector():
    from densebone.backbones.base import deploy_networks

    features = SSDFeatures(paddledet.CondenseNetV2A(return_idx=[1, 2, 3]))
    features.eval()
    x = paddle.rand([1, 3, 300, 300])
    with paddle.no_grad():
        expected = features({"image": x})
        deploy_networks(features, "paddle")
        for a, b in zip(features({"image": x}), expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    assert isinstance(features.backbone, paddledet.CondenseNetV2A)
    assert not any(key.endswith("sfr.index") for key in features.state_dict())


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


def test_pretrain_weights_that_would_make_another_network_are_refused():
    from densebone.tasks.detection.training import check_pretrained

    key = "features.denseblock_1.denselayer_1.sfr.index"
    for value in (np.eye(16), ("a_0", np.eye(16))):
        with pytest.raises(db.UserError, match=rf"^pretrain_weights w.pdparams has {key} as a matrix"):
            check_pretrained({"fc.bias": np.ones(3), key: value}, "w.pdparams")
    check_pretrained({"fc.weight": np.eye(3), key: np.arange(16), "StructuredToParameterName@@": {}}, "w.pdparams")


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
        ({"norm_type": "ln"}, "norm_type is 'ln'; give one of bn, sync_bn, gn"),
        ({"freeze_at": 4}, "freeze_at is 4"),
        ({"in_channels": 0}, "in_channels is 0"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(db.UserError, match=words):
        HarDNet39DS(**options)


def test_wrong_form():
    with pytest.raises(db.UserError, match="form is 'dense'; give condensed or learned"):
        paddledet.CondenseNetV2A(form="dense")


def test_ssd_features_also_take_a_backbone_of_the_toolkit():
    resnet = create("ResNet")
    features = SSDFeatures(resnet)
    features.eval()
    with paddle.no_grad():
        maps = features({"image": paddle.rand([1, 3, 300, 300])})
    assert [m.shape[1] for m in maps] == [spec.channels for spec in features.out_shape]
    assert len(maps) == len(resnet.out_shape) + 3
