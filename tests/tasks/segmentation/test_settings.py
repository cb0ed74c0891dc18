"""--epochs, --batch, --lr and --imgsz of a segmenter."""

import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

import tiny_training as tiny

from densebone import UserError
from densebone.tasks.segmentation import training
from densebone.tasks.segmentation.settings import change, describe, lengthen
from densebone.tasks.settings import Settings
from densebone.training.history import read_history

STEPS = [{"type": "Resize", "target_size": [64, 32]}, {"type": "Normalize"}]


def changed(path, *overrides, **settings):
    job = tiny.job(path, *overrides)
    change(job, Settings(**settings))
    return job


def test_sizes_of_both_data_sets_have_the_width_first(tmp_path):
    job = changed(tiny.write(tmp_path), imgsz=(32, 64), batch=3, lr=0.5)
    data = {
        "type": "Dataset",
        "dataset_root": "x",
        "num_classes": 3,
        "mode": "val",
        "val_path": "x",
        "transforms": STEPS,
    }
    other = changed(tiny.write(tmp_path, "other", val_dataset=data), imgsz=(96,))
    assert job.dic["train_dataset"]["transforms"][1]["crop_size"] == [64, 32]
    assert other.dic["val_dataset"]["transforms"][0]["target_size"] == [96, 96]
    assert job.config.batch_size == 3 and job.builder.lr_scheduler.base_lr == 0.5
    assert describe(job, evaluates=False)["input"] == "32 x 64"


def test_a_size_that_leaves_a_loss_too_few_pixels(tmp_path):
    loss = {"types": [{"type": "BootstrappedCrossEntropyLoss", "min_K": 900, "loss_th": 0.3}], "coef": [1, 0.4]}
    path = tiny.write(tmp_path, loss=loss, train_dataset={
        "type": "Dataset", "dataset_root": str(tmp_path), "num_classes": 3, "mode": "train",
        "train_path": str(tmp_path / "list.txt"), "transforms": [{"type": "RandomPaddingCrop", "crop_size": [64, 64]}],
    })  # fmt: skip
    changed(path, imgsz=(64,))
    with pytest.raises(UserError, match="min_K is 2000, and a training sample of 32 x 32 has 1024 pixels"):
        changed(path, "loss.types.0.min_K=2000", imgsz=(32,))


def test_epochs_become_iterations_and_the_schedule_follows(tmp_path, capsys):
    job = changed(tiny.write(tmp_path), epochs=2)
    folder = training.train(job, seed=1)
    rows = read_history(folder / "history.jsonl")
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]  # six pictures, two in a batch
    assert rows[-1]["lr"] == pytest.approx(0.05 * (1 / 6) ** 0.9)  # of a decay over 6 iterations
    assert "length         2 epochs of 3 iterations = 6 iterations" in capsys.readouterr().out


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ({"type": "PiecewiseDecay", "boundaries": [4, 8]}, {"boundaries": [12, 24]}),
        ({"type": "StepDecay", "step_size": 5}, {"step_size": 15}),
        ({"type": "CosineAnnealingDecay", "T_max": 10}, {"T_max": 30}),
        ({"type": "PolynomialDecay", "warmup_iters": 5}, {"warmup_iters": 3}),
        ({"type": "PolynomialDecay", "warmup_iters": 2}, {"warmup_iters": 2}),
    ],
)
def test_schedules(schedule, expected, tmp_path):
    job = tiny.job(tiny.write(tmp_path))
    job.dic["lr_scheduler"] = dict(schedule)
    lengthen(job, 30)
    assert job.config.iters == 30 and job.dic["lr_scheduler"] == {**schedule, **expected}
