"""What a user of timm expects: names, shapes and meanings as in its own test suite of models."""

import numpy as np
import paddle
import pytest

import densebone as db


def stages(name):
    return len(db.model_info(name)["strides"])


def evaluated(*arguments, **options):
    net = db.create_model(*arguments, **options)
    net.eval()
    return net


def test_the_parts_make_the_whole(name, images):
    net, x = evaluated(name), images()
    features = net.forward_features(x)
    assert features.shape[1] == net.num_features and len(features.shape) == 4
    assert np.array_equal(net.forward_head(features).numpy(), net(x).numpy())
    hidden = net.forward_head(features, pre_logits=True)
    assert hidden.shape == [2, net.head_hidden_size]
    assert np.array_equal(net.get_classifier()(hidden).numpy(), net(x).numpy())
    assert isinstance(net.get_classifier(), paddle.nn.Linear)


def test_intermediates_are_the_maps_of_the_stages(name, images):
    net, x = evaluated(name), images()
    last, maps = net.forward_intermediates(x)
    assert np.array_equal(last.numpy(), net.forward_features(x).numpy())
    backbone = db.create_backbone(name, out_indices=range(len(maps)), pretrained=net.state_dict())
    backbone.eval()
    for one, other in zip(maps, backbone(x)):
        assert np.array_equal(one.numpy(), other.numpy())
    assert [m.shape[1] for m in maps] == net.feature_info.channels() == net.channels
    for indices, expected in (
        (2, maps[-2:]),
        ([-2, -1], maps[-2:]),
        ([0, 2], [maps[0], maps[2]]),
        (range(2), maps[:2]),
    ):
        _, found = net.forward_intermediates(x, indices)
        assert len(found) == len(expected)
        assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(found, expected))
    assert isinstance(net.forward_intermediates(x, intermediates_only=True), list)
    for wrong in (0, len(maps) + 1, [9], [1, 0], "12"):
        with pytest.raises(db.UserError, match="indices is"):
            net.forward_intermediates(x, wrong)


def test_the_classifier_is_reset(name, images):
    net, x = evaluated(name), images()
    before = {key: value.numpy() for key, value in net.state_dict().items()}
    net.reset_classifier(7)
    assert net(x).shape == [2, 7] and net.num_classes == 7
    last = net.last_linear()
    state = net.state_dict()
    assert state.keys() == before.keys() and list(state[f"{last}.weight"].shape)[-1] == 7
    assert all(np.array_equal(before[key], state[key].numpy()) for key in state if not key.startswith(last))
    net.reset_classifier(0)
    pooled = net(x)
    assert pooled.shape == [2, net.num_features] == [2, net.head_hidden_size]
    net.reset_classifier(0, "")
    assert np.array_equal(net(x).numpy(), net.forward_features(x).numpy())
    assert isinstance(net.get_classifier(), paddle.nn.Identity)
    net.train()
    net.reset_classifier(3)
    assert net(x).shape == [2, 3] and all(layer.training for layer in net.sublayers())
    with pytest.raises(db.UserError, match='global_pool is "", and the last layer needs pooled features'):
        net.reset_classifier(3, "")


def test_no_classes_from_the_start(name, images):
    whole, x = evaluated(name), images()
    net = evaluated(name, num_classes=0, pretrained=whole.state_dict())
    assert net(x).shape == [2, net.num_features]
    assert net.load_report.left_out and not net.load_report.missing
    assert set(net.state_dict()) < set(whole.state_dict())
    assert np.array_equal(net.forward_features(x).numpy(), whole.forward_features(x).numpy())
    bare = evaluated(name, num_classes=0, global_pool="", pretrained=whole.state_dict())
    assert np.array_equal(bare(x).numpy(), whole.forward_features(x).numpy())
    reset = evaluated(name, pretrained=whole.state_dict())
    reset.reset_classifier(0)
    assert np.array_equal(reset(x).numpy(), net(x).numpy())
    with pytest.raises(db.UserError, match="global_pool is 'max'; it must be"):
        db.create_model(name, num_classes=0, global_pool="max")


