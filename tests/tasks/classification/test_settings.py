"""--epochs, --batch, --lr and --imgsz of a classifier."""

import pytest
import tiny_classification as tiny

from densebone import UserError
from densebone.tasks.classification.settings import change, describe
from densebone.tasks.classification.transforms import RandomResizedCrop
from densebone.tasks.settings import Settings

STEP = {"type": "Step", "learning_rate": 0.1, "milestones": [30, 60], "warmup_epochs": 5}


def changed(path, *overrides, **settings):
    job = tiny.job(path, *overrides)
    change(job, Settings(**settings))
    return job


def test_settings(tmp_path):
    job = changed(tiny.write(tmp_path, epochs=90, lr_scheduler=STEP), epochs=9, batch=7, lr=0.5, imgsz=(64,))
    assert (job.epochs, job.batch_size, job.lr_scheduler.learning_rate) == (9, 7, 0.5)
    assert job.lr_scheduler.milestones == pytest.approx((3, 6)) and job.lr_scheduler.warmup_epochs == 0.9
    assert (job.preprocessing.crop, job.preprocessing.resize) == (64, 72)  # 36 was for 32
    (crop,) = [step for step in job.transforms if isinstance(step, RandomResizedCrop)]
    assert crop.size == 64
    said = describe(job, evaluates=True)
    assert said == {
        "classes": "3", "input": "64 x 64", "schedule": "0.5, Step, 0.9 epochs of warm-up", "weights": "",
    }  # fmt: skip


def test_a_short_warm_up_and_other_settings_stay(tmp_path):
    job = changed(tiny.write(tmp_path, epochs=90, lr_scheduler=STEP), epochs=80)
    assert job.lr_scheduler.warmup_epochs == 5
    assert (job.batch_size, job.preprocessing.crop, job.lr_scheduler.learning_rate) == (4, 32, 0.1)


def test_pictures_that_are_not_cropped(tmp_path):
    path = tiny.write(tmp_path, preprocessing={"resize": [40, 40], "crop": None})
    assert changed(path, imgsz=(64,)).preprocessing.input_size == (64, 64)


def test_a_classifier_takes_squares(tmp_path):
    with pytest.raises(UserError, match=r"^--imgsz is 32 64; a classifier takes squares, so give one number$"):
        changed(tiny.write(tmp_path), imgsz=(32, 64))
