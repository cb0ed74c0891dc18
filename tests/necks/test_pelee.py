"""Pelee's detector: its maps by hand, and the whole detector against the authors' Caffe graph."""

import copy

import numpy as np
import paddle
import pelee
import pytest
import recipe
import tiny

import densebone as db
from densebone.backbones.layers import merge_norms
from densebone.necks.pelee import PeleeMaps, ResidualBlock
from densebone.weights.caffe import convert

# layer of the reference's graph -> layer of densebone's
LAYERS = {
    "stem3": "backbone.backbone.features.stemblock.stem3",
    **{f"stage{i}_tb": f"backbone.backbone.features.transition{i}" for i in range(1, 5)},
    **{f"ext1|fe{i}_2": f"backbone.extra.extra.extra_maps.{i - 1}" for i in range(1, 4)},
    **{f"stage4_tb|ext|pm{i}|res": f"backbone.extra.blocks.{i - 2}" for i in range(2, 7)},
}


def trained(layer, seed=0):
    """The same layer with random batch norms, so a wrong one changes the result."""
    generator = np.random.default_rng(seed)
    for key, tensor in layer.state_dict().items():
        if ".norm." in key or key.startswith("norm."):
            spread = generator.uniform(0.5, 1.5, tensor.shape)
            tensor.set_value((spread - 1 if key.endswith(("bias", "_mean")) else spread).astype("float32"))
    layer.eval()
    return layer


def test_a_residual_block_by_hand():
    block = ResidualBlock(3, 8)
    block.shortcut.forward = lambda x: paddle.to_tensor([[-5.0, 2.0]])
    block.branch.forward = lambda x: paddle.to_tensor([[3.0, 4.0]])
    assert block(paddle.zeros([1, 3, 2, 2])).tolist() == [[0, 6]]
    shapes = [tuple(p.shape) for p in block.parameters() if p.ndim == 4]
    assert sorted(shapes) == [(4, 3, 1, 1), (4, 4, 3, 3), (8, 3, 1, 1), (8, 4, 1, 1)]


@pytest.mark.parametrize(
    ("ceil_mode", "side", "sides"), [(True, 304, [19, 19, 10, 5, 3, 1]), (False, 320, [20, 20, 10, 5, 3, 1])]
)
def test_six_maps(ceil_mode, side, sides):
    backbone = db.create_backbone("peleenet", out_indices=(3, 4), ceil_mode=ceil_mode)
    neck = PeleeMaps(backbone.channels, backbone.strides)
    backbone.eval(), neck.eval()
    with paddle.no_grad():
        maps = neck(backbone(paddle.rand([1, 3, side, side])))
    assert [m.shape for m in maps] == [[1, 256, s, s] for s in sides]
    assert maps[0] is maps[1]
    assert (neck.channels, neck.strides) == ([256] * 6, [16, 16, 32, 64, 64, 64])


def test_too_small_an_image_is_refused():
    with pytest.raises(db.UserError, match="the image is too small for 3 extra maps"):
        PeleeMaps([4, 6], [16, 32])([paddle.rand([1, 4, 4, 4]), paddle.rand([1, 6, 2, 2])])


def test_every_weight_learns():
    neck = PeleeMaps([4, 6], [16, 32], width=8)
    neck.train()
    loss = tiny.loss_of(neck([tiny.images((2, 4, 19, 19)), tiny.images((2, 6, 10, 10))]))
    loss.backward()
    learning = [(name, parameter) for name, parameter in neck.named_parameters() if not parameter.stop_gradient]
    assert len(learning) == 3 * 2 * 2 + 5 * 4 * 3  # extra convolutions with bias; blocks' with scale and shift
    for name, parameter in learning:
        assert np.isfinite(parameter.grad.numpy()).all(), name
        assert np.abs(parameter.grad.numpy()).max() > 0, name


def test_the_extra_maps_have_no_batch_norm_and_all_others_the_authors_epsilon():
    neck = PeleeMaps([4, 6], [16, 32])
    norms = [child for child in neck.sublayers() if isinstance(child, paddle.nn.BatchNorm2D)]
    assert len(norms) == 4 * 5 and {norm._epsilon for norm in norms} == {1e-3}
    assert not any("norm" in key for key in neck.extra.state_dict())
    assert not any("norm" in key for key in PeleeMaps([4, 6], [16, 32], norm=False).state_dict())


