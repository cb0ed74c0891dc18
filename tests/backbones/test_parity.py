"""Every classifier computes what the authors' network computes, on the same weights, layer by layer."""

import numpy as np
import paddle
import pytest
import recipe

import densebone as db

SIZES = ("224x224", "256x320", "235x301")
MODELS = tuple(db.list_models())


@pytest.fixture(scope="module", params=MODELS)
def loaded(request):
    model = request.param
    weights = recipe.weights(model)
    assert recipe.digest(weights) == recipe.description(model)["weights_sha256"][recipe.SALT]
    net = db.create_model(model, pretrained=weights)
    net.eval()
    return model, net


def test_every_model_has_a_reference():
    assert sorted(p.stem for p in (recipe.DATA / "reference").glob("*.json") if "x" not in p.stem) == sorted(MODELS)


@pytest.mark.parametrize("size", SIZES)
def test_logits_and_every_map(loaded, size):
    model, net = loaded
    about, arrays = recipe.outputs(model, size)
    maps = {}
    hooks = [
        layer.register_forward_post_hook(lambda _, __, out, key=f"base.{i}": maps.update({key: out.numpy()}))
        for i, layer in enumerate(net.base)
    ]
    with paddle.no_grad():
        logits = net(paddle.to_tensor(recipe.image(about["input_shape"]))).numpy()
    for hook in hooks:
        hook.remove()
    assert np.abs(logits - arrays["logits"]).max() <= recipe.TOLERANCE * about["output"]["std"]
    for feature in about["features"]:
        name = feature["name"]
        assert list(maps[name].shape) == feature["shape"]
        difference = maps[name].ravel()[arrays[f"idx:{name}"]] - arrays[f"val:{name}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], name


@pytest.mark.parametrize("model", MODELS)
def test_backbone_returns_the_last_map_of_each_stride(model):
    about, arrays = recipe.outputs(model, "235x301")
    backbone = db.create_backbone(model, out_indices=(0, 1, 2, 3, 4), pretrained=recipe.weights(model))
    backbone.eval()
    last = [feature for feature in about["features"] if feature["last_at_stride"]]
    with paddle.no_grad():
        maps = backbone(paddle.to_tensor(recipe.image(about["input_shape"])))
    assert [list(m.shape) for m in maps] == [feature["shape"] for feature in last]
    assert backbone.strides == [feature["stride"] for feature in last]
    for feature, m in zip(last, maps):
        name = feature["name"]
        difference = m.numpy().ravel()[arrays[f"idx:{name}"]] - arrays[f"val:{name}"]
        assert np.abs(difference).max() <= recipe.TOLERANCE * feature["std"], name


@pytest.mark.parametrize("model", MODELS)
def test_keys_shapes_and_parameters_are_the_official_ones(model):
    net = db.create_model(model)
    leaf = {"running_mean": "_mean", "running_var": "_variance"}
    official = {}
    for key, shape, _ in recipe.description(model)["state_dict"]:
        prefix, _, name = key.rpartition(".")
        if name != "num_batches_tracked":
            is_linear = name == "weight" and len(shape) == 2
            official[f"{prefix}.{leaf.get(name, name)}"] = shape[::-1] if is_linear else shape
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == official
    assert list(ours) == list(official)
    trainable = sum(int(p.size) for p in net.parameters() if not p.stop_gradient)
    assert trainable == recipe.description(model)["parameters"]