def test_dropout_before_the_last_layer(name, images):
    net = db.create_model(name, drop_rate=0.7)
    net.eval()
    drops = [layer for layer in net.sublayers() if isinstance(layer, paddle.nn.Dropout)]
    assert [layer.p for layer in drops][-1] == 0.7
    features = net.forward_features(images())
    net.train()
    zero = [float((net.drop(paddle.ones([64, net.head_hidden_size])) == 0).astype("float32").mean())]
    assert 0.6 < zero[0] < 0.8
    net.eval()
    assert np.array_equal(net.forward_head(features).numpy(), net.forward_head(features).numpy())
    for wrong in (1, -0.1, "0.5"):
        with pytest.raises(db.UserError, match="drop_rate is"):
            db.create_model(name, drop_rate=wrong)


def test_image_channels_have_two_names(name, images):
    net = db.create_model(name, in_chans=5)
    net.eval()
    assert net.in_channels == 5 and net(images(channels=5)).shape == [2, 1000]
    assert db.create_backbone(name, in_chans=1).in_channels == 1
    with pytest.raises(db.UserError, match="in_channels is 3 and in_chans 4, which mean the same"):
        db.create_model(name, in_channels=3, in_chans=4)


def test_features_only_is_a_backbone(name, images):
    net = db.create_model(name, features_only=True, out_indices=(1, 3))
    assert net.channels == db.create_backbone(name, (1, 3)).channels
    assert [m.shape[1] for m in net(images())] == net.feature_info.channels()
    assert db.create_model(name, features_only=True).strides == [4, 8, 16, 32][: stages(name) - 1]
    with pytest.raises(db.UserError, match="features_only=True makes a backbone"):
        db.create_model(name, features_only=True, num_classes=3)
    with pytest.raises(db.UserError, match="out_indices is for a backbone"):
        db.create_model(name, out_indices=(1,))
    for call in (lambda: net.forward_head(images()), lambda: net.reset_classifier(3)):
        with pytest.raises(db.UserError, match="a backbone has no"):
            call()


@pytest.mark.parametrize(
    "indices", [(-1,), (-3, -1), range(1, 4), np.arange(5), [np.int64(2)], (0, -1), np.array([1, 2], np.int32)], ids=str
)
def test_numbers_of_maps_of_every_kind(indices):
    net = db.create_backbone("hardnet39ds", out_indices=indices)
    expected = [2 << i for i in np.arange(5)[list(indices)]]
    assert net.strides == expected and all(type(i) is int for i in net.out_indices)


def test_what_is_known_of_the_maps(name, images):
    net = db.create_backbone(name, out_indices=(0, 2, -1))
    net.eval()
    seen, modules = {}, dict(net.named_sublayers())
    for row in net.feature_info:
        modules[row["module"]].register_forward_post_hook(
            lambda layer, _, out, key=row["module"]: seen.update({key: out})
        )
    x = images()
    for map_, row in zip(net(x), net.feature_info):
        assert np.array_equal(seen[row["module"]].numpy(), map_.numpy())
        assert map_.shape[1] == row["num_chs"] == row["channels"]
        assert x.shape[2] // map_.shape[2] == row["reduction"]
    info = net.feature_info
    assert info.reduction() == net.strides == [2, 8, 2 ** stages(name)] and info.module_name() == [
        row["module"] for row in info
    ]