@pytest.mark.parametrize("freeze_norm", [False, True])
def test_merging_keeps_the_numbers(freeze_norm):
    backbone = trained(
        db.create_backbone("peleenet", (3, 4), ceil_mode=True, norm_epsilon=1e-3, freeze_norm=freeze_norm)
    )
    neck = trained(PeleeMaps(backbone.channels, backbone.strides, norm_epsilon=1e-3))
    one, two = copy.deepcopy([backbone, neck]), [backbone, neck]
    for layer in one:
        merge_norms(layer)
    merged = db.create_backbone("peleenet", (3, 4), ceil_mode=True, norm=False)
    assert list(one[0].state_dict()) == list(merged.state_dict())
    db.load_weights(merged, one[0].state_dict())
    assert list(one[1].state_dict()) == list(PeleeMaps(backbone.channels, backbone.strides, norm=False).state_dict())
    x = tiny.images((1, 3, 160, 160))
    x = paddle.nn.functional.interpolate(x, [304, 304])
    merged.eval()
    with paddle.no_grad():
        expected, got = two[1](two[0](x)), one[1](merged(x))
    for a, b in zip(expected, got, strict=True):
        assert np.abs(a.numpy() - b.numpy()).max() <= 3e-5 * a.numpy().std()
    assert backbone.norm and not one[0].norm


@pytest.fixture(scope="module")
def reference():
    return recipe.description(pelee.REFERENCE), np.load(recipe.DATA / "reference" / f"{pelee.REFERENCE}.npz")


@pytest.fixture(scope="module")
def merged():
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    model = pelee.detector(norm=False)
    report = db.load_weights(model, pelee.weights())
    assert report.layout == "Caffe Pelee-SSD, merged" and report.complete and report.channels == "bgr"
    return model


def image():
    return paddle.to_tensor(recipe.image((1, 3, 304, 304)))


def test_the_weights_are_the_references(reference):
    assert recipe.digest(pelee.weights()) == reference[0]["weights_sha256"][recipe.SALT]


def test_every_layer_and_output_is_that_of_the_authors_graph(merged, reference):
    about, arrays = reference
    found, layers = {}, dict(merged.named_sublayers())
    hooks = [
        layers[ours].register_forward_post_hook(lambda _, __, out, name=name: found.update({name: out.numpy()}))
        for name, ours in LAYERS.items()
    ]
    boxes, scores, priors = pelee.raw(merged, image())
    for hook in hooks:
        hook.remove()
    features = {row["name"].replace("/", "|"): row for row in about["features"]}
    assert set(found) == set(features)
    for name, value in found.items():
        assert list(value.shape) == features[name]["shape"]
        difference = np.abs(value.ravel()[arrays[f"idx:{name}"]] - arrays[f"val:{name}"]).max()
        assert difference <= recipe.TOLERANCE * features[name]["std"], name
    background_first = np.roll(scores[0], 1, axis=1)
    for name, value, expected in (
        ("mbox_loc", boxes[0], arrays["mbox_loc_s3"]),
        ("mbox_conf", background_first, arrays["mbox_conf_s9"]),
        ("priors", priors, arrays["priors_s5"]),
    ):
        assert list(value.shape) == about[name]["shape"]
        difference = np.abs(value[:: {"mbox_loc": 3, "mbox_conf": 9, "priors": 5}[name]] - expected).max()
        print(f"{name}: {difference / about[name]['std']:.1e}")
        assert difference <= recipe.TOLERANCE * about[name]["std"], name


def numpy_priors(min_sizes, max_sizes):
    """All priors by the paper's rule: (5142, 4), as fractions of the image."""
    rows = []
    for side, low, high in zip((19, 19, 10, 5, 3, 1), min_sizes, max_sizes):
        shapes = [(low, low), ((low * high) ** 0.5,) * 2]
        for ratio in (2, 1 / 2, 3, 1 / 3):
            shapes.append((low * ratio**0.5, low / ratio**0.5))
        for row in range(side):
            for column in range(side):
                x, y = (column + 0.5) / side, (row + 0.5) / side
                rows += [(x - w / 608, y - h / 608, x + w / 608, y + h / 608) for w, h in shapes]
    return np.array(rows)


@pytest.mark.parametrize(("config", "scales"), [(pelee.VOC, (10, 20, 37, 54, 71, 88, 105)),
                                                (pelee.COCO, (7, 15, 33, 51, 69, 87, 105))])  # fmt: skip
