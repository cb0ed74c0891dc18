"""Training a classifier: what a kill costs, what several processes and accumulated batches change, what is kept."""

import os
import subprocess
import sys

import numpy as np
import paddle
import pytest
import tiny_classification as tiny

from densebone import UserError
from densebone.tasks.classification import training
from densebone.tasks.classification.precision import Precision, full_state
from densebone.training import checkpoints
from densebone.training.history import read_history
from densebone.weights.reader import read_pickle

SEED = 7
# everything that a resumed run has to find again, on a network that is pruned on the way
EVERYTHING = {
    "model": tiny.LEARNED, "accumulate": 2, "ema": 0.9, "label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1.0,
    "lasso": 1.0e-5, "epochs": 2, "batch_size": 3,
}  # fmt: skip
LAUNCH = (sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir")


def rows(folder, kind="train"):
    return [row for row in read_history(folder / "history.jsonl") if row["kind"] == kind]


def state(checkpoint, *suffixes):
    """What a checkpoint holds, arrays as NumPy has them."""
    values = {}
    for suffix in suffixes or (".pdparams", ".pdopt"):
        content = read_pickle(f"{checkpoint}{suffix}")
        content.pop("StructuredToParameterName@@", None)  # names that Paddle makes up anew
        values |= {f"{suffix} {key}": value for key, value in content.items() if key != "LR_Scheduler"}
        values |= {f"{suffix} {key}": value for key, value in content.get("LR_Scheduler", {}).items()}
    return values


def assert_same_state(first, second):
    assert first.keys() == second.keys() and len(first) > 100
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


def run(*arguments, timeout=300, start=(sys.executable,), **environment):
    """Starts tests/helpers/tiny_classification.py."""
    command = [*map(str, start), tiny.__file__, *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables)


@pytest.mark.parametrize(
    "settings", [{"epochs": 1, "batch_size": 3}, EVERYTHING], ids=["hardnet39ds", "learned condensenetv2_a"]
)
def test_killed_and_resumed_is_as_if_it_was_never_stopped(tmp_path, capsys, settings):
    path = tiny.write(tmp_path, save_interval=1 / 3, **settings)
    killed = run("killed", path, 4, "num_workers=1")
    assert killed.returncode == -9, killed.stderr
    folder = tmp_path / "output" / "tiny"
    assert [row["iteration"] for row in rows(folder)] == [1, 2, 3]
    last = "2" if settings["epochs"] == 1 else "3"  # in the middle of an epoch of six, or at the end of one of three
    training.train(tiny.job(path), resume="auto")
    assert f"resuming from {folder}/{last}: iteration {last} of" in capsys.readouterr().out
    straight = training.train(tiny.job(path, f"save_dir={tmp_path / 'straight'}", "save_interval=9"), seed=SEED)
    assert rows(folder) == rows(straight) and len(rows(folder)) == 6
    suffixes = (".pdparams", ".pdopt", *([".pdema"] if "ema" in settings else []))
    assert_same_state(*(state(each / "model_final", *suffixes) for each in (folder, straight)))
    assert {file.stem for file in straight.glob("*.pdparams")} == {"model_final"}
    assert not list(folder.glob(".*"))


def difference(first, second):
    """The largest difference among gradients and among parameters after a step, of those that were trained."""
    assert set(first) == set(second)
    kinds = ("gradient", "parameter")
    return [max(np.abs(first[n] - second[n]).max() for n in first if n.startswith(kind)) for kind in kinds]


def frozen_norms(**options):
    """Without batch statistics, which are those of a batch, the mean over parts is the mean over the whole."""
    return {"name": "hardnet39ds", "num_classes": tiny.CLASSES, "options": {"freeze_norm": True, **options}}


def test_two_processes_and_accumulated_batches_average_the_gradients(tmp_path):
    path = tiny.write(tmp_path, model=frozen_norms(), clip_norm=None)
    whole = tiny.gradients(path, None, "batch_size=8")
    assert sum(name.startswith("gradient") for name in whole) > 70
    assert max(np.abs(value).max() for name, value in whole.items() if name.startswith("gradient")) > 0.1
    two = run("gradients", path, tmp_path / "two", "batch_size=2", "accumulate=2", start=(*LAUNCH, tmp_path / "log"))
    assert two.returncode == 0, two.stdout + two.stderr
    for rank in (0, 1):
        assert max(difference(whole, np.load(tmp_path / f"two_{rank}.npz"))) < 1e-6
    parts = tiny.gradients(path, None, "batch_size=2", "accumulate=4", "model.options.recompute=true")
    assert max(difference(whole, parts)) < 1e-6
    other = tiny.gradients(path, None, "batch_size=4")  # half of the pictures: it can be told
    assert difference(whole, other)[0] > 1e-3


def test_a_process_that_is_killed_stops_the_other_and_the_run_goes_on(tmp_path):
    path = tiny.write(tmp_path, batch_size=3, save_interval=0.34, epochs=1)
    launched = run("killed", path, 2, start=(*LAUNCH, tmp_path / "log"))
    assert launched.returncode not in (0, None)
    log = (tmp_path / "log" / "workerlog.0").read_text()
    assert "iteration 1/3" in log and "iteration 3/3" not in log
    folder = tmp_path / "output" / "tiny"
    assert checkpoints.last_whole(folder)[1]["iteration"] == 1
    training.train(tiny.job(path, "batch_size=6"), resume="auto")  # with one process, and as many pictures an iteration
    assert [row["iteration"] for row in rows(folder)] == [1, 2, 3]


def test_a_process_that_lost_the_other_says_so_in_a_line(tmp_path):
    path = tiny.write(tmp_path, batch_size=3)
    ports = [6200 + (os.getpid() + i) % 20000 for i in range(3)]
    ends = [f"127.0.0.1:{port}" for port in ports]
    together = {
        "PADDLE_TRAINERS_NUM": "2", "PADDLE_TRAINER_ENDPOINTS": ",".join(ends[:2]), "PADDLE_MASTER": ends[2],
        "PADDLE_DISTRI_BACKEND": "gloo",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, tiny.__file__, "killed", path, "2"],
            env={**os.environ, **together, "PADDLE_TRAINER_ID": str(rank), "PADDLE_CURRENT_ENDPOINT": ends[rank]},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert processes[1].returncode == -9
    assert processes[0].returncode == 1  # tiny_classification has no `main` that catches it
    assert "UserError: process 1 of 2 lost the others (" in errors[0]
    assert "go on with -r" in errors[0].strip().splitlines()[-2] + errors[0].strip().splitlines()[-1]


def test_what_is_kept_of_a_run(tmp_path, monkeypatch):
    scores = {1: 0.3, 2: 0.6, 3: 0.6, 4: 0.5}
    seen = {}

    def score(model, job):
        seen[runs[0].iteration] = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        model.eval()
        return {"top1": scores[runs[0].iteration], "top5": 1.0, "images": 18, "skipped": []}

    runs, start = [], training.Run.start
    monkeypatch.setattr(training.Run, "start", lambda run, *a: (runs.insert(0, run), start(run, *a))[1])
    monkeypatch.setattr(training, "score", score)
    path = tiny.write(tmp_path, epochs=2, batch_size=8, save_interval=0.5, ema=0.9, keep_checkpoints=1)
    pytest.importorskip("visualdl", reason="VisualDL comes with the toolkits")
    folder = training.train(tiny.job(path), evaluate=True, loggers=["vdl"], seed=SEED)
    assert [(row["iteration"], row["epoch"], row["top1"]) for row in rows(folder, "eval")] == [
        (1, 0.5, 0.3), (2, 1.0, 0.6), (3, 1.5, 0.6), (4, 2.0, 0.5),
    ]  # fmt: skip
    assert {file.stem for file in folder.glob("*.pdparams")} == {"3", "model_final", "best_model"}
    about = checkpoints.info(folder / "best_model")
    assert (about["iteration"], about["epoch"], about["best_top1"], about["seed"]) == (3, 1, 0.6, SEED)
    assert about["model"] == "hardnet39ds" and about["preprocessing"]["crop"] == 32
    # what was evaluated is what .pdparams has: the average; .pdema has the weights that are trained
    best = state(folder / "best_model", ".pdparams")
    trained = state(folder / "best_model", ".pdema")
    for name, value in seen[3].items():
        np.testing.assert_array_equal(best[f".pdparams {name}"], value, err_msg=name)
    assert np.abs(best[".pdparams base.0.conv.weight"] - trained[".pdema base.0.conv.weight"]).max() > 1e-5
    assert len(list((folder / "vdl").iterdir())) == 1
    assert (folder / "history.csv").read_text().startswith("kind,iteration,epoch,lr,loss,top1,top5\n")
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 4 + 4
    assert (folder / "curves.png").stat().st_size > 1000
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run; go on with -r"):
        training.train(tiny.job(path))


def test_a_loss_that_is_not_finite_names_the_files_and_is_not_saved(tmp_path, monkeypatch):
    path = tiny.write(tmp_path, save_interval=0.25)
    calls, original = [], training.Run.losses_of

    def third_is_nan(run, data):
        calls.append(data)
        total, parts = original(run, data)
        return total * float("nan") if len(calls) == 3 else total, parts

    monkeypatch.setattr(training.Run, "losses_of", third_is_nan)
    with pytest.raises(UserError, match=r"^iteration 3: the loss is nan, and nothing is saved of it; lower") as caught:
        training.train(tiny.job(path), seed=SEED)
    named = [word.strip(",") for word in str(caught.value).split() if word.strip(",").endswith(".png")]
    assert len(named) == tiny.SETTINGS["batch_size"] == len(set(named))
    assert all(name.startswith(str(tmp_path / "data")) for name in named)
    folder = tmp_path / "output" / "tiny"
    assert {file.stem for file in folder.glob("*.pd*")} == {"1", "2"}
    assert [row["iteration"] for row in rows(folder)] == [1, 2]


def test_fine_tuning_starts_from_weights_of_other_classes(tmp_path):
    from densebone import create_model

    paddle.seed(1)
    source = create_model("hardnet39ds", num_classes=1000)
    paddle.save(source.state_dict(), str(tmp_path / "source.pdparams"))
    job = tiny.job(tiny.write(tmp_path), f"model.pretrained={tmp_path / 'source.pdparams'}")
    model = training.Run(job, SEED).model
    np.testing.assert_array_equal(model.base[0].conv.weight.numpy(), source.base[0].conv.weight.numpy())
    assert model.base[14][3].weight.shape == [1024, tiny.CLASSES]


def test_another_number_of_iterations_an_epoch_is_noted(tmp_path, capsys):
    path = tiny.write(tmp_path, batch_size=9, epochs=1)
    folder = training.train(tiny.job(path), seed=SEED)
    training.train(tiny.job(path, "batch_size=18", "epochs=3"), resume=str(folder / "model_final"))
    note = "note: an epoch has 1 iterations here and had 2, so other pictures follow; the run goes on in epoch 3"
    assert note in capsys.readouterr().err
    assert [row["epoch"] for row in rows(folder)] == [0.5, 1.0, 3.0]


def test_what_cannot_be_trained_on(tmp_path):
    path = tiny.write(tmp_path)
    with pytest.raises(UserError, match="has 18 pictures, fewer than 4 batches of 5; set a smaller batch_size"):
        training.train(tiny.job(path, "batch_size=5", "accumulate=4"))
    (tmp_path / "data" / "train" / "class0" / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png is no picture; remove or replace them"):
        training.train(tiny.job(path))
    assert not list((tmp_path / "output").rglob("*.pd*"))


def test_mixed_precision_is_for_a_gpu(capsys):
    mixed = Precision("O2")
    assert capsys.readouterr().err == "note: mixed precision is used on a GPU only; this trains in float32\n"
    assert (mixed.level, mixed.dtype, mixed.scaler()) == ("O0", "float32", None)
    net = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.SGD(0.1, net.parameters(), multi_precision=True)
    mixed.decorate(net, optimizer)
    with mixed.context():
        assert net(paddle.ones([1, 2])).dtype == paddle.float32
    optimizer._master_weights = {net.weight.name: net.weight * 2}  # as they are on a GPU
    found = full_state(net, optimizer)
    np.testing.assert_array_equal(found["weight"].numpy(), 2 * net.weight.numpy())
    np.testing.assert_array_equal(found["bias"].numpy(), net.bias.numpy())
    Precision("O0")
    assert capsys.readouterr().err == ""
