"""Our networks as PaddleSeg's backbones and models."""

import numpy as np
import paddle
import pytest
import recipe
import tiny
from paddle.static import InputSpec

import densebone as db

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import paddleseg.models  # noqa: F401  (registers the heads)
from paddleseg.cvlibs import manager

from densebone.integrations import paddleseg as adapter

# head: its arguments besides num_classes and backbone
HEADS = {
    "FCN": {"backbone_indices": (-1,), "channels": 32},
    "DeepLabV3P": {"backbone_indices": (0, 3), "aspp_ratios": (1, 3, 6, 9)},
    "PPLiteSeg": {"backbone_indices": [1, 2, 3]},
    "UPerNet": {"backbone_indices": (0, 1, 2, 3), "channels": 32},
    "SegFormer": {"embedding_dim": 32},
    "PSPNet": {"backbone_indices": (2, 3), "pp_out_channels": 64},
    "FCHarDNet": {},
}
# tested in every run: each head with one backbone, each backbone with one head
SAMPLE = [*((head, "HarDNet39DS") for head in HEADS), *(("FCN", name) for name in adapter.BACKBONES)]
SAMPLE.remove(("FCN", "HarDNet39DS"))
# tracing these takes ten seconds
SLOW = ("DeepLabV3P", "PPLiteSeg", "UPerNet")
REST = [(head, name) for head in HEADS for name in adapter.BACKBONES if (head, name) not in SAMPLE]

TRACED_LATER = [*REST, *SAMPLE[len(HEADS) :], *((head, "HarDNet39DS") for head in SLOW)]


def ids(pairs):
    return ["-".join(pair) for pair in pairs]


def test_every_model_is_registered_and_none_hides_a_component_of_the_toolkit():
    names = {manager.BACKBONES[name].model for name in adapter.BACKBONES}
    detectors = db.list_models("centernet*")
    assert sorted([*names, "fchardnet70", *detectors]) == db.list_models()
    assert manager.MODELS["FCHarDNet"] is adapter.FCHarDNet
    for name in adapter.__all__:
        assert (name in manager.BACKBONES.components_dict) != (name in manager.MODELS.components_dict)
    assert manager.MODELS["HarDNet"].__module__.startswith("paddleseg.")


@pytest.mark.parametrize("name", adapter.BACKBONES)
def test_a_backbone_declares_what_comes_out(name):
    backbone = manager.BACKBONES[name](out_indices=[0, 1, 2, 3, 4], in_channels=4)
    backbone.eval()
    with paddle.no_grad():
        maps = backbone(tiny.images((1, 4, 64, 96)))
    assert [m.shape[1] for m in maps] == backbone.feat_channels
    assert backbone.strides == [2, 4, 8, 16, 32]
    assert manager.BACKBONES[name]().feat_channels == backbone.feat_channels[1:]


def trains(head, name):
    """Builds the model and trains it for one step."""
    paddle.seed(0)
    net = manager.MODELS[head](num_classes=5, backbone=manager.BACKBONES[name](), **HEADS[head])
    # a head that skips a map leaves the parameters behind it without a gradient
    outputs, gradients = tiny.step(net, tiny.images((2, 3, 64, 96)))
    assert outputs[0].shape == (2, 5, 64, 96)
    assert len(gradients) > 10 and all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert any(key.startswith("backbone.") for key in gradients)
    return net


def exports(net, folder):
    """Exports the model. The export agrees with it at another input size."""
    net.eval()
    x = tiny.images((1, 3, 96, 64))
    with paddle.no_grad():
        expected = net(x)[0].numpy()
    spec = [InputSpec([None, 3, None, None], "float32")]
    paddle.jit.save(paddle.jit.to_static(net, input_spec=spec, full_graph=True), str(folder / "net"))
    with paddle.no_grad():
        found = paddle.jit.load(str(folder / "net"))(x)
    found = (found[0] if isinstance(found, (list, tuple)) else found).numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("head, name", SAMPLE, ids=ids(SAMPLE))
def test_heads(head, name, tmp_path):
    net = trains(head, name)
    if name == "HarDNet39DS" and head not in SLOW:  # tracing takes long; the acceptance test traces the others
        exports(net, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("head, name", TRACED_LATER, ids=ids(TRACED_LATER))
def test_every_head_with_every_backbone(head, name, tmp_path):
    exports(trains(head, name), tmp_path)


def test_weights_of_bgr_images_are_turned_round_for_paddleseg(tmp_path):
    weights = recipe.weights("fchardnet70")
    plain = db.create_model("fchardnet70", pretrained=weights)
    net = adapter.FCHarDNet(19, pretrained=weights)
    assert (plain.load_report.channels, net.load_report.channels) == ("bgr", "rgb")
    plain.eval(), net.eval()
    x = tiny.images((1, 3, 64, 96))
    with paddle.no_grad():
        expected, (found,) = plain(x[:, [2, 1, 0]]).numpy(), net(x)
    assert np.abs(found.numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


def test_pretrained_encoder():
    weights = {k.removeprefix("base."): v for k, v in recipe.weights("fchardnet70").items() if k.startswith("base.")}
    net = adapter.FCHarDNet(4, pretrained_encoder=weights)
    assert np.array_equal(net.backbone.base[0].conv.weight.numpy(), weights["0.conv.weight"])


def test_weights_of_a_network_on_another_backbone(tmp_path):
    paddle.seed(1)
    net = adapter.FCHarDNet(3, backbone=adapter.PeleeNet())
    paddle.save(net.state_dict(), str(tmp_path / "mine.pdparams"))
    again = adapter.FCHarDNet(3, backbone=adapter.PeleeNet(), pretrained=str(tmp_path / "mine.pdparams"))
    assert tiny.changed(tiny.snapshot(net), again) == set()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stem_stride": 1}, "FCHarDNet was given a backbone and stem_stride, which belongs into the backbone's own"),
        ({"pretrained": True}, "FCHarDNet.pretrained is true, and no weights are known for it with another backbone"),
        ({"pretrained": "nowhere.pdparams"}, "weights file nowhere.pdparams does not exist"),
        ({"num_classes": 0}, "num_classes is 0; it must be a whole number of 1 or more"),
    ],
    ids=str,
)
def test_what_cannot_be_built(options, message):
    with pytest.raises(db.UserError, match=message):
        adapter.FCHarDNet(**{"num_classes": 3, **options}, backbone=adapter.PeleeNet())


def test_a_map_that_there_is_not():
    with pytest.raises(db.UserError, match=r"out_indices is \[1, 5\]; give a list of different numbers from 0..4"):
        adapter.HarDNet68(out_indices=[1, 5])