def test_the_configuration_of_the_weights(name):
    net = db.create_model(name)
    cfg = net.default_cfg
    assert cfg == net.pretrained_cfg and cfg["architecture"] == name
    state = net.state_dict()
    assert f"{cfg['first_conv']}.weight" in state and f"{cfg['classifier']}.weight" in state
    assert state[f"{cfg['first_conv']}.weight"].shape[1] == cfg["input_size"][0] == 3
    assert state[f"{cfg['classifier']}.weight"].shape[1] == cfg["num_classes"] == 1000
    _, height, width = cfg["input_size"]
    assert cfg["pool_size"] == (height // net.strides[-1], width // net.strides[-1])
    if db.model_info(name)["default_weights"]:
        assert (
            cfg["url"].startswith("http") and cfg["license"] and cfg["source"] == db.model_info(name)["default_weights"]
        )
    if cfg["mean"]:
        assert cfg["mean"][0] > cfg["mean"][2] and 0.8 < cfg["crop_pct"] <= 1, "in RGB"
        assert cfg["interpolation"] in ("bilinear", "bicubic") and len(cfg["std"]) == 3
    assert db.create_model(name, num_classes=0).default_cfg["classifier"] is None


def test_lists_of_models():
    every = db.list_models()
    assert every == sorted(every) and "hardnet68" in every
    assert db.list_models("hardnet*") == [n for n in every if n.startswith("hardnet")]
    assert db.list_models(["pelee*", "condense*"]) == [
        n for n in every if (n[0] in "pc" and "net" in n and n[1] != "e") or n == "peleenet"
    ]
    assert db.list_models("hardnet*", exclude_filters="*ds") == [
        n for n in every if n.startswith("hardnet") and not n.endswith("ds")
    ]
    assert db.list_models(exclude_filters=["hardnet*", "condense*"]) == [
        "centernet_hardnet85",
        "centernet_hardnet85_base",
        "fchardnet70",
        "peleenet",
    ]
    assert "hardnet68" in db.list_models(pretrained=True)
    assert all(db.model_info(n)["default_weights"] for n in db.list_models(pretrained=True))
    assert db.list_models(task="segmentation") == ["fchardnet70"] and db.list_models(task="detection") == [
        "centernet_hardnet85"
    ]
    with pytest.raises(db.UserError, match="there is no task 'pose'"):
        db.list_models(task="pose")


def test_names_and_facts_of_models():
    assert db.is_model("hardnet68") and not db.is_model("resnet50")
    info = db.model_info("hardnet68")
    assert info["family"] == "HarDNet" and info["task"] == "classification" and info["classes"] == 1000
    assert info["parameters"] == sum(p.size for p in db.create_model("hardnet68").parameters() if not p.stop_gradient)
    assert info["default_weights"] in info["weights"]
    with pytest.raises(db.UserError, match="there is no model 'hardnet69'"):
        db.model_info("hardnet69")


def test_gradient_checkpointing_is_switched(name, images):
    def gradients(enable):
        paddle.seed(0)
        net = db.create_model(name, num_classes=3, drop_rate=0)
        net.set_grad_checkpointing(enable)
        assert net.recompute is enable
        for layer in net.sublayers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0
        net.train()
        net(images()).square().mean().backward()
        return {key: p.grad.numpy() for key, p in net.named_parameters() if p.grad is not None}

    plain, checkpointed = gradients(False), gradients(True)
    assert plain.keys() == checkpointed.keys()
    for key, value in plain.items():
        np.testing.assert_allclose(checkpointed[key], value, rtol=1e-3, atol=1e-5 * max(1, np.abs(value).max()))


def test_groups_of_parameters(name):
    import re

    net = db.create_model(name)
    matcher, spared = net.group_matcher(), net.no_weight_decay()
    learning = {key for key, p in net.named_parameters() if not p.stop_gradient}
    patterns = [matcher["stem"], *(pattern for pattern, _ in matcher["blocks"])]
    left = {key for key in learning if not any(re.match(pattern, key) for pattern in patterns)}
    head = {
        key for key in learning if key.startswith((net.last_linear(), "fc.", "features.norm_last", "features.se_last"))
    }
    assert left == head
    ndim = {key: p.ndim for key, p in net.named_parameters()}
    assert {key for key in learning if ndim[key] == 1} <= spared
    assert not any(ndim[key] > 1 for key in spared & learning)


def test_learning_rates_fall_with_depth(name, images):
    """The recipe of docs/training.md: AdamW, whose rate falls by a factor from stage to stage."""
    paddle.seed(0)
    net = db.create_model(name, num_classes=3)
    groups = db.parameter_groups(net, lr_decay=0.5, weight_decay=0.05)
    learning = [p for p in net.parameters() if not p.stop_gradient]
    assert sum(len(group["params"]) for group in groups) == len(learning)
    rates = sorted({group["learning_rate"] for group in groups})
    assert rates == [0.5**k for k in range(len(rates) - 1, -1, -1)] and len(rates) > net.last_stage + 1
    names = {p.name: key for key, p in net.named_parameters()}
    for group in groups:
        spared = {names[p.name] in net.no_weight_decay() for p in group["params"]}
        assert spared == {group["weight_decay"] == 0.0}
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=groups)
    before = {key: p.numpy() for key, p in net.named_parameters()}
    net.train()
    net(images()).square().mean().backward()
    optimizer.step()
    head, stem = net.get_classifier().weight, net.stem()[0].parameters()[0]
    moved = [np.abs(p.numpy() - before[names[p.name]]).max() for p in (head, stem)]
    assert moved[0] == pytest.approx(1e-3, rel=0.2) and moved[1] < 1e-3 * 0.5 ** (len(rates) - 1) * 1.2
    for wrong in (0, 1.5, "a", True):
        with pytest.raises(db.UserError, match="lr_decay is"):
            db.parameter_groups(net, lr_decay=wrong)
    with pytest.raises(db.UserError, match="Linear has no stages"):
        db.parameter_groups(paddle.nn.Linear(2, 2))


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(224, 224), (235, 301)])
def test_output_strides(name, stride, size, images):
    net = db.create_backbone(name, out_indices=range(stages(name)), output_stride=stride)
    net.eval()
    plain = db.create_backbone(name, out_indices=range(stages(name)))
    assert net.channels == plain.channels and net.strides == [min(s, stride) for s in plain.strides]
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    for map_, channels, declared in zip(net(images(*size, count=1)), net.channels, net.strides):
        assert map_.shape[1] == channels
        for side, actual in zip(size, map_.shape[2:]):
            assert side // declared <= actual <= -(-side // declared) + (declared > 4)
    with pytest.raises(db.UserError, match="output_stride is 4"):
        db.create_backbone(name, output_stride=4)


