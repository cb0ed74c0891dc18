"""What a user of mmdetection and detectron2 expects of a backbone: frozen stages, norms in eval mode, map shapes."""

import numpy as np
import paddle
import pytest

import densebone as db
from densebone.backbones.freezing import FrozenBatchNorm2D

STATISTICS = ("_mean", "_variance")
#: what stands before the first dense block
STEMS = {
    "hardnet39ds": "base.2",
    "hardnet70": "base.3",
    "peleenet": "features.stemblock",
    "condensenetv2_a": "features.init_conv",
}


def snapshot(net):
    return {key: value.numpy().copy() for key, value in net.state_dict().items()}


def moved(net, x, steps=1):
    """Keys of the state dict that change when the net, in training mode, takes a step."""
    before = snapshot(net)
    net.train()
    parameters = [p for p in net.parameters() if not p.stop_gradient]
    optimizer = paddle.optimizer.SGD(1e-3, parameters=parameters) if parameters else None
    for _ in range(steps):
        out = net(x)
        outs = out if isinstance(out, list) else [out]
        loss = sum((o * paddle.sin(paddle.arange(o.size, dtype="float32")).reshape(o.shape)).sum() for o in outs)
        if optimizer:
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    return {key for key, value in net.state_dict().items() if not np.array_equal(before[key], value.numpy())}


def without_dropout(net):
    for layer in net.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = 0.0


def keys_of(net, layers):
    wanted = {id(p) for layer in layers for p in layer.state_dict().values()}
    return {key for key, value in net.state_dict().items() if id(value) in wanted}


def weights(net):
    """Keys of the convolutions' weights, which a step certainly moves."""
    return {k for k, v in net.state_dict().items() if v.ndim == 4 and not k.endswith("_mask")}


@pytest.mark.parametrize("name", STEMS)
def test_the_first_stage_number_is_exactly_the_stem(name, images):
    net = db.create_backbone(name, freeze_at=0)
    names = [key for key, p in net.named_parameters() if p.stop_gradient and not key.endswith(STATISTICS)]
    *parents, last = STEMS[name].split(".")
    prefix = ".".join(parents)
    if last.isdecimal():
        expected = [
            k for k, _ in net.named_parameters() if int(k.split(".")[1]) <= int(last) and not k.endswith(STATISTICS)
        ]
    else:
        expected = [
            k for k, _ in net.named_parameters() if k.startswith(f"{prefix}.{last}.") and not k.endswith(STATISTICS)
        ]
    assert names == expected != []


def test_frozen_stages(name, images):
    for freeze_at in (0, 2):
        net = db.create_backbone(name, freeze_at=freeze_at, out_indices=(1, 2, 3))
        frozen = keys_of(net, net.frozen_part(freeze_at))
        changed = moved(net, images())
        assert not changed & frozen
        assert weights(net) - frozen <= changed
        norms = {
            f"{n}.{leaf}"
            for n, layer in net.named_sublayers()
            if isinstance(layer, paddle.nn.BatchNorm2D)
            for leaf in STATISTICS
        }
        assert norms <= changed, "what is not frozen follows its batches"


def test_norms_in_eval_mode_go_on_learning(name, images):
    """mmdetection's norm_eval: statistics stay, scale and shift learn."""
    net = db.create_backbone(name, norm_eval=True)
    norms = [(n, layer) for n, layer in net.named_sublayers() if isinstance(layer, FrozenBatchNorm2D)]
    assert norms and not any(isinstance(layer, paddle.nn.BatchNorm2D) for layer in net.sublayers())
    assert all(not layer.weight.stop_gradient and not layer.bias.stop_gradient for _, layer in norms)
    plain = db.create_backbone(name)
    plain.set_state_dict(net.state_dict())
    plain.eval()
    net.train()
    without_dropout(net)
    for a, b in zip(net(images()), plain(images())):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5 * float(b.std()))
    changed = moved(net, images())
    assert not {key for key in changed if key.endswith(STATISTICS)}
    assert {f"{n}.bias" for n, _ in norms} & changed and weights(net) & changed


