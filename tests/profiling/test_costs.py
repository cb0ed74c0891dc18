"""Costs of networks equal those counted on the authors' networks, and a case computed by hand."""

import paddle
import pytest
import recipe
from cost import count
from paddle import nn

import densebone as db
from densebone.profiling import costs
from densebone.profiling.costs import profile, profile_all, published_top1

OFFICIAL = {
    "hardnet39ds": "hardnet39ds",
    "hardnet68ds": "hardnet68ds",
    "hardnet68": "hardnet68",
    "hardnet85": "hardnet85",
    "peleenet": "peleenet",
    "fchardnet70": "fchardnet70",
    "centernet_hardnet85": "centernet_hardnet85",
    **{f"condensenetv2_{v}": f"cdnv2_{v}_converted" for v in "abc"},
}


@pytest.mark.parametrize("model", OFFICIAL)
def test_every_network_costs_what_the_official_one_does(model):
    about = recipe.description(OFFICIAL[model])
    net = db.create_model(model)
    for official in about["cost"]:
        costs = profile(net, official["input"][2:])
        calls = sum(layer.calls for layer in costs.layers if layer.cio)
        assert costs.input_shape == tuple(official["input"])
        assert (costs.parameters, costs.macs, costs.cio, calls) == (
            about["parameters"], official["macs"], official["cio"], official["conv_calls"],
        )  # fmt: skip


@pytest.mark.parametrize("variant", "abc")
def test_the_learned_form_costs_what_the_official_one_does(variant):
    about = recipe.description(f"cdnv2_{variant}")
    costs = profile(db.create_model(f"condensenetv2_{variant}", form="learned"))
    (official,) = about["cost"]
    assert (costs.parameters, costs.macs, costs.cio) == (about["parameters"], official["macs"], official["cio"])


