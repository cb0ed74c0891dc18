"""CenterNet-HarDNet-85 computes the same as the authors' network, and weights of similar networks are refused."""

import json

import numpy as np
import paddle
import pytest
import recipe
import tiny

import densebone as db
from densebone.backbones.freezing import FrozenBatchNorm2D
from densebone.necks.centernet import PRIOR_BIAS, CenterNetHead, CenterNetNeck
from densebone.weights.layouts import recognise, to_layout

NAME = "centernet_hardnet85"
BASE = f"{NAME}_base"
ENCODER = "CenterNet-HarDNet's encoder"
OURS = {
    "base": "backbone.base",
    "last_proj": "neck.project",
    "last_pool": "neck.pool",
    "last_blk": "neck.bottom",
    "conv1x1_up": "neck.reduce",
    "denseBlocksUp": "neck.blocks",
    "hm": "head.heatmap",
    "wh": "head.boxes",
}


def our_name(official):
    first, dot, rest = official.partition(".")
    return OURS[first] + dot + rest


@pytest.fixture(scope="module")
def weights():
    """Random weights under the authors' state-dict keys."""
    drawn = recipe.weights(NAME)
    assert recipe.digest(drawn) == recipe.description(NAME)["weights_sha256"][recipe.SALT]
    return drawn


@pytest.fixture(scope="module")
def official(weights):
    net = db.create_model(NAME, pretrained=weights)
    net.eval()
    return net


@pytest.fixture(scope="module")
def encoder(weights):
    """The encoder's weights as the authors publish them: keys without base."""
    return {key.removeprefix("base."): value for key, value in weights.items() if key.startswith("base.")}


def run(net, x):
    with paddle.no_grad():
        return [out.numpy() for out in net(x)]