def test_the_settings_are_separate(name, images):
    net = db.create_backbone(name, freeze_at=1, norm_eval=True)
    frozen = keys_of(net, net.frozen_part(1))
    changed = moved(net, images())
    assert not changed & frozen and not {key for key in changed if key.endswith(STATISTICS)}
    learning = {k for k, p in net.named_parameters() if not p.stop_gradient}
    assert learning and not learning & frozen
    net = db.create_backbone(name, freeze_norm=True)
    norms = {
        f"{n}.{leaf}"
        for n, layer in net.named_sublayers()
        if isinstance(layer, FrozenBatchNorm2D)
        for leaf in ("weight", "bias")
    }
    changed = moved(net, images())
    assert not changed & norms and weights(net) <= changed


def test_frozen_and_back(name, images):
    """Batch norms too: after `unfreeze` a network trains like one that was never frozen, to the last bit."""

    def build():
        paddle.seed(3)
        return db.create_model(name, num_classes=3, drop_rate=0)

    plain, net = build(), build()
    db.freeze(net, 1)
    assert not moved(net, images()) & keys_of(net, net.frozen_part(1))
    net.set_state_dict(plain.state_dict())
    db.freeze(net)
    assert moved(net, images()) == set()
    db.unfreeze(net)
    assert not any(isinstance(layer, FrozenBatchNorm2D) for layer in net.sublayers())
    assert list(net.state_dict()) == list(plain.state_dict())
    for one in (net, plain):
        without_dropout(one)
    assert moved(net, images(), 2) == moved(plain, images(), 2)
    for key, value in plain.state_dict().items():
        assert np.array_equal(value.numpy(), net.state_dict()[key].numpy()), key


def test_freeze_takes_whole_networks_and_refuses_what_has_no_stages():
    net = db.create_model("fchardnet70")
    db.freeze(net, 0)
    assert all(p.stop_gradient for layer in net.backbone.stem() for p in layer.parameters())
    assert not net.classifier.weight.stop_gradient
    db.unfreeze(net)
    assert all(not p.stop_gradient for key, p in net.named_parameters() if not key.endswith(STATISTICS))
    for call in (
        lambda: db.freeze(paddle.nn.Linear(2, 2), 1),
        lambda: db.freeze(net, "stem"),
        lambda: db.freeze(net, -2),
    ):
        with pytest.raises(db.UserError, match=r"leave upto out|upto is"):
            call()


@pytest.mark.parametrize("norm", ["gn", lambda channels: paddle.nn.InstanceNorm2D(channels)], ids=["gn", "a function"])
def test_other_norms(name, norm, images):
    net = db.create_backbone(name, norm=norm)
    kinds = {
        type(layer)
        for layer in net.sublayers()
        if "Norm" in type(layer).__name__ and "Conv" not in type(layer).__name__
    }
    assert kinds == {paddle.nn.GroupNorm if norm == "gn" else paddle.nn.InstanceNorm2D}
    changed = moved(net, images(count=1))
    assert weights(net) <= changed
    net.eval()
    x = images(count=2)
    if norm == "gn":  # a picture's maps do not depend on the other pictures of its batch
        net.train()
        without_dropout(net)
        for both, one in zip(net(x), net(x[:1])):
            np.testing.assert_allclose(both[:1].numpy(), one.numpy(), rtol=1e-4, atol=1e-4 * float(one.std()))


def test_group_norm_is_refused_with_published_weights(name):
    if not db.model_info(name)["default_weights"]:
        pytest.skip("this model has no published weights")
    for given in (True, db.model_info(name)["default_weights"], "https://example.com/a.pth"):
        with pytest.raises(db.UserError, match=r"^norm is 'gn', and all published weights belong to batch norm; leave"):
            db.create_model(name, norm="gn", pretrained=given)
    own = db.create_model(name, norm="gn")
    again = db.create_model(name, norm="gn", pretrained=own.state_dict())
    assert not again.load_report.missing
    with pytest.raises(db.UserError, match="weights do not fit"):
        db.create_model(name, norm="gn", pretrained=db.create_model(name).state_dict())


def test_output_shape(name, images):
    """detectron2: names of maps -> channels and stride."""
    net = db.create_backbone(name)
    shapes = net.output_shape()
    assert list(shapes) == [f"stride{s}" for s in net.strides]
    for map_, shape in zip(net(images()), shapes.values()):
        assert map_.shape[1] == shape.channels and 64 // map_.shape[2] == shape.stride
