"""Pruning by hand, its bookkeeping, and mistakes that users make."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import paddle
import pytest
import recipe
import tiny
import tiny_condense
import train_learned
from paddle import nn
from tiny_condense import build

import densebone as db
from densebone.backbones import pruning
from densebone.backbones.condensing import condense_arrays
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


def masks(net):
    return {key: value for key, value in tiny_condense.arrays(net).items() if key.endswith("._mask")}


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


# The callback of paddle.Model.


@pytest.fixture
def rows(monkeypatch):
    """A list of (progress, stages after it), one for each call of set_progress."""
    rows = []

    def spy(layer, progress):
        set_progress(layer, progress)
        rows.append((progress, {int(c._stage) for c in learned_convs(layer).values()}))

    monkeypatch.setattr(pruning, "set_progress", spy)
    return rows


def fit(net, epochs, callback, steps=5):
    """Trains on `steps` batches of 2 pictures in each epoch."""
    pictures = tiny.images((2 * steps, 3, 32, 32))
    data = paddle.io.TensorDataset([pictures, paddle.arange(2 * steps) % 5])
    model = paddle.Model(net)
    model.prepare(paddle.optimizer.SGD(0.01, parameters=net.parameters()), nn.CrossEntropyLoss())
    model.fit(data, epochs=epochs, batch_size=2, verbose=0, callbacks=[callback])


def expected_rows(first, last, epochs, steps=5):
    progress = [(epoch + step / steps) / epochs for epoch in range(first, last) for step in range(steps)]
    return [(p, {pruning_stage(p, 4)}) for p in progress]


def test_fit_prunes_as_it_goes(rows):
    net = build("learned")
    fit(net, 4, db.PruningProgress())
    assert rows == expected_rows(0, 4, 4)
    assert [stages for _, stages in rows[:11]] == [{0}] * 4 + [{1}] * 3 + [{2}] * 3 + [{3}]
    db.condense(net)


def test_a_second_fit_goes_on_where_the_first_ended(rows):
    net = build("learned")
    fit(net, 1, db.PruningProgress(epochs=4))
    fit(net, 3, db.PruningProgress(epochs=4, first_epoch=1))
    assert rows == expected_rows(0, 4, 4)


def test_a_second_fit_knows_the_epochs_of_both(rows):
    fit(build("learned"), 3, db.PruningProgress(first_epoch=1))
    assert rows == expected_rows(1, 4, 4)


def test_a_second_fit_that_starts_from_zero_is_refused():
    net = build("learned")
    fit(net, 2, db.PruningProgress())
    with pytest.raises(db.UserError, match=r"^progress 0 goes backwards: "):
        fit(net, 2, db.PruningProgress())


def test_a_data_set_of_unknown_length_is_refused():
    class Stream(paddle.io.IterableDataset):
        def __iter__(self):
            yield np.zeros((3, 32, 32), "float32"), np.zeros((), "int64")

    net = build("learned")
    model = paddle.Model(net)
    model.prepare(paddle.optimizer.SGD(0.01, parameters=net.parameters()), nn.CrossEntropyLoss())
    with pytest.raises(db.UserError, match=r"^PruningProgress needs a data set of known length, "):
        model.fit(paddle.io.DataLoader(Stream()), verbose=0, callbacks=[db.PruningProgress()])


# Real training, in separate processes (tests/helpers/train_learned.py).

EPOCHS, STEPS = 12, 8


def start(out, *arguments, launcher=()):
    """Starts the training in its own process group; its output can be read line by line."""
    command = [sys.executable, *launcher, train_learned.__file__, out, "--steps", STEPS, *arguments]
    return subprocess.Popen(
        [str(part) for part in command], cwd=out, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=(out / "stderr.txt").open("a"), start_new_session=True,
    )  # fmt: skip


def finish(process, out, limit=300):
    """The remaining lines of JSON that the process prints; fails unless it exits with status 0."""
    try:
        printed, _ = process.communicate(timeout=limit)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed + (out / "stderr.txt").read_text()
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def final(out, name="final_0"):
    with np.load(out / f"{name}.npz") as arrays:
        return dict(arrays)


def masks_of(arrays):
    return {key: value for key, value in arrays.items() if key.endswith("._mask")}


def check_training(rows, out, epochs):
    """There is a row per epoch; pruning is on time and leaves exactly 1 / groups; condensing keeps the logits."""
    assert [row["epoch"] for row in rows] == list(range(epochs))
    stages = [pruning_stage((epoch + (STEPS - 1) / STEPS) / epochs, 4) for epoch in range(epochs)]
    assert [row["alive"] for row in rows] == [1 - stage / 4 for stage in stages]
    arrays = final(out)
    net = train_learned.build()
    db.load_weights(net, arrays)
    net.eval()
    convs = learned_convs(net)
    assert len(convs) == 2 * sum(train_learned.VARIANT.layers)
    for name, conv in convs.items():
        assert (conv.alive().sum(1) * 4 == conv.alive().shape[1]).all(), name
        assert set(np.unique(arrays[f"{name}._mask"])) == {0, 1}
        assert arrays[f"{name}._mask"].mean() == 1 / 4, name
    condensed = db.condense(net)
    for key, value in condense_arrays(arrays).items():
        assert np.array_equal(condensed.state_dict()[key].numpy(), value), key
    pictures, labels = train_learned.data(64, seed=1)  # not the training images
    logits, same = (n(paddle.to_tensor(pictures)).numpy() for n in (net, condensed))
    assert np.abs(same - logits).max() < 1e-4 * np.abs(logits).max()
    return (logits.argmax(1) == labels).mean()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(rows, folder) of an uninterrupted training."""
    out = tmp_path_factory.mktemp("trained")
    return finish(start(out, "--epochs", EPOCHS), out), out


