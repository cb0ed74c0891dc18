"""Every classifier computes the same as the authors' network with the same weights, layer by layer."""

import numpy as np
import paddle
import pytest
import recipe

import densebone as db

ODD = ("224x224", "256x320", "235x301")
# name of the reference: model, its options, sizes
REFERENCES = {
    **{name: (name, {}, ODD) for name in ("hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85")},
    "peleenet": ("peleenet", {}, ("224x224", "256x320", "304x304")),
    **{f"cdnv2_{v}": (f"condensenetv2_{v}", {"form": "learned"}, ("224x224",)) for v in "abc"},
    **{f"cdnv2_{v}_converted": (f"condensenetv2_{v}", {}, ("224x224", "256x320")) for v in "abc"},
}
RUNS = [(name, size) for name, (_, _, sizes) in REFERENCES.items() for size in sizes]
# Rounding errors are larger here: densebone's network in float64 is 5e-4 standard deviations from theirs in float32.
ILL_CONDITIONED = {("cdnv2_c_converted", "256x320"): 2e-3}


def test_every_model_has_a_reference():
    elsewhere = {"hardnet70", "fchardnet70", "centernet_hardnet85", "centernet_hardnet85_base"}  # tests/necks
    assert {model for model, _, _ in REFERENCES.values()} | elsewhere == set(db.list_models())
    files = {p.stem for p in (recipe.DATA / "reference").glob("*x*.json")}
    runs = {f"{name}_{size}" for name, size in RUNS}
    files = {name for name in files if not name.startswith(("fchardnet70_", "centernet_hardnet85_"))}
    assert files == runs | {"peleenet_304x304_ceil"} | {f"cdnv2_{v}_224x224_after_conversion" for v in "abc"}


@pytest.fixture(scope="module", params=REFERENCES)
def loaded(request):
    name = request.param
    weights = recipe.weights(name)
    assert recipe.digest(weights) == recipe.description(name)["weights_sha256"][recipe.SALT]
    model, options, _ = REFERENCES[name]
    net = db.create_model(model, pretrained=weights, **options)
    net.eval()
    return name, net


def run(net, about, logits_of=None):
    """(logits, {name: output} of every layer) on the reference's image."""
    maps = {}
    hooks = [
        layer.register_forward_post_hook(lambda _, __, out, name=name: maps.update({name: out.numpy()}))
        for name, layer in net.named_sublayers()
    ]
    x = paddle.to_tensor(recipe.image(about["input_shape"]))
    with paddle.no_grad():
        logits = (logits_of or net)(x).numpy()
    for hook in hooks:
        hook.remove()
    return logits, maps


def check(name, value, feature, arrays, tolerance=recipe.TOLERANCE):
    """The map has the reference's shape and, at the stored positions, the reference's values."""
    assert list(value.shape) == feature["shape"], name
    difference = value.ravel()[arrays[f"idx:{name}"]] - arrays[f"val:{name}"]
    assert np.abs(difference).max() <= tolerance * feature["std"], name


def test_logits_and_every_map(loaded):
    name, net = loaded
    for size in REFERENCES[name][2]:
        about, arrays = recipe.outputs(name, size)
        converted = name.endswith("_converted")
        # the authors' converted network pools only the first 7x7 positions, whatever the size
        logits, maps = run(
            net, about, (lambda x: net.forward_head(net.forward_features(x)[..., :7, :7])) if converted else None
        )
        tolerance = ILL_CONDITIONED.get((name, size), recipe.TOLERANCE)
        assert np.abs(logits - arrays["logits"]).max() <= tolerance * about["output"]["std"]
        for feature in about["features"]:
            if not (converted and feature["name"] in ("features.norm_last", "features.relu_last")) or size == "224x224":
                check(feature["name"], maps[feature["name"]], feature, arrays, tolerance)


def test_peleenet_with_pools_that_round_up():
    about, arrays = recipe.outputs("peleenet", "304x304_ceil")
    net = db.create_model("peleenet", pretrained=recipe.weights("peleenet"), ceil_mode=True)
    net.eval()
    logits, maps = run(net, about)
    assert np.abs(logits - arrays["logits"]).max() <= recipe.TOLERANCE * about["output"]["std"]
    for feature in about["features"]:
        check(feature["name"], maps[feature["name"]], feature, arrays)


@pytest.mark.parametrize("variant", "abc")
def test_condense_gives_the_logits_of_the_authors_converter(variant):
    about, arrays = recipe.outputs(f"cdnv2_{variant}", "224x224_after_conversion")
    learned = db.create_model(f"condensenetv2_{variant}", pretrained=recipe.weights(f"cdnv2_{variant}"), form="learned")
    learned.eval()
    net = db.condense(learned)
    index = {key: value for key, value in recipe.weights(f"cdnv2_{variant}_converted").items() if key.endswith("index")}
    for key, value in index.items():  # the recipe's masks and indices name the same channels
        assert np.array_equal(net.state_dict()[key].numpy(), value if value.ndim == 1 else value.argmax(1)), key
    logits, _ = run(net, about)
    assert np.abs(logits - arrays["logits"]).max() <= recipe.TOLERANCE * about["output"]["std"]
    assert np.abs(logits - run(learned, about)[0]).max() <= 1e-4 * np.abs(logits).max()


def test_backbone_returns_the_last_map_of_each_stride(loaded):
    name, net = loaded
    model, options, sizes = REFERENCES[name]
    about, arrays = recipe.outputs(name, sizes[-1])
    backbone = db.create_backbone(model, out_indices=(0, 1, 2, 3, 4), pretrained=net.state_dict(), **options)
    backbone.eval()
    last = [feature for feature in about["features"] if feature["last_at_stride"]]
    with paddle.no_grad():
        maps = backbone(paddle.to_tensor(recipe.image(about["input_shape"])))
    assert backbone.strides == [feature["stride"] for feature in last]
    for feature, m in zip(last, maps, strict=True):
        check(feature["name"], m.numpy(), feature, arrays, ILL_CONDITIONED.get((name, sizes[-1]), recipe.TOLERANCE))


def test_keys_shapes_and_parameters_are_the_official_ones(loaded):
    name, net = loaded
    leaf = {"running_mean": "_mean", "running_var": "_variance"}
    official = {}
    for key, shape, _ in recipe.description(name)["state_dict"]:
        prefix, _, last = key.rpartition(".")
        if last != "num_batches_tracked":
            is_matrix = last in ("weight", "index") and len(shape) == 2
            official[f"{prefix}.{leaf.get(last, last)}"] = shape[::-1] if is_matrix else shape
            if is_matrix and last == "index":  # densebone stores the positions of the ones
                official[key] = shape[:1]
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == official
    assert list(ours) == list(official)
    trainable = sum(int(p.size) for p in net.parameters() if not p.stop_gradient)
    assert trainable == recipe.description(name)["parameters"]