def test_heads_and_every_map(official):
    about, arrays = recipe.outputs(NAME, "256x256")
    maps = {}
    hooks = [
        layer.register_forward_post_hook(
            lambda _, __, out, name=name: None if isinstance(out, (list, tuple)) else maps.update({name: out.numpy()})
        )
        for name, layer in official.named_sublayers()
    ]
    heatmap, boxes = run(official, paddle.to_tensor(recipe.image(about["input_shape"])))
    for hook in hooks:
        hook.remove()
    for value, name, stored, step in ((heatmap, "hm", "hm_s8", 8), (boxes, "wh", "wh_s4", 4)):
        expected = about["output"][name]
        assert list(value.shape) == expected["shape"]
        difference = np.abs(value[:, :, ::step, ::step] - arrays[stored]).max() / expected["std"]
        print(f"{name}: {difference:.1e}")
        assert difference <= recipe.TOLERANCE
    for feature in about["features"]:
        name = feature["name"]
        value = maps[our_name(name)]
        assert list(value.shape) == feature["shape"], name
        difference = value.ravel()[arrays[f"idx:{name}"]] - arrays[f"val:{name}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], name


def test_odd_sides_are_rounded_as_the_authors_network_rounds_them(official):
    stored = np.load(recipe.DATA / "centernet" / "odd_75x110.npz")  # the output of the authors' code for these weights
    heatmap, boxes = run(official, paddle.to_tensor(recipe.image((1, 3, 75, 110))))
    assert heatmap.shape == (1, 80, 19, 28) and boxes.shape == (1, 4, 19, 28)
    for value, expected, std in ((heatmap[:, ::4], "hm", 0), (boxes, "wh", 1)):
        difference = np.abs(value[:, :, ::3, ::3] - stored[expected]).max()
        assert difference <= recipe.TOLERANCE * stored["std"][std]


def test_keys_and_parameters(official):
    names = {"running_mean": "_mean", "running_var": "_variance"}
    expected = {}
    for key, shape, _ in recipe.description(NAME)["state_dict"]:
        prefix, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            expected[our_name(f"{prefix}.{names.get(leaf, leaf)}")] = shape
    assert {key: list(value.shape) for key, value in official.state_dict().items()} == expected
    assert sum(p.size for p in official.parameters() if not p.stop_gradient) == 37_274_988
    assert (official.model, official.backbone.model) == (NAME, BASE)


def test_cost():
    from cost import count

    macs, cio = count(db.create_model(NAME), paddle.zeros([1, 3, 128, 128]))  # a sixteenth of those at 512
    published = recipe.description(NAME)["cost"][0]
    assert published["input"] == [1, 3, 512, 512]
    assert (16 * macs, 16 * cio) == (published["macs"], published["cio"])


def test_a_step_of_training_reaches_every_parameter():
    paddle.seed(0)
    net = db.create_model(NAME, num_classes=5)
    assert np.allclose(net.head.heatmap[2].bias.numpy(), PRIOR_BIAS)
    net.train()
    heatmap, boxes = net(tiny.images((2, 3, 64, 96)))
    assert heatmap.shape == [2, 5, 16, 24] and boxes.shape == [2, 4, 16, 24]
    ((heatmap**2).mean() + (boxes**2).mean() + boxes.mean()).backward()
    for key, parameter in net.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None and np.isfinite(parameter.grad.numpy()).all(), key


def test_recompute_freezing_and_deploying(official):
    x = tiny.images((2, 3, 64, 64))
    again = db.create_model(NAME, recompute=True, freeze_at=3, freeze_norm=True)
    again.set_state_dict(official.state_dict())
    again.train()  # its batch norms use their stored statistics all the same
    outputs = again(x)
    for value, expected in zip(outputs, run(official, x), strict=True):
        assert np.abs(value.numpy() - expected).max() <= 1e-4 * np.abs(expected).max()
    sum(value.mean() for value in outputs).backward()
    learnt = {key for key, p in again.named_parameters() if p.grad is not None}
    assert learnt and not any(key.startswith("backbone.") for key in learnt)
    assert any(key.startswith("neck.bottom.") for key in learnt)
    assert not any(isinstance(layer, paddle.nn.BatchNorm2D) for layer in again.sublayers())
    assert any(isinstance(layer, FrozenBatchNorm2D) for layer in again.neck.sublayers())
    copy = official.deploy("paddle")
    for value, expected in zip(run(copy, x), run(official, x), strict=True):
        assert np.abs(value - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(db.UserError, match="this network is a copy for paddle already"):
        copy.deploy("paddle")


def test_a_static_graph_takes_any_size(official, tmp_path):
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    graph = paddle.jit.to_static(official.deploy("eager"), input_spec=spec, full_graph=True)
    paddle.jit.save(graph, str(tmp_path / "net"))
    loaded = paddle.jit.load(str(tmp_path / "net"))
    for size in ((64, 96), (75, 110)):
        x = tiny.images((1, 3, *size))
        for value, expected in zip(run(loaded, x), run(official, x), strict=True):
            assert np.abs(value - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_encoder_alone(official, weights, encoder):
    from_encoder = db.create_backbone(BASE, (0, 1, 2, 3), pretrained=encoder)
    assert from_encoder.load_report.layout == ENCODER and not from_encoder.load_report.left_out
    from_all = db.create_backbone(BASE, (0, 1, 2, 3), pretrained=weights)
    assert from_all.channels == [96, 192, 320, 784] and from_all.strides == [2, 4, 8, 16]
    blocks = db.create_backbone(BASE, (1, 2, 3), pretrained=encoder, block_maps=True)
    assert blocks.channels == [214, 458, 784] == official.backbone.channels
    expected = tiny.snapshot(official.backbone)
    for net in (from_encoder, from_all, blocks):
        assert tiny.changed(expected, net) == set()
    about, arrays = recipe.outputs(NAME, "256x256")
    from_encoder.eval()
    maps = run(from_encoder, paddle.to_tensor(recipe.image(about["input_shape"])))
    last = [f for f in about["features"] if f["last_at_stride"]]
    for feature, value in zip(last, maps, strict=True):
        difference = value.ravel()[arrays[f"idx:{feature['name']}"]] - arrays[f"val:{feature['name']}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], feature["name"]
    classifier = db.create_model(BASE, pretrained=encoder, num_classes=7)
    assert classifier.load_report.reinitialised == ["base.14.3.weight", "base.14.3.bias"]
    again = db.create_model(BASE, pretrained=tiny.snapshot(classifier), num_classes=7)
    assert tiny.changed(tiny.snapshot(classifier), again) == set()


@pytest.mark.parametrize("size", [(64, 96), (235, 301)], ids=str)
def test_maps_of_the_encoder_at_odd_sides(size):
    net = db.create_backbone(BASE, (0, 1, 2, 3), freeze_at=3)
    for value, channels, stride in zip(run(net, tiny.images((1, 3, *size))), net.channels, net.strides, strict=True):
        assert value.shape[1] == channels
        assert all(abs(side - whole / stride) < 1 for side, whole in zip(value.shape[2:], size))
    assert all(p.stop_gradient for p in net.parameters())


def test_its_own_encoder_is_loaded_when_it_is_said(encoder):
    """Its keys and shapes are also those of PaddleDetection's HarDNet, which is a different network."""
    net = db.create_backbone(BASE, (1, 2, 3), pretrained=encoder)
    own, other = tiny.snapshot(net), db.create_backbone(BASE, (1, 2, 3))
    before = tiny.snapshot(other)
    with pytest.raises(db.UserError, match=r"PaddleDetection's HarDNet, .* loaded with layout=\"CenterNet-HarDNet's"):
        db.load_weights(other, own, strict=False)
    assert tiny.changed(before, other) == set()
    assert db.load_weights(other, own, layout=ENCODER).complete
    assert tiny.changed(own, other) == set()


def hardnet85():
    return recognise(recipe.weights("hardnet85")).arrays


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_look_alikes_are_refused(strict, weights, encoder):
    detector, base = db.create_model(NAME), db.create_backbone(BASE, (1, 2))
    classifier = db.create_backbone("hardnet85", (1, 2))
    paddledet = json.loads((recipe.DATA / "layouts" / "paddledetection_hardnet85.json").read_text())["state_dict"]
    theirs = {key: np.zeros(shape, "float32") for key, shape in paddledet}
    cases = [
        (base, recipe.weights("hardnet85"), "holds weights of hardnet85; they are not for this HarDNet"),
        (base, theirs, "holds weights of PaddleDetection's HarDNet"),
        (classifier, encoder, "the encoder of CenterNet-HarDNet-85, with ReLU and average pools"),
        (classifier, weights, "CenterNet-HarDNet-85, a detector .* for BGR images; they are not for this HarDNet"),
        (detector, encoder, "the encoder of CenterNet-HarDNet-85"),
        (db.create_backbone("hardnet70", (1, 2)), weights, "CenterNet-HarDNet-85, a detector"),
    ]
    for net, arrays, words in cases:
        before = tiny.snapshot(net)
        with pytest.raises(db.UserError, match=words):
            db.load_weights(net, arrays, strict=strict)
        assert tiny.changed(before, net) == set()


def test_the_smaller_centernet_is_known_and_not_ours(encoder):
    smaller = {  # its last block is at another position
        key.replace("13.layers.", "11.layers."): value
        for key, value in encoder.items()
        if not key.startswith(("11.", "12."))
    }
    whole = {f"base.{key}": value for key, value in smaller.items()} | {"hm.2.weight": np.zeros([80, 256, 1, 1])}
    for arrays, words in ((smaller, "the encoder of CenterNet-HarDNet-68"), (whole, "CenterNet-HarDNet-68")):
        assert recognise(arrays).foreign.startswith(words)


def test_weights_of_bgr_images_there_and_back(official, weights):
    picture = recipe.image((1, 3, 64, 96))
    net = db.create_model(NAME)
    report = db.load_weights(net, weights, adapt_input="rgb")
    net.eval()
    assert (official.load_report.channels, report.channels, report.turned) == ("bgr", "rgb", True)
    turned = run(net, paddle.to_tensor(picture[:, ::-1].copy()))
    for value, expected in zip(turned, run(official, paddle.to_tensor(picture)), strict=True):
        assert np.abs(value - expected).max() <= 1e-5 * np.abs(expected).max()
    own = recognise(tiny.snapshot(net))
    assert (own.layout, own.model, own.channels) == ("densebone CenterNet-HarDNet", NAME, "rgb")
    back = to_layout(own.arrays, "pytorch")
    assert set(back) == set(weights)
    assert all(np.array_equal(back[key], value) for key, value in weights.items())


def test_another_number_of_classes(weights):
    fewer = db.create_model(NAME, pretrained=weights, num_classes=5)
    assert fewer.load_report.reinitialised == ["head.heatmap.2.weight", "head.heatmap.2.bias"]
    other = db.create_model(NAME, pretrained=fewer.state_dict(), num_classes=7)
    assert other.load_report.reinitialised == fewer.load_report.reinitialised
    assert db.create_model(NAME, pretrained=fewer.state_dict()).num_classes == 5


@pytest.mark.parametrize("model", ["hardnet39ds", "peleenet"])
def test_neck_and_head_take_other_backbones(model):
    backbone = db.create_backbone(model, (1, 2))
    neck = CenterNetNeck(backbone.channels, bottom=(16, 4, 4), widths=(12, 8), shortcuts=(4, 0), growth_rates=(6, 4))
    head = CenterNetHead(neck.out_channels, 3, 16, 16)
    heatmap, boxes = head(neck(backbone(tiny.images((1, 3, 70, 90)))))
    assert heatmap.shape == [1, 3, 18, 23] and boxes.shape == [1, 4, 18, 23]


def test_what_cannot_be_built():
    with pytest.raises(db.UserError, match="centernet_hardnet85 is a whole network for detection, no backbone; its"):
        db.create_backbone(NAME)
    with pytest.raises(db.UserError, match=r"out_indices is \(1, 2, 3, 4\); give a list of different numbers from 0"):
        db.create_backbone(BASE, (1, 2, 3, 4))
    with pytest.raises(db.UserError, match="there is no option pooling; the options here are freeze_at,"):
        db.create_model(NAME, pooling=1)
    with pytest.raises(db.UserError, match="num_classes is 0; it must be a whole number of 1 or more"):
        db.create_model(NAME, num_classes=0)
    with pytest.raises(db.UserError, match="the neck was given 4 maps, 3 widths, 3 shortcuts"):
        CenterNetNeck([8, 8, 8, 8])
    with pytest.raises(db.UserError, match="input is 31 x 64 pixels; both sides must be 32 or more"):
        db.create_model(NAME)(paddle.zeros([1, 3, 31, 64]))
