"""`densebone prepare cityscapes`: completes a downloaded set, and says what is wrong with the folder."""

import numpy as np
from PIL import Image

from densebone.datasets.cityscapes import label_file
from densebone.scripts.prepare import main


def _set(folder):
    for split, name in (("train", "aachen_000000_000019"), ("val", "lindau_000000_000019")):
        path = folder / label_file(split, name, "labelIds")
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 8), 7, np.uint8)).save(path)


def test_prepares_and_repeats(tmp_path, capsys):
    _set(tmp_path)
    assert main(["cityscapes", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train  1 labelTrainIds pictures written, 0 were there"
    assert said[1] == "val    1 labelTrainIds pictures written, 0 were there"
    assert said[2].startswith(f"note: {tmp_path / 'leftImg8bit'} is missing")
    with Image.open(tmp_path / label_file("val", "lindau_000000_000019", "labelTrainIds")) as picture:
        assert np.array(picture).tolist() == [[0] * 8] * 4
    (tmp_path / "leftImg8bit").mkdir()
    assert main(["cityscapes", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train  0 labelTrainIds pictures written, 1 were there",
        "val    0 labelTrainIds pictures written, 1 were there",
    ]


def test_another_folder_is_refused_in_one_line(densebone, tmp_path):
    done = densebone("prepare", "cityscapes", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"densebone: {tmp_path} is not laid out as Cityscapes: it has no folder gtFine")
    assert done.stderr.count("\n") == 1