class Small(nn.Layer):
    """A convolution that runs twice, a transposed, a depthwise and a padded one, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2D(3, 3, 3, padding=1)
        self.up = nn.Conv2DTranspose(3, 6, 2, stride=2, bias_attr=False)
        self.depthwise = nn.Conv2D(6, 6, 3, stride=2, padding="SAME", groups=6)
        self.dilated = nn.Conv2D(6, 4, (1, 3), dilation=2, padding=[0, 0, 1, 2], bias_attr=False)
        self.norm = nn.BatchNorm2D(4)
        self.linear = nn.Linear(4, 10)

    def forward(self, x):
        x = self.dilated(self.depthwise(self.up(self.shared(self.shared(x)))))
        return self.linear(self.norm(x).mean([2, 3]))


def test_a_small_network_by_hand():
    costs = profile(Small(), (5, 8), batch=2, precision="bf16", balance=3)
    shared, up, depthwise, dilated, linear = costs.layers
    assert [layer.name for layer in costs.layers] == ["shared", "up", "depthwise", "dilated", "linear"]
    assert [layer.kind for layer in costs.layers] == [
        "conv 3x3", "transposed 2x2", "depthwise 3x3", "conv 1x3", "linear",
    ]  # fmt: skip
    assert (shared.calls, shared.parameters) == (2, 3 * 3 * 9 + 3)
    assert (shared.macs, shared.cio) == (2 * 2 * 5 * 8 * 3 * 3 * 9, 2 * 2 * 2 * 3 * 5 * 8)
    assert (up.input_shape, up.output_shape) == ((2, 3, 5, 8), (2, 6, 10, 16))
    assert (up.macs, up.cio) == (2 * 3 * 5 * 8 * 6 * 4, 2 * (3 * 5 * 8 + 6 * 10 * 16))
    assert (depthwise.output_shape, depthwise.macs) == ((2, 6, 5, 8), 2 * 6 * 5 * 8 * 9)
    assert (dilated.output_shape, dilated.macs) == ((2, 4, 5, 7), 2 * 4 * 5 * 7 * 6 * 3)
    assert (linear.macs, linear.cio, linear.moc, linear.parameters) == (2 * 40, 0, None, 50)
    assert linear.activation_bytes == 2 * 2 * 14
    assert (shared.weight_bytes, linear.weight_bytes) == (2 * 2 * 84, 2 * 50)
    assert linear.intensity == pytest.approx(2 * 80 / (56 + 100))
    assert (shared.moc, shared.intensity) == (13.5, pytest.approx(2 * shared.macs / (960 * 2 + 336)))
    assert costs.memory_bound == [layer for layer in costs.layers if layer.intensity < 3]
    assert (costs.parameters, costs.other_parameters) == (84 + 72 + 60 + 72 + 8 + 50, 8)
    assert costs.moc == (costs.macs - 80) / costs.cio
    assert costs.intensity == pytest.approx(2 * costs.macs / (costs.activation_bytes + costs.weight_bytes))


@pytest.mark.parametrize("size", [(32, 32), (97, 65)])
def test_costs_are_those_of_a_forward_pass_and_the_network_stays_as_it_was(size):
    net = db.create_model("peleenet")
    net.features.denseblock1.eval()
    modes = [layer.training for layer in net.sublayers(include_self=True)]
    state = {key: value.numpy().tobytes() for key, value in net.state_dict().items()}
    costs = profile(net, size)
    assert [layer.training for layer in net.sublayers(include_self=True)] == modes
    assert {key: value.numpy().tobytes() for key, value in net.state_dict().items()} == state
    assert not any("forward" in vars(layer) or layer._forward_post_hooks for layer in net.sublayers())
    net.eval()
    assert count(net, paddle.zeros([1, 3, *size])) == (costs.macs, costs.cio)


def test_a_batch_is_what_a_batch_costs():
    net = db.create_backbone("hardnet39ds", out_indices=(0, 1), in_channels=1)
    net.eval()
    costs = profile(net, (64, 32), batch=3)
    assert costs.input_shape == (3, 1, 64, 32)
    assert count(net, paddle.zeros([3, 1, 64, 32])) == (costs.macs, costs.cio)
    one = profile(net, (64, 32))
    assert (costs.activation_bytes, costs.weight_bytes) == (3 * one.activation_bytes, one.weight_bytes)
    assert costs.intensity > one.intensity


def test_all_classifiers_have_published_accuracy(monkeypatch):
    monkeypatch.setattr("densebone.registry.MODELS", {k: v for k, v in db.registry.MODELS.items() if "pelee" in k})
    (row,) = profile_all(input_size=(64, 64), batch=2)
    assert (row["name"], row["top1"], row["weights"]) == ("peleenet", 72.08, "peleenet.official")
    assert (row["layers"], row["input_shape"]) == (114, (2, 3, 64, 64))


def test_published_accuracy():
    assert published_top1("hardnet68") == (76.5, "hardnet68.official")
    assert published_top1("condensenetv2_c") == (75.87, "condensenetv2_c.ppim")
    assert published_top1("fchardnet70") == (None, None)
    assert published_top1("centernet_hardnet85_base") == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 224}, r"input_size is \(224,\); give height and width"),
        ({"input_size": (224, 0)}, "give height and width"),
        ({"input_size": (8, 224)}, "input is 8 x 224 pixels"),
        ({"batch": 0}, "batch is 0; give the number of images"),
        ({"precision": "fp8"}, "precision is 'fp8'; give one of fp32, bf16, fp16, int8"),
        ({"balance": 0}, "balance is 0; give the machine's FLOP per byte"),
    ],
)
def test_what_cannot_be_counted_is_said(options, message):
    with pytest.raises(db.UserError, match=message):
        profile("hardnet39ds", **options)


def test_networks_without_counted_layers_are_refused():
    with pytest.raises(db.UserError, match="ReLU holds no convolution"):
        profile(nn.ReLU())
    with pytest.raises(db.UserError, match="there is no model 'hardnet67'"):
        profile("hardnet67")

    class Keyword(nn.Layer):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(input=x.mean([2, 3]))

    with pytest.raises(db.UserError, match="linear gets its input by keyword"):
        profile(Keyword())


def test_the_default_balance_is_the_documented_one():
    page = (recipe.DATA.parents[1] / "docs" / "profiling.md").read_text()
    assert f"{costs.BALANCE:g} FLOP per byte" in page
