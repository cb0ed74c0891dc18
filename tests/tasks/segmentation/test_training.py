"""Training a segmentation model: what a kill costs, what is kept, and what is refused."""

import importlib
import json
import random
import subprocess
import sys

import numpy as np
import paddle
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import tiny_condense
import tiny_training as tiny
from paddleseg.cvlibs import manager

from densebone import UserError
from densebone.tasks.segmentation import batches, training
from densebone.training import checkpoints
from densebone.training.batches import Batches
from densebone.training.history import read_history
from densebone.training.loading import load
from densebone.weights.reader import read_arrays

SEED = 7


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(configuration, folder) of a run of 10 iterations that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    path = tiny.write(folder)
    training.train(tiny.job(path), seed=SEED)
    return path, folder / "output" / "tiny"


def rows(folder, kind="train"):
    return [row for row in read_history(folder / "history.jsonl") if row["kind"] == kind]


def state(checkpoint):
    """What a checkpoint holds of the network and of the optimizer, arrays as lists."""
    states = [paddle.load(f"{checkpoint}{suffix}") for suffix in (".pdparams", ".pdopt")]
    values = {k: v for each in states for k, v in each.items()}
    return {key: value.tolist() if isinstance(value, paddle.Tensor) else value for key, value in values.items()}


def assert_same_run(folder, other):
    """Equal losses, learning rates, weights, optimizer and manifest."""
    assert rows(folder) == rows(other)
    assert len(state(folder / "model_final")) > 15
    assert state(folder / "model_final") == state(other / "model_final")
    about, expected = (checkpoints.info(path / "model_final") for path in (folder, other))
    assert {**about, "files": None} == {**expected, "files": None}