def test_all_priors_of_a_configuration(config, scales):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from ppdet.modeling.layers import AnchorGeneratorSSD

    settings = pelee.blocks(config)[0]["anchor_generator"]
    sizes = [304 * scale / 100 for scale in scales]  # per cent of the image, in the authors' scripts
    np.testing.assert_allclose(settings["min_sizes"], sizes[:-1])
    np.testing.assert_allclose(settings["max_sizes"], sizes[1:])
    generator = AnchorGeneratorSSD(**settings)
    maps = [paddle.zeros([1, 1, side, side]) for side in (19, 19, 10, 5, 3, 1)]
    boxes = np.concatenate([b.numpy() for b in generator(maps, paddle.zeros([1, 3, 304, 304]))])
    assert generator.num_priors == [6] * 6
    np.testing.assert_allclose(boxes, numpy_priors(sizes[:-1], sizes[1:]), atol=1e-6)


def test_parameters(merged, reference):
    about, _ = reference
    assert sum(int(p.size) for p in merged.parameters()) == about["parameters"] == 5417188
    normed = sum(row[3] for row in about["convs"] if not row[0].startswith(("ext/", "ext1/", "stage4_tb/relu/")))
    unmerged = pelee.detector()
    learning = [p for p in unmerged.parameters() if not p.stop_gradient]
    assert sum(int(p.size) for p in learning) == about["parameters"] + normed  # a scale too where there was a bias
    norms = [child for child in unmerged.sublayers() if isinstance(child, paddle.nn.BatchNorm2D)]
    assert {norm._epsilon for norm in norms} == {1e-3}
    assert sum(norm.weight.shape[0] for norm in norms) == normed


def unmerged_weights(factor=999.98):
    """(arrays of an unmerged network by LAYER.NUMBER, arrays of the same network merged), by Caffe's rules."""
    generator = np.random.default_rng(0)
    merged = pelee.weights()
    unmerged = {}
    for name in {key.rpartition(".")[0] for key in merged}:
        weight = merged[f"{name}.weight"]
        unmerged[f"{name}.0"] = weight
        if name.startswith(("ext/", "ext1/", "stage4_tb/relu/")):
            unmerged[f"{name}.1"] = merged[f"{name}.bias"]
            continue
        mean, shift = generator.normal(0, 0.1, (2, len(weight)))
        variance, scale = generator.uniform(0.5, 1.5, (2, len(weight)))
        alpha = scale / np.sqrt(variance + 1e-3)
        merged[f"{name}.weight"] = (weight * alpha[:, None, None, None]).astype("float32")
        merged[f"{name}.bias"] = (shift - mean * alpha).astype("float32")
        blobs = {"bn.0": mean * factor, "bn.1": variance * factor, "bn.2": [factor], "scale.0": scale, "scale.1": shift}
        unmerged.update({f"{name}/{key}": np.array(value, "float32") for key, value in blobs.items()})
    return unmerged, merged


def test_unmerged_weights_of_caffe_and_merging_them():
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    theirs, expected = unmerged_weights()
    model, merged = pelee.detector(), pelee.detector(norm=False)
    report = db.load_weights(model, theirs)
    assert report.layout == "Caffe Pelee-SSD" and report.complete
    db.load_weights(merged, expected)
    outputs = [pelee.raw(model, image()), pelee.raw(merged, image())]
    merge_norms(model)
    assert list(model.state_dict()) == list(merged.state_dict())
    outputs.append(pelee.raw(model, image()))
    for got in (outputs[0], outputs[2]):
        for a, b in zip(got, outputs[1], strict=True):
            assert np.abs(a - b).max() <= recipe.TOLERANCE * b.std()


def test_for_rgb_pictures_the_first_convolution_is_turned_round(merged):
    model = pelee.detector(norm=False)
    report = db.load_weights(model, pelee.weights(), adapt_input="rgb")
    assert report.turned and report.channels == "rgb" and "turned round for RGB images" in str(report)
    for a, b in zip(pelee.raw(model, image().flip(1)), pelee.raw(merged, image()), strict=True):
        assert np.abs(a - b).max() <= 1e-4 * b.std()


