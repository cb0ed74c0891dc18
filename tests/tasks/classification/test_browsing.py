"""The sheet of training pictures as a classifier sees them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_pictures import CLASSES, SETTINGS, tree

from densebone.errors import UserError
from densebone.scripts import main
from densebone.tasks.classification.browsing import samples
from densebone.tasks.classification.config import load


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "data", CLASSES, parts=("train",))
    Path("mine.yml").write_text(yaml.safe_dump(SETTINGS))
    return load("mine.yml", ["train_dataset.transforms=[{type: RandomFlip}]"])


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_picture_is_the_one_of_the_file(job, channels):
    job.given_preprocessing["channels"] = channels
    drawn = list(samples(job, 14, 3, 40))
    assert len({title for _, title in drawn}) == 14
    for picture, title in drawn:
        label, name, size = title.split()
        original = np.asarray(Image.open(Path("data/train", label, name)))
        assert size == "36x40" and picture.size == (36, 40)
        assert any(np.array_equal(np.asarray(picture), view) for view in (original, original[:, ::-1]))


def test_the_command(job, capsys):
    arguments = ["browse", "-c", "mine.yml", "-n", "20", "--seed", "1", "-O"]
    assert main([*arguments, "a.png"]) == main([*arguments, "b.png"]) == 0
    assert "20 pictures in a.png (--seed 1 draws them again)" in capsys.readouterr().out
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_picture_that_cannot_be_read(job):
    victim = sorted(Path("data/train/a").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(UserError, match=f"train_dataset: {victim}: is truncated"):
        list(samples(job, 14, 3, 40))
