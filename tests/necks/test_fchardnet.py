"""FC-HarDNet-70 computes the same as the authors' network and, with other options, the same as PaddleSeg's."""

import json

import cost
import numpy as np
import paddle
import pytest
import recipe
import tiny

import densebone as db
from densebone.backbones.freezing import FrozenBatchNorm2D
from densebone.backbones.hardnet import HarDBlock
from densebone.necks.fchardnet import FCHarDNet, FCHarDNetDecoder

SIZES = ("256x512", "250x506")
OURS = (("base.", "backbone.base."), ("conv1x1_up.", "decoder.reduce."), ("denseBlocksUp.", "decoder.blocks."))
PADDLESEG = {"stem_stride": 1, "stride_padding": "same", "align_corners": False}


def our_name(official):
    for theirs, ours in OURS:
        official = official.replace(theirs, ours)
    return official.replace("finalConv", "classifier")


def our_name_of_paddleseg(name):
    kind, _, number = name.rpartition(".")
    if kind in ("stem", "encoder.blks"):
        return f"backbone.base.{int(number) + (0 if kind == 'stem' else 4)}"
    return {"decoder.conv1x1_up": "decoder.reduce", "decoder.dense_blocks_up": "decoder.blocks"}.get(kind, "") + (
        f".{number}" if kind else "classifier"
    )


def paddleseg_weights():
    about = json.loads((recipe.DATA / "layouts" / "paddleseg_hardnet.json").read_text())
    arrays = {}
    for key, shape in about["state_dict"]:
        drawn = key.replace("._mean", ".running_mean").replace("._variance", ".running_var")
        arrays[key] = recipe.tensor(drawn, tuple(shape))
    return arrays


@pytest.fixture(scope="module")
def official():
    weights = recipe.weights("fchardnet70")
    assert recipe.digest(weights) == recipe.description("fchardnet70")["weights_sha256"][recipe.SALT]
    net = db.create_model("fchardnet70", pretrained=weights)
    net.eval()
    return net


def run(net, about):
    """(logits, {name: output} of every layer that returns one map) for the reference's image."""
    maps = {}

    def keep(name):
        return lambda layer, inputs, out: None if isinstance(out, list) else maps.update({name: out.numpy()})

    hooks = [layer.register_forward_post_hook(keep(name)) for name, layer in net.named_sublayers()]
    with paddle.no_grad():
        logits = net(paddle.to_tensor(recipe.image(about["input_shape"]))).numpy()
    for hook in hooks:
        hook.remove()
    return logits, maps