def test_a_file_goes_into_the_backbone_too_and_through_convert(merged, tmp_path, capsys):
    from densebone.integrations.paddledet import PeleeNet
    from densebone.scripts import main

    np.savez(tmp_path / "pelee.npz", **pelee.weights())
    backbone = PeleeNet(return_idx=[2, 3], ceil_mode=True, norm=False, pretrained=str(tmp_path / "pelee.npz"))
    state = {key.removeprefix("backbone.backbone."): value for key, value in merged.state_dict().items()}
    for key, value in backbone.state_dict().items():
        theirs = state[key].numpy()
        assert np.array_equal(value.numpy(), theirs[:, ::-1] if key.endswith("stem1.conv.weight") else theirs), key
    target = tmp_path / "pelee.pdparams"
    assert main(["weights", "convert", str(tmp_path / "pelee.npz"), str(target)]) == 0
    assert "pelee_ssd304, Caffe Pelee-SSD, merged -> ours; for RGB images" in capsys.readouterr().out
    model = pelee.detector(norm=False)
    model.set_state_dict(paddle.load(str(target)))
    for a, b in zip(pelee.raw(model, image().flip(1)), pelee.raw(merged, image()), strict=True):
        assert np.abs(a - b).max() <= 1e-4 * b.std()
    assert main(["weights", "convert", str(tmp_path / "pelee.npz"), str(target), "--layout", "paddleclas"]) == 2
    assert "a detector is not written in the layout 'paddleclas'" in capsys.readouterr().err


def test_weights_for_another_form_are_refused(tmp_path):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    with pytest.raises(db.UserError, match=r"build yours with norm=False to load it \(it has True\)"):
        db.load_weights(pelee.detector(), pelee.weights())
    with pytest.raises(db.UserError, match=r"build yours with norm=True, norm_epsilon=0.001 to load it"):
        db.load_weights(pelee.detector(norm=False, norm_epsilon=1e-5), unmerged_weights()[0])
    with pytest.raises(db.UserError, match="ceil_mode=True"):
        db.create_backbone("peleenet", (3, 4), norm=False, pretrained=pelee.weights())
    with pytest.raises(db.UserError, match=r"12 of another shape.*scores0.weight is"):
        db.load_weights(pelee.detector(norm=False, num_classes=80), pelee.weights())
    short = {key: value for key, value in pelee.weights().items() if key != "stage3_tb.bias"}
    with pytest.raises(db.UserError, match=r"1 missing \(backbone.*transition3.conv.bias"):
        db.load_weights(pelee.detector(norm=False), short)
    with pytest.raises(db.UserError, match=r"1 unexpected \(stage5_tb.weight\)"):
        db.load_weights(pelee.detector(norm=False), {**pelee.weights(), "stage5_tb.weight": np.zeros((1, 1, 1, 1))})
    theirs = unmerged_weights()[0]
    del theirs["stem1/bn.2"]
    with pytest.raises(db.UserError, match=r"stem1.norm._mean, .*; 2 unexpected \(stem1/bn.0, stem1/bn.1\)"):
        db.load_weights(pelee.detector(), theirs)


def test_arrays_as_opencv_has_them_and_a_network_that_was_never_trained():
    key = "backbone.backbone.features.stemblock.stem1"
    column = convert({"stem1.1": np.ones((4, 1), "float32")})
    assert column[f"{key}.conv.bias"].shape == (4,)
    new = convert({f"stem1/bn.{number}": np.full(1, value, "float32") for number, value in enumerate((3, 4, 0))})
    assert {key: value.tolist() for key, value in new.items()} == {
        f"{key}.norm._mean": [3],
        f"{key}.norm._variance": [4],
    }


def test_the_classifiers_weights_and_the_merged_form():
    with_norm, merged = (db.create_backbone("peleenet", (1,), norm=norm) for norm in (True, False))
    with pytest.raises(db.UserError, match="build yours with norm=False to load it"):
        db.load_weights(with_norm, merged.state_dict())
    with pytest.raises(db.UserError, match="build yours with norm=True to load it"):
        db.load_weights(merged, with_norm.state_dict())
    with pytest.raises(db.UserError, match="not of the layout 'Caffe Pelee-SSD'"):
        db.load_weights(merged, merged.state_dict(), layout="Caffe Pelee-SSD")
    with pytest.raises(db.UserError, match=r"Pelee-SSD304, a detector for BGR images.*; they are not for this HarDNet"):
        db.create_model("hardnet39ds", pretrained=pelee.weights())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"norm": "no"}, "norm is 'no'; here it must be 'bn' or 'gn'"), ({"norm_epsilon": 0}, "norm_epsilon is 0;")],
)
def test_wrong_options(options, words):
    with pytest.raises(db.UserError, match=words):
        db.create_backbone("peleenet", **options)