def test_training_prunes_on_time_and_learns(trained):
    rows, out = trained
    accuracy = check_training(rows, out, EPOCHS)
    losses = [row["loss"] for row in rows]
    assert max(losses[-3:]) < 0.75 * losses[0]
    assert accuracy > 0.5  # 0.25 by chance


def test_what_is_kept_was_learned(trained):
    _, out = trained
    learned = masks_of(final(out))
    net = train_learned.build()
    net.set_progress(0.5)  # the same weights, untrained
    for key, mask in learned.items():
        groups = mask[:4] if key.endswith("conv_1._mask") else mask[:, :4].transpose(1, 0, 2, 3)
        assert len({group.tobytes() for group in groups}) > 1, key  # groups keep different lines
    assert sum(not np.array_equal(masks(net)[key], mask) for key, mask in learned.items()) > len(learned) / 2


def test_a_killed_training_resumes_to_the_same_masks(trained, tmp_path):
    rows, out = trained
    process = start(tmp_path, "--epochs", EPOCHS)
    printed = []
    for line in process.stdout:
        printed.append(json.loads(line))
        if printed[-1]["epoch"] == EPOCHS // 2 - 2:  # one pruning is still to come
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL, (tmp_path / "stderr.txt").read_text()
    assert not list(tmp_path.glob("final*")) and printed[-1]["alive"] == 0.5
    resumed = finish(start(tmp_path, "--epochs", EPOCHS, "--resume"), tmp_path)
    assert printed[-1]["epoch"] < resumed[0]["epoch"] < EPOCHS - 1
    expected = masks_of(final(out))
    got = masks_of(final(tmp_path))
    assert set(got) == set(expected)
    for key, mask in expected.items():
        assert np.array_equal(got[key], mask), key
    for row in resumed:
        assert row["loss"] == pytest.approx(rows[row["epoch"]]["loss"], rel=1e-4)
        assert row["alive"] == rows[row["epoch"]]["alive"]


def test_two_processes_keep_the_same(tmp_path):
    launcher = ("-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--log_dir", tmp_path / "log")
    process = start(tmp_path, "--epochs", EPOCHS, launcher=launcher)
    rows = finish(process, tmp_path)
    check_training(rows, tmp_path, EPOCHS)
    first, second = (final(tmp_path, f"final_{rank}") for rank in (0, 1))
    statistics = {key for key in first if key.endswith(("_mean", "_variance"))}
    differ = {key for key in first if not np.array_equal(first[key], second[key])}
    assert differ <= statistics and differ  # each saw half of every batch

    # networks that started with different weights have the masks of the first process too
    first, second = (final(tmp_path, f"independent_{rank}") for rank in (0, 1))
    assert not np.array_equal(first[f"{FIRST}.conv.weight"], second[f"{FIRST}.conv.weight"])
    own = train_learned.build(seed=0)
    own.set_progress(0.3)
    own.set_progress(0.5)
    for key, mask in masks(own).items():
        assert np.array_equal(first[key], mask) and np.array_equal(second[key], mask), key


@pytest.mark.acceptance
def test_a_long_training_learns_the_shapes(tmp_path):
    rows = finish(start(tmp_path, "--epochs", 60, "--batch", 32), tmp_path, limit=1800)
    accuracy = check_training(rows, tmp_path, 60)
    print(json.dumps({"first": rows[0]["loss"], "last": rows[-1]["loss"], "accuracy": float(accuracy)}))
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]
    assert accuracy > 0.8