@pytest.mark.parametrize("stride", [8, 16])
def test_every_second_pixel_is_a_pixel_of_the_plain_map(name, stride, images):
    plain = db.create_backbone(name, out_indices=range(stages(name)))
    dilated = db.create_backbone(name, out_indices=range(stages(name)), output_stride=stride)
    dilated.set_state_dict(plain.state_dict())
    for net in (plain, dilated):
        net.eval()
        for layer in net.sublayers():  # it reads the mean of the whole map, which has other pixels too
            if hasattr(layer, "se"):
                layer.se = None
    x = images(256, count=1)
    for map_, other, own in zip(plain(x), dilated(x), plain.strides):
        step = max(1, own // stride)
        scale = float(map_.std())
        np.testing.assert_allclose(other[:, :, ::step, ::step].numpy(), map_.numpy(), rtol=1e-3, atol=1e-4 * scale)


def test_a_dilated_layer_by_hand():
    """One depthwise convolution of HarDNet-39DS and one pool, against sums written out in NumPy."""
    from densebone.backbones.dilation import DilatedPool

    net = db.create_backbone("hardnet39ds", out_indices=range(5), output_stride=8)
    net.eval()
    layer = net.base[8]  # would go from stride 8 to 16
    convolution = layer.dwconv
    assert convolution._stride == [1, 1] and convolution._dilation == [1, 1]
    inner = [c for c in net.base[9].sublayers() if isinstance(c, paddle.nn.Conv2D) and c._kernel_size[0] == 3]
    assert inner and all(c._dilation == [2, 2] and c._updated_padding == [2, 2] for c in inner)
    weight = inner[0].weight.numpy()[:, 0]
    x = np.random.default_rng(0).standard_normal((1, weight.shape[0], 9, 11)).astype("float32")
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    expected = sum(
        padded[:, :, 2 * i : 2 * i + 9, 2 * j : 2 * j + 11] * weight[:, i, j][None, :, None, None]
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_allclose(inner[0](paddle.to_tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)
    for largest in (True, False):
        pooled = DilatedPool(largest, 2)(paddle.to_tensor(x)).numpy()
        rows, columns = np.minimum(np.arange(9) + 2, 8), np.minimum(np.arange(11) + 2, 10)
        corners = [x, x[:, :, rows], x[:, :, :, columns], x[:, :, rows][:, :, :, columns]]
        expected = np.max(corners, 0) if largest else np.mean(corners, 0)
        np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