@pytest.mark.parametrize("workers", [(0, 2), (2, 0)], ids=["killed 0 resumed 2 workers", "killed 2 resumed 0 workers"])
def test_killed_and_resumed_is_as_if_it_was_never_stopped(straight, tmp_path, capsys, workers):
    path = tiny.write(tmp_path)
    script = [sys.executable, tiny.__file__, path, "7", f"num_workers={workers[0]}"]
    killed = subprocess.run(list(map(str, script)), capture_output=True, text=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    folder = tmp_path / "output" / "tiny"
    assert [row["iteration"] for row in rows(folder)] == [1, 2, 3, 4, 5, 6]
    assert checkpoints.last_whole(folder)[0].name == "4"  # in the middle of the second epoch of three batches
    training.train(tiny.job(path, f"num_workers={workers[1]}"), resume="auto")
    assert f"resuming from {folder}/4: iteration 4 of 10" in capsys.readouterr().out
    assert_same_run(folder, straight[1])
    assert not list(folder.glob(".*"))


def test_history_and_manifest_say_where_it_was(straight, capsys):
    path, folder = straight
    assert [row["iteration"] for row in rows(folder)] == list(range(1, 11))
    assert [row["epoch"] for row in rows(folder)][2:4] == [1.0, 1.3333]
    assert rows(folder)[0]["lr"] == pytest.approx(0.05)
    assert rows(folder)[-1]["lr"] == pytest.approx(0.05 * (1 - 9 / 10) ** 0.9)
    for row in rows(folder):
        assert row["loss"] == pytest.approx(row["loss_0"] + row["loss_1"], rel=1e-6)
    about = checkpoints.info(folder / "model_final")
    assert {key: about[key] for key in ("config", "epoch", "iteration", "best_miou", "seed")} == {
        "config": "tiny", "epoch": 3, "iteration": 10, "best_miou": None, "seed": SEED,
    }  # fmt: skip
    assert {p.stem for p in folder.glob("*.pdparams")} == {"4", "8", "model_final"}
    assert (folder / "curves.png").stat().st_size > 1000
    before = (folder / "model_final.pdparams").stat().st_mtime_ns
    training.train(tiny.job(path), resume="auto")
    assert f"training is complete: {folder}/model_final is at iteration 10 of 10" in capsys.readouterr().out
    assert (folder / "model_final.pdparams").stat().st_mtime_ns == before


def test_a_second_run_is_refused_or_replaces_the_first(tmp_path, capsys):
    path = tiny.write(tmp_path, iters=2, save_interval=1, keep_checkpoints=1)
    folder = training.train(tiny.job(path), resume="auto", seed=1)
    assert f"nothing to resume in {folder}: starting from the beginning" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run; go on with -r, or choose another -o"):
        training.train(tiny.job(path))
    training.train(tiny.job(path, "iters=4"), overwrite=True)
    assert {p.name for p in folder.glob("*.pd*")} == {
        "3.pdparams", "3.pdopt", "model_final.pdparams", "model_final.pdopt",
    }  # fmt: skip
    assert not (folder / "1.json").exists()
    assert len(rows(folder)) == 4
    about = checkpoints.info(folder / "model_final")
    assert about["iteration"] == 4 and about["seed"] != 1
    training.train(tiny.job(path, "iters=5"), resume=str(folder / "model_final"))
    assert checkpoints.info(folder / "model_final")["seed"] == about["seed"]  # drawn once, and kept


def test_the_mean_of_the_iterations_is_noted_and_every_snapshot_notes(straight, tmp_path, capsys):
    folder = training.train(tiny.job(tiny.write(tmp_path), "log_iters=3"), seed=SEED, loggers=["vdl"])
    noted, single = rows(folder), rows(straight[1])
    assert [row["iteration"] for row in noted] == [3, 4, 6, 8, 9, 10]
    assert noted[0]["loss"] == pytest.approx(np.mean([row["loss"] for row in single[:3]]))
    assert noted[3]["loss_1"] == pytest.approx(np.mean([row["loss_1"] for row in single[6:8]]))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iteration ")]
    assert lines[0].startswith(f"iteration 3/10: loss {noted[0]['loss']:.4f}, loss_0 ")
    assert ", learning rate 0.0409026, " in lines[0] and " images/s, 0:00:0" in lines[0]
    assert list((folder / "vdl").iterdir())


def test_the_best_is_kept_and_a_missed_evaluation_is_made_up_for(tmp_path, monkeypatch):
    scores = {2: 0.3, 4: 0.6, 6: 0.5}
    evaluated = []

    def score(model, job):
        run = evaluated_run[0]
        evaluated.append(run.iteration)
        model.eval()
        random.random()
        return {"mIoU": scores[run.iteration], "accuracy": 0.9}

    evaluated_run = []
    start = training.Run.start
    monkeypatch.setattr(training.Run, "start", lambda run, *a: (evaluated_run.insert(0, run), start(run, *a))[1])
    monkeypatch.setattr(training, "score", score)
    path = tiny.write(tmp_path, iters=6, save_interval=2)
    folder = training.train(tiny.job(path), evaluate=True, seed=SEED)
    expected = [(2, 0.3), (4, 0.6), (6, 0.5)]
    assert [(row["iteration"], row["mIoU"]) for row in rows(folder, "eval")] == expected
    assert {"mIoU", "accuracy", "epoch"} <= set(rows(folder, "eval")[0])
    best = checkpoints.info(folder / "best_model")
    assert (best["iteration"], best["best_miou"]) == (4, 0.6)
    assert state(folder / "best_model") == state(folder / "4")

    final = state(folder / "model_final")
    kept = [json.dumps(row) + "\n" for row in read_history(folder / "history.jsonl")]
    (folder / "history.jsonl").write_text("".join(row for row in kept if '"mIoU": 0.6' not in row and '"iteration": 6'
                                                  not in row))  # fmt: skip
    checkpoints.remove(folder, "model_final")
    evaluated.clear()
    training.train(tiny.job(path), evaluate=True, resume="auto")
    assert evaluated == [4, 6]
    assert [(row["iteration"], row["mIoU"]) for row in rows(folder, "eval")] == expected
    assert checkpoints.info(folder / "best_model")["iteration"] == 4
    assert state(folder / "model_final") == final


def test_a_loss_that_is_not_finite_stops_and_is_not_saved(tmp_path, monkeypatch):
    module = importlib.import_module("paddleseg.core.train")
    original, calls = module.loss_computation, []

    def third_is_nan(**arguments):
        calls.append(arguments)
        losses = original(**arguments)
        return [losses[0], losses[1] * float("nan")] if len(calls) == 3 else losses

    path = tiny.write(tmp_path, save_interval=2)
    monkeypatch.setattr(module, "loss_computation", third_is_nan)
    with pytest.raises(UserError, match=r"^iteration 3: loss_1 is nan, and nothing is saved of it; lower") as caught:
        training.train(tiny.job(path), seed=SEED)
    expected = next(iter(Batches(batches.sampler(range(tiny.PICTURES), 2), 2, 3)))
    for _, index in expected:
        assert f"{tmp_path}/{index}.png and {tmp_path}/{index}_label.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert calls[0]["labels"].dtype == paddle.int64 and calls[0]["edges"] is None
    folder = tmp_path / "output" / "tiny"
    assert {p.stem for p in folder.glob("*.pd*")} == {"2"}
    assert [row["iteration"] for row in rows(folder)] == [1, 2]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    path = tiny.write(tmp_path, save_interval=1)
    with pytest.raises(UserError, match=r"^iteration 1: .* is not finite any more, and nothing is saved of it; lower"):
        training.train(tiny.job(path, "lr_scheduler.learning_rate=1.0e+39"), seed=SEED)
    assert not checkpoints.any_files(tmp_path / "output" / "tiny")


def test_edges_and_a_models_own_loss(tmp_path, monkeypatch):
    seen = {}

    def compute(**arguments):
        seen.update(arguments)
        return [logits.mean() for logits in arguments["logits_list"]]

    monkeypatch.setattr(importlib.import_module("paddleseg.core.train"), "loss_computation", compute)
    path = tiny.write(tmp_path, iters=1)
    training.train(tiny.job(path, "train_dataset.edge=true"))
    assert seen["edges"].dtype == paddle.int64
    assert set(np.unique(seen["edges"].numpy())) == {0, 1}

    def own(self, logits_list, losses, data):
        assert list(losses["coef"]) == [1, 0.4] and data["img"].shape == [2, 3, 32, 32]
        return [logits_list[0].mean() * 0 + 5]

    monkeypatch.setattr(tiny.NetworkWithDropout, "loss_computation", own, raising=False)
    folder = training.train(tiny.job(path), overwrite=True)
    (row,) = rows(folder)
    assert row["loss"] == 5 and "loss_0" not in row


def test_schedules_of_every_kind_are_stepped_and_resumed(tmp_path):
    kinds = {
        "plateau": {"type": "ReduceOnPlateau", "learning_rate": 0.05, "patience": 0, "threshold": 10.0},
        "warm": {"type": "CosineAnnealingDecay", "learning_rate": 0.05, "T_max": 4, "warmup_iters": 3,
                 "warmup_start_lr": 0.01},
    }  # fmt: skip
    for name, schedule in kinds.items():
        path = tiny.write(tmp_path, name, lr_scheduler=schedule, iters=6, save_interval=3)
        folder = training.train(tiny.job(path), seed=SEED)
        rates, final = [row["lr"] for row in rows(folder)], state(folder / "model_final")
        assert len(set(rates)) >= 3, rates
        training.train(tiny.job(path), resume=str(folder / "3"))
        assert [row["lr"] for row in rows(folder)] == rates
        assert state(folder / "model_final") == final


def test_what_a_checkpoint_cannot_be_resumed_from(straight, tmp_path):
    path, folder = straight
    wider = tiny.write(tmp_path, model={"type": "NetworkWithDropout", "num_classes": 3, "width": 9})
    with pytest.raises(UserError, match="do not fit"):
        training.train(tiny.job(wider), resume=str(folder / "4"))
    adam = tiny.write(tmp_path, optimizer={"type": "Adam"})
    job = tiny.job(adam)
    optimizer = paddle.load(str(folder / "4.pdopt"))
    for broken, message in (
        ({key.replace("conv2d_1", "conv2d_9"): value for key, value in optimizer.items()}, "it holds conv2d_9"),
        (
            {key: value for key, value in optimizer.items() if key != "LR_Scheduler"},
            "it holds no learning-rate schedule",
        ),
    ):
        paddle.save(paddle.load(str(folder / "4.pdparams")), str(tmp_path / "other.pdparams"))
        paddle.save(broken, str(tmp_path / "other.pdopt"))
        with pytest.raises(UserError, match=f"other.pdopt is not the state of this network's optimizer .{message}"):
            training.train(tiny.job(path), resume=str(tmp_path / "other"))
    with pytest.raises(UserError, match="trained with the optimizer Momentum, and the configuration has Adam; take"):
        training.train(job, resume=str(folder / "4"))
    with pytest.raises(UserError, match="seed is -1; it must be from 0 to 4294967295"):
        training.train(tiny.job(path), seed=-1)


def test_a_checkpoint_of_paddlesegs_own_loop_is_taken(straight, tmp_path, capsys):
    path = tiny.write(tmp_path)
    saved = tmp_path / "iter_4"
    saved.mkdir()
    for suffix in (".pdparams", ".pdopt"):
        (saved / f"model{suffix}").write_bytes((straight[1] / f"4{suffix}").read_bytes())
    folder = training.train(tiny.job(path), resume=str(saved / "model"), seed=SEED)
    assert f"resuming from {saved}/model: iteration 4 of 10" in capsys.readouterr().out
    assert rows(folder) == rows(straight[1])[4:]


def test_data_that_cannot_be_trained_on(tmp_path):
    path = tiny.write(tmp_path)
    with pytest.raises(UserError, match="train_dataset has 6 pictures, fewer than one batch of 7; set a smaller batch"):
        training.train(tiny.job(path, "batch_size=7"))
    assert not list((tmp_path / "output" / "tiny").iterdir())


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_cannot_be_loaded_are_named_in_one_line(tmp_path, workers):
    job = tiny.job(tiny.write(tmp_path), "train_dataset.transforms.1.crop_size=[24,32]")
    dataset = batches.SeededDataset(job.builder.train_dataset, SEED)
    (tmp_path / "3_label.png").write_bytes(b"broken")
    with pytest.raises(UserError) as caught:
        list(load(dataset, Batches(batches.sampler(dataset, 2), 0, 3), workers))
    assert isinstance(dataset[0, 3], UserError)
    assert str(caught.value).startswith(f"train_dataset: {tmp_path}/3_label.png: is not a picture that Pillow can read")
    assert "\n" not in str(caught.value)
    (tmp_path / "3_label.png").write_bytes((tmp_path / "2_label.png").read_bytes())
    dataset.dataset.transforms.transforms = dataset.dataset.transforms.transforms[:1]  # pictures of all sizes
    with pytest.raises(UserError, match=r"^train_dataset gives pictures of different sizes for one batch \(\d+ x \d+ "):
        list(load(dataset, Batches(batches.sampler(dataset, 6), 0, 1), workers))


def test_batches_cover_each_epoch_and_start_anywhere():
    whole = list(Batches(batches.sampler(range(7), 2), 0, 7))
    assert len(whole) == len(Batches(batches.sampler(range(7), 2), 0, 7)) == 7
    for epoch in (0, 1):
        numbers = [key for batch in whole[3 * epoch : 3 * epoch + 3] for key in batch]
        assert {number for number, _ in numbers} == {epoch}
        assert len({index for _, index in numbers}) == 6
    assert [[index for _, index in batch] for batch in whole[:3]] != [[i for _, i in batch] for batch in whole[3:6]]
    for start in range(8):
        assert list(Batches(batches.sampler(range(7), 2), start, 7)) == whole[start:]
    assert list(Batches(batches.sampler(range(7), 2), 9, 7)) == []


def test_augmentation_follows_from_seed_epoch_and_picture_alone(tmp_path):
    dataset = batches.SeededDataset(tiny.job(tiny.write(tmp_path)).builder.train_dataset, SEED)
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first = dataset[0, 2]["img"]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    random.seed(2)
    np.random.seed(2)
    assert set(dataset[0, 1]) == {"img", "label"}
    np.testing.assert_array_equal(dataset[0, 2]["img"], first)
    other = batches.SeededDataset(dataset.dataset, SEED + 1)
    for changed in (dataset[1, 2]["img"], other[0, 2]["img"]):
        assert np.abs(changed - first).max() > 0.1


@manager.MODELS.add_component
class LearnedNetwork(paddle.nn.Layer):
    """A CondenseNetV2 that learns what to prune, and a convolution on one of its maps."""

    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.backbone = tiny_condense.build("learned", out_indices=(2,))
        self.head = paddle.nn.Conv2D(self.backbone.channels[0], num_classes, 1)

    def forward(self, x):
        """(N, in_channels, H, W) -> [(N, num_classes, H, W)]."""
        return [paddle.nn.functional.interpolate(self.head(self.backbone(x)[0]), x.shape[2:], mode="bilinear")]


def test_a_learned_condensenetv2_is_pruned_on_the_way(tmp_path):
    model = {"type": "LearnedNetwork", "num_classes": 3}
    loss = {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]}
    path = tiny.write(tmp_path, model=model, loss=loss, iters=6, save_interval=2)
    folder = training.train(tiny.job(path), seed=SEED)
    kept = {}
    for name in ("2", "4", "model_final"):
        arrays = read_arrays(folder / f"{name}.pdparams")
        kept[name] = {array.mean() for key, array in arrays.items() if key.endswith("._mask")}
    # four groups lose a quarter each at a sixth, a third and a half of training, before the step that begins there
    assert kept == {"2": {0.75}, "4": {0.25}, "model_final": {0.25}}
    final = state(folder / "model_final")
    training.train(tiny.job(path), resume=str(folder / "2"))
    assert state(folder / "model_final") == final


def test_mixed_precision_and_static_graph(straight, tmp_path, capsys):
    path = tiny.write(tmp_path, iters=4, save_interval=2)
    folder = training.train(tiny.job(path), amp=True, seed=SEED)
    assert "note: mixed precision is used on a GPU only; this trains in float32" in capsys.readouterr().err
    assert "scaler" not in checkpoints.info(folder / "2")
    run = training.Run(tiny.job(path), SEED, evaluates=False, amp=True)
    assert run.scaler is not None
    static = training.train(tiny.job(path, "to_static_training=true"), overwrite=True, seed=SEED)
    assert rows(static)[0]["loss"] == pytest.approx(rows(straight[1])[0]["loss"], rel=0.5)
    assert read_arrays(static / "model_final.pdparams").keys() == read_arrays(straight[1] / "4.pdparams").keys()


def test_other_losses_than_outputs(tmp_path):
    path = tiny.write(tmp_path)
    job = tiny.job(path, "loss.coef=[1]")
    with pytest.raises(UserError, match="the model has 2 outputs in training, and loss has 1; give"):
        training.train(job, seed=SEED)
    assert [file.name for file in job.folder.iterdir()] == ["train.log"]
