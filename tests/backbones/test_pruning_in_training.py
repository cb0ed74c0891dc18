"""Pruning in training: the callback of paddle.Model, and real trainings that are killed, resumed and distributed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import paddle
import pytest
import tiny
import train_learned
from paddle import nn
from tiny_condense import build, masks

import densebone as db
from densebone.backbones import pruning
from densebone.backbones.condensing import condense_arrays
from densebone.backbones.pruning import (
    learned_convs,
    pruning_stage,
    set_progress,
)

FIRST = "features.denseblock_1.denselayer_1.conv_1"


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