def check(net, about, arrays, name_of):
    logits, maps = run(net, about)
    std = about["output"]["std"]
    assert list(logits.shape) == about["output"]["shape"]
    assert np.abs(logits[:, :, ::16, ::16] - arrays["logits_s16"]).max() <= recipe.TOLERANCE * std
    clear = arrays["margin_s4"] > 0.01
    assert clear.mean() > 0.98
    assert np.array_equal(logits.argmax(1)[:, ::4, ::4][clear], arrays["argmax_s4"][clear])
    for feature in about["features"]:
        value = maps[name_of(feature["name"])]
        assert list(value.shape) == feature["shape"], feature["name"]
        difference = value.ravel()[arrays[f"idx:{feature['name']}"]] - arrays[f"val:{feature['name']}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], feature["name"]


@pytest.mark.parametrize("size", SIZES)
def test_logits_and_every_map(official, size):
    check(official, *recipe.outputs("fchardnet70", size), our_name)


@pytest.mark.parametrize("size", SIZES)
def test_paddlesegs_network_with_its_options(size):
    net = db.create_model("fchardnet70", pretrained=paddleseg_weights(), **PADDLESEG)
    net.eval()
    assert net.load_report.layout == "PaddleSeg HarDNet" and net.backbone.strides == [2, 4, 8, 16, 32]
    stem = recipe.DATA / "layouts" / f"paddleseg_hardnet_{size}"
    about = json.loads(stem.with_suffix(".json").read_text())
    about["features"] = [f for f in about["features"] if f["name"] != "stem"]  # a container there
    check(net, about, np.load(stem.with_suffix(".npz")), our_name_of_paddleseg)


def test_the_backbone_alone_has_the_last_map_of_each_stride(official):
    about, arrays = recipe.outputs("fchardnet70", SIZES[1])
    backbone = db.create_backbone("hardnet70", (0, 1, 2, 3, 4, 5), pretrained=recipe.weights("fchardnet70"))
    backbone.eval()
    assert backbone.load_report.complete and not backbone.load_report.left_out
    with paddle.no_grad():
        maps = backbone(paddle.to_tensor(recipe.image(about["input_shape"])))
    last = [f for f in about["features"] if f["name"].startswith("base.") and f["last_at_stride"]]
    assert backbone.strides == [2, 4, 8, 16, 32, 64] == [f["stride"] for f in last]
    assert backbone.channels == [24, 64, 96, 160, 224, 320]
    for feature, value in zip(last, maps, strict=True):
        difference = value.numpy().ravel()[arrays[f"idx:{feature['name']}"]] - arrays[f"val:{feature['name']}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], feature["name"]


def test_keys_and_parameters(official):
    names = {"running_mean": "_mean", "running_var": "_variance"}
    expected = {}
    for key, shape, _ in recipe.description("fchardnet70")["state_dict"]:
        prefix, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            expected[our_name(f"{prefix}.{names.get(leaf, leaf)}")] = shape
    assert {key: list(value.shape) for key, value in official.state_dict().items()} == expected
    assert sum(p.size for p in official.parameters() if not p.stop_gradient) == 4_119_257


def test_cost():
    """At 256x512 the cost is 1/16 of that at 1024x2048, because all sides are divisible at both sizes."""
    macs, cio = cost.count(db.create_model("fchardnet70"), paddle.zeros([1, 3, 256, 512]))
    published = recipe.description("fchardnet70")["cost"][1]
    assert published["input"] == [1, 3, 1024, 2048]
    assert (16 * macs, 16 * cio) == (published["macs"], published["cio"])


@pytest.mark.parametrize("options", [{}, {"stem_stride": 1}, {"stride_padding": "same"}, {"align_corners": False}])
def test_each_of_the_two_networks_refuses_the_others_weights(options):
    if options:
        net = db.create_model("fchardnet70", **options)
        before = tiny.snapshot(net)
        with pytest.raises(db.UserError, match=r"layout 'FC-HarDNet', which needs .* other options: build yours with"):
            db.load_weights(net, recipe.weights("fchardnet70"), strict=False)
        assert tiny.changed(before, net) == set()
    else:
        wanted = "build yours with stem_stride=1, stride_padding='same', align_corners=False to load it"
        with pytest.raises(db.UserError, match=wanted):
            db.create_model("fchardnet70", pretrained=paddleseg_weights())


def test_weights_of_bgr_images_in_a_network_for_rgb_ones(official):
    about, _ = recipe.outputs("fchardnet70", SIZES[0])
    picture = recipe.image(about["input_shape"])[:, :, :64, :128]
    net = db.create_model("fchardnet70")
    report = db.load_weights(net, recipe.weights("fchardnet70"), adapt_input="rgb")
    net.eval()
    assert (official.load_report.channels, report.channels) == ("bgr", "rgb")
    with paddle.no_grad():
        expected = official(paddle.to_tensor(picture)).numpy()
        turned = net(paddle.to_tensor(picture[:, ::-1].copy())).numpy()
    assert np.abs(turned - expected).max() <= 1e-5 * np.abs(expected).max()
    other = db.create_model("fchardnet70", **PADDLESEG)
    assert db.load_weights(other, paddleseg_weights(), adapt_input="rgb").adapted == []


def test_encoder_weights_and_another_number_of_classes(official):
    encoder = {
        key.removeprefix("base."): value
        for key, value in recipe.weights("fchardnet70").items()
        if key.startswith("base.")
    }
    backbone = db.create_backbone("hardnet70", (1, 2, 3, 4, 5), pretrained=encoder, block_maps=True)
    assert backbone.channels == [48, 78, 160, 214, 320] and not backbone.load_report.reinitialised
    for key, value in backbone.state_dict().items():
        assert np.array_equal(value.numpy(), official.state_dict()[f"backbone.{key}"].numpy()), key
    classifier = db.create_model("hardnet70", pretrained=encoder, num_classes=10)
    assert classifier.load_report.reinitialised == ["base.18.3.weight", "base.18.3.bias"]
    for count in (48, 5):  # the last layer reads 48 channels
        fewer = db.create_model("fchardnet70", pretrained=recipe.weights("fchardnet70"), num_classes=count)
        assert fewer.load_report.reinitialised == ["classifier.weight", "classifier.bias"]
    assert fewer(paddle.zeros([1, 3, 64, 64])).shape == [1, 5, 64, 64]
    other = db.create_model("fchardnet70", pretrained=fewer.state_dict(), num_classes=7)
    assert other.load_report.reinitialised == ["classifier.weight", "classifier.bias"]
    same = db.create_model("fchardnet70", pretrained=fewer.state_dict())  # the classes of the file
    assert same.num_classes == 5 and not same.load_report.reinitialised


@pytest.mark.parametrize("model", ["hardnet39ds", "peleenet", "condensenetv2_a"])
def test_the_decoder_takes_any_backbone(model):
    paddle.seed(0)
    net = FCHarDNet(db.create_backbone(model, (1, 2, 3)), num_classes=3)
    (out,), gradients = tiny.step(net, tiny.images((2, 3, 70, 90)))
    assert out.shape == (2, 3, 70, 90)
    assert set(gradients) == {key for key, p in net.named_parameters() if not p.stop_gradient}
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_recompute_freezing_and_deploying(official):
    x = tiny.images((2, 3, 64, 96))
    paddle.seed(0)
    plain = db.create_model("fchardnet70")
    again = db.create_model("fchardnet70", recompute=True)
    again.set_state_dict(plain.state_dict())
    ((first,), g), ((second,), h) = tiny.step(plain, x), tiny.step(again, x)
    assert np.abs(first - second).max() <= 1e-5
    for key, value in g.items():
        assert np.abs(value - h[key]).max() <= 1e-3 * np.abs(value).max() + 1e-6, key
    frozen = db.create_model("fchardnet70", freeze_at=5, freeze_norm=True)
    _, gradients = tiny.step(frozen, x)
    assert gradients and not any(key.startswith("backbone.") for key in gradients)
    assert not any(isinstance(layer, paddle.nn.BatchNorm2D) for layer in frozen.sublayers())
    assert any(isinstance(layer, FrozenBatchNorm2D) for layer in frozen.decoder.sublayers())
    copy = official.deploy("paddle")
    with paddle.no_grad():
        assert np.abs(copy(x).numpy() - official(x).numpy()).max() <= 1e-4
    with pytest.raises(db.UserError, match="this network is a copy for paddle already"):
        copy.deploy("paddle")


def test_a_static_graph_takes_any_size(official, tmp_path):
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    paddle.jit.save(
        paddle.jit.to_static(official.deploy("eager"), input_spec=spec, full_graph=True), str(tmp_path / "net")
    )
    loaded = paddle.jit.load(str(tmp_path / "net"))
    for size in ((64, 96), (75, 110)):
        x = tiny.images((1, 3, *size))
        with paddle.no_grad():
            expected = official(x).numpy()
            assert np.abs(loaded(x).numpy() - expected).max() <= 1e-4 * np.abs(expected).max()


def test_what_cannot_be_built():
    with pytest.raises(db.UserError, match="both sides must be 64 or more"):
        db.create_model("fchardnet70")(paddle.zeros([1, 3, 63, 128]))
    with pytest.raises(db.UserError, match=r"fchardnet70 is a whole network for segmentation, no backbone"):
        db.create_backbone("fchardnet70")
    with pytest.raises(db.UserError, match=r"out_indices is \(1, 6\); give a list of different numbers from 0..5"):
        db.create_backbone("hardnet70", (1, 6))
    with pytest.raises(db.UserError, match="there is no option pooling; the options here are align_corners,"):
        db.create_model("fchardnet70", pooling=1)
    with pytest.raises(db.UserError, match="stem_stride is 4; here it must be 1 or 2"):
        db.create_model("fchardnet70", stem_stride=4)
    with pytest.raises(db.UserError, match="the decoder was given 1 maps"):
        FCHarDNetDecoder([8])
    with pytest.raises(db.UserError, match="num_classes is 0; it must be a whole number of 1 or more"):
        db.create_model("fchardnet70", num_classes=0)


def test_blocks_of_the_decoder_have_the_encoders_figures():
    decoder = FCHarDNetDecoder([48, 78, 160, 214, 320])
    assert [len(block.layers) for block in decoder.blocks] == [8, 8, 4, 4]
    assert all(isinstance(block, HarDBlock) for block in decoder.blocks)
    assert decoder.out_channels == 48
