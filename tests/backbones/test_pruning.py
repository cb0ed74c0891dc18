"""Pruning by hand, its bookkeeping, and mistakes that users make."""

import math

import numpy as np
import paddle
import pytest
import recipe
import tiny
import tiny_condense
from paddle import nn
from tiny_condense import build, masks

import densebone as db
from densebone.backbones.pruning import (
    LearnedGroupConv,
    LearnedReactivation,
    lasso_loss,
    learned_convs,
    pruning_stage,
    set_progress,
)

KINDS = {"lgc": LearnedGroupConv, "sfr": LearnedReactivation}
FIRST = "features.denseblock_1.denselayer_1.conv_1"


@pytest.mark.parametrize(
    "factor, starts",
    [
        (2, [0, 1 / 2]),
        (4, [0, 1 / 6, 1 / 3, 1 / 2]),
        (6, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (8, [0, 1 / 14, 1 / 7, 3 / 14, 2 / 7, 5 / 14, 3 / 7, 1 / 2]),
    ],
)
def test_a_stage_starts_exactly_at_its_share_of_training(factor, starts):
    assert [pruning_stage(start, factor) for start in starts] == list(range(factor))
    assert [pruning_stage(math.nextafter(start, 0), factor) for start in starts[1:]] == list(range(factor - 1))
    assert pruning_stage(1, factor) == pruning_stage(0.75, factor) == factor - 1


@pytest.mark.parametrize("factor", [4, 6, 8])
def test_a_stage_starts_at_the_step_that_reaches_its_share(factor):
    """Progress is (epoch * steps + step) / all steps. Rounding errors make no stage start a step late or early."""
    steps = 2 * (factor - 1) * 10
    assert [pruning_stage(i / steps, factor) for i in range(steps // 2 + 1)] == [i // 10 for i in range(steps // 2 + 1)]


# By hand: 4 channels, 2 groups. Pruning looks for learned convolutions below a layer, so each is put into one.


def learned(kind, weight, groups):
    """(the layer that holds it, a learned convolution with this weight)."""
    weight = np.array(weight, "float32")
    layer = KINDS[kind](weight.shape[1], weight.shape[0], groups, nn.Identity())
    layer.conv.weight.set_value(weight[..., None, None])
    return nn.Sequential(layer), layer


def mask(layer):
    return layer._mask.numpy()[:, :, 0, 0].tolist()


WEIGHT = [
    [1, -2, 3, 4],
    [5, 1, -1, 2],
    [1, 2, 0, -4],
    [0, -1, 3, 2],
]


def test_lgc_by_hand():
    """The columns' sums are 2 4 3 8 over rows 0 and 2, and 5 2 4 4 over rows 1 and 3."""
    holder, layer = learned("lgc", WEIGHT, 2)
    set_progress(holder, 0.49)
    assert mask(layer) == [[1, 1, 1, 1]] * 4 and (float(layer._stage), float(layer._count)) == (0, 0)
    set_progress(holder, 0.5)
    assert mask(layer) == [[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]]
    assert (float(layer._stage), float(layer._count)) == (1, 2)
    assert layer.alive().tolist() == [[False, True, False, True], [True, False, False, True]]


def test_sfr_by_hand():
    """The rows' sums are 4 6 1 3 over columns 0 and 2, and 6 3 6 3 over columns 1 and 3."""
    holder, layer = learned("sfr", WEIGHT, 2)
    set_progress(holder, 0.5)
    assert mask(layer) == [[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert (float(layer._stage), float(layer._count)) == (1, 2)
    assert layer.alive().tolist() == [[True, True, False, False], [True, False, True, False]]


@pytest.mark.parametrize("kind", KINDS)
def test_of_equal_sums_the_lower_number_goes_first(kind):
    holder, layer = learned(kind, np.full((64, 64), 0.1), 4)
    for stage, progress in enumerate((0, 1 / 6, 1 / 3, 1 / 2)):
        set_progress(holder, progress)
        assert layer.alive().tolist() == [[False] * 16 * stage + [True] * (64 - 16 * stage)] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lost_stays_lost(kind):
    row = [3, 1, 2, 1, 5, 4]
    weight = [row, row[::-1], row]
    weight = weight if kind == "lgc" else np.transpose(weight)
    holder, layer = learned(kind, weight, 3)
    set_progress(holder, 0.25)
    assert layer.alive().astype(int).tolist() == [[1, 0, 1, 0, 1, 1], [1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 1]]
    # now the dropped ones would be the largest, and 5 and 4 the smallest
    after = np.where(np.array(weight) == 1, 100, 6 - np.array(weight)).astype("float32")
    layer.conv.weight.set_value(after[..., None, None])
    set_progress(holder, 0.4)
    assert layer.alive().sum() == 12  # still of the same stage
    set_progress(holder, 0.5)
    assert layer.alive().astype(int).tolist() == [[1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1], [1, 0, 1, 0, 0, 0]]
    assert (float(layer._stage), float(layer._count)) == (2, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_that_differs_within_a_group_is_refused(kind):
    holder, layer = learned(kind, WEIGHT, 2)
    broken = np.ones((4, 4, 1, 1), "float32")
    broken[0, 0] = 0
    layer._mask.set_value(broken)
    with pytest.raises(db.UserError, match="its mask differs within a group"):
        set_progress(holder, 0.5)


# The whole network: 4 groups, so stages start at 1/6, 1/3 and 1/2.


def books(net):
    """{name: (stage, count, alive weights)} of every learned convolution."""
    return {
        name: (float(c._stage), float(c._count), int(c._mask.numpy().sum())) for name, c in learned_convs(net).items()
    }


@pytest.mark.parametrize("progress, stage", [(0, 0), (0.16, 0), (1 / 6, 1), (0.4, 2), (0.5, 3), (0.8, 3), (1, 3)])
def test_every_convolution_keeps_its_share(progress, stage):
    net = build("learned")
    net.set_progress(progress)
    convs = learned_convs(net)
    assert len(convs) == 2 * sum(tiny_condense.TINY.layers)
    for name, got in books(net).items():
        out_channels, in_channels = convs[name]._mask.shape[:2]
        lines = out_channels if name.endswith(".sfr") else in_channels
        assert got == (stage, stage * lines // 4, out_channels * in_channels * (4 - stage) // 4), name
        assert (convs[name].alive().sum(1) == lines * (4 - stage) // 4).all()


def test_a_jump_over_several_stages_prunes_as_much_as_step_by_step():
    jumped, stepped = build("learned"), build("learned")
    jumped.set_progress(0.7)
    for progress in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        stepped.set_progress(progress)
    assert books(jumped) == books(stepped)
    for key, value in masks(stepped).items():  # the weights did not move between the steps
        assert np.array_equal(masks(jumped)[key], value), key


def test_from_one_half_on_nothing_changes_any_more():
    net = build("learned")
    net.set_progress(0.5)
    before = tiny.snapshot(net)
    for progress in (0.5, 0.6, 1.0):
        net.set_progress(progress)
        assert tiny.changed(before, net) == set()


def test_the_same_progress_again_and_every_step_of_training():
    net = build("learned")
    for i in range(61):
        net.set_progress(i / 60)
        net.set_progress(i / 60)
        assert {stage for stage, _, _ in books(net).values()} == {pruning_stage(i / 60, 4)}


def test_a_layer_that_holds_a_network_passes_the_progress_on():
    net = build("learned")
    set_progress(nn.Sequential(nn.Identity(), net), 0.5)
    assert {stage for stage, _, _ in books(net).values()} == {3}
    set_progress(tiny.build(), 0.5)  # nothing to prune, nothing to say


def test_pruning_starts_no_gradient_and_needs_none():
    net = build("learned")
    net.train()
    loss = tiny.loss_of(net(tiny.images()))
    net.set_progress(0.5)  # between the two passes
    loss.backward()
    for name, conv in learned_convs(net).items():
        assert conv._mask.stop_gradient and not conv.conv.weight.stop_gradient, name


def test_what_the_mask_hides_neither_shows_nor_learns():
    net = tiny_condense.pruned(progress=0.2)
    x = tiny.images()
    expected = net(x).numpy()
    for conv in learned_convs(net).values():
        hidden = conv._mask.numpy() == 0
        assert hidden.mean() == 0.25
        conv.conv.weight.set_value(np.where(hidden, np.float32(1e6), conv.conv.weight.numpy()))
    assert np.array_equal(net(x).numpy(), expected)
    _, gradients = tiny.step(net, x)
    for name, conv in learned_convs(net).items():
        gradient = gradients[f"{name}.conv.weight"]
        assert gradient.any() and not gradient[conv._mask.numpy() == 0].any(), name


# Mistakes that users make.


@pytest.mark.parametrize("progress", [-0.1, 1.1, "x", None, math.nan, math.inf, True, [0.5]], ids=str)
def test_progress_out_of_range(progress):
    net = build("learned")
    before = tiny.snapshot(net)
    with pytest.raises(
        db.UserError, match=r"^progress is .*; it must be a number from 0 \(start of training\) to 1 \(its"
    ):
        net.set_progress(progress)
    assert tiny.changed(before, net) == set()


@pytest.mark.parametrize("progress", [np.float64(0.5), np.float32(0.5), 1, np.int64(1)], ids=repr)
def test_progress_of_any_kind_of_number(progress):
    net = build("learned")
    net.set_progress(progress)
    assert {stage for stage, _, _ in books(net).values()} == {3}


@pytest.mark.parametrize(
    "reached, progress",
    [(0.5, 0.49), (0.4, 0.2), (0.2, 0), (0.5, 0)],
)
def test_progress_never_falls_below_what_was_pruned(reached, progress):
    net = build("learned")
    net.set_progress(reached)
    before = tiny.snapshot(net)
    with pytest.raises(
        db.UserError, match=f"^progress {progress} goes backwards: {FIRST} has been pruned for "
    ) as error:
        net.set_progress(progress)
    assert "\n" not in str(error.value)
    assert tiny.changed(before, net) == set()
    net.set_progress(reached)


def test_keys_of_the_state_dict_are_the_official_ones():
    ours = list(db.create_model("condensenetv2_a", form="learned").state_dict())
    names = {"running_mean": "_mean", "running_var": "_variance"}
    official = [key.rpartition(".") for key, _, _ in recipe.description("cdnv2_a")["state_dict"]]
    assert ours == [
        f"{prefix}.{names.get(leaf, leaf)}" for prefix, _, leaf in official if leaf != "num_batches_tracked"
    ]


@pytest.mark.parametrize("progress", [0.3, 0.4, 0.7])
def test_a_new_network_goes_on_from_a_checkpoint(progress):
    """The state dict has all that pruning depends on."""
    saved = build("learned")
    saved.set_progress(0.3)
    again = build("learned", seed=1)
    again.set_state_dict(saved.state_dict())
    saved.set_progress(progress)
    again.set_progress(progress)
    assert books(again) == books(saved)
    for key, value in masks(saved).items():
        assert np.array_equal(masks(again)[key], value), key


@pytest.mark.parametrize(
    "load", [lambda net, state: net.set_state_dict(state), db.load_weights], ids=["paddle", "ours"]
)
@pytest.mark.parametrize("saved, reached", [(0.1, 0.4), (0.2, 0.9), (0.2, 0.3), (0.6, 0.9)])
def test_a_network_goes_back_to_an_earlier_checkpoint(saved, reached, load):
    net = build("learned")
    net.set_progress(saved)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.set_progress(reached)
    load(net, state)
    assert {stage for stage, _, _ in books(net).values()} == {pruning_stage(saved, 4)}
    net.set_progress(saved)
    net.set_progress(reached)
    assert {stage for stage, _, _ in books(net).values()} == {pruning_stage(reached, 4)}


def test_a_checkpoint_of_a_later_stage_does_not_go_back():
    later, net = tiny_condense.pruned(progress=0.4), build("learned")
    net.set_state_dict(later.state_dict())
    with pytest.raises(
        db.UserError, match=f"^progress 0.3 goes backwards: {FIRST} has been pruned for 0.3333, and what "
    ):
        net.set_progress(0.3)


# The group-lasso term.


def lasso_by_hand(conv):
    """The sum over groups and lines of a line's Euclidean length in the group, but at least 0.001 each."""
    weight = (conv.conv.weight * conv._mask).numpy()[:, :, 0, 0].astype("float64")
    if isinstance(conv, LearnedReactivation):
        weight = weight.T  # columns are output channels now, rows input channels
    return sum(
        math.sqrt(max(sum(weight[row, line] ** 2 for row in range(group, len(weight), conv.groups)), 1e-6))
        for group in range(conv.groups)
        for line in range(weight.shape[1])
    )


def test_lasso_of_small_numbers():
    _, layer = learned("lgc", WEIGHT, 2)
    rows_0_2 = math.sqrt(2) + math.sqrt(8) + 3 + math.sqrt(32)
    rows_1_3 = 5 + math.sqrt(2) + math.sqrt(10) + math.sqrt(8)
    assert float(layer.lasso_loss()) == pytest.approx(rows_0_2 + rows_1_3, rel=1e-6)
    _, layer = learned("sfr", WEIGHT, 2)
    columns_0_2 = math.sqrt(10) + math.sqrt(26) + 1 + 3
    columns_1_3 = math.sqrt(20) + math.sqrt(5) + math.sqrt(20) + math.sqrt(5)
    assert float(layer.lasso_loss()) == pytest.approx(columns_0_2 + columns_1_3, rel=1e-6)


@pytest.mark.parametrize("progress", [0, 0.2, 0.4])
def test_lasso_by_hand(progress):
    net = build("learned")
    net.set_progress(progress)
    loss = net.lasso_loss()
    assert loss.shape == [] and loss.numpy().dtype == "float32"
    assert float(loss) == pytest.approx(sum(lasso_by_hand(c) for c in learned_convs(net).values()), rel=1e-5)
    assert float(lasso_loss(nn.Sequential(net))) == float(loss)


def test_the_gradient_of_the_lasso_is_finite_and_only_where_something_is_alive():
    net = build("learned")
    net.set_progress(0.2)
    first = learned_convs(net)[FIRST]
    first.conv.weight.set_value(paddle.zeros_like(first.conv.weight))
    net.lasso_loss().backward()
    gradients = {key: p.grad.numpy() for key, p in net.named_parameters() if p.grad is not None}
    assert set(gradients) == {f"{name}.conv.weight" for name in learned_convs(net)}
    for name, conv in learned_convs(net).items():
        gradient = gradients[f"{name}.conv.weight"]
        assert np.isfinite(gradient).all()
        assert np.array_equal(gradient != 0, (conv._mask * conv.conv.weight).numpy() != 0), name


def test_no_lasso_once_all_is_pruned():
    net = build("learned")
    net.set_progress(0.5)
    loss = net.lasso_loss()
    assert loss.shape == [] and float(loss) == 0
    total = tiny.loss_of(net(tiny.images()))
    assert float(total + loss) == float(total)
    assert float(lasso_loss(tiny.build())) == 0
