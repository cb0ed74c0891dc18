"""`densebone browse`, from the command line to the sheet."""

import pytest
import tiny_segmentation
from PIL import Image

from densebone.scripts import browse, main

SMOKE = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


def test_detection(densebone, tmp_path):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    assert main(["sample-data", "coco", str(tmp_path / "data"), "--train", "4", "--val", "2"]) == 0
    common = ["browse", "-c", SMOKE, "--data", "data", "-n", 6]
    done = densebone(*common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "output" / SMOKE / "samples.png"
    assert f"6 pictures in output/{SMOKE}/samples.png (--seed " in done.stdout
    with Image.open(file) as sheet:
        assert sheet.size[0] > 4 * browse.CELL and sheet.size[1] > 2 * browse.CELL
    seed = done.stdout.rpartition("--seed ")[2].split()[0]
    again = densebone(*common, "--seed", seed, "-O", "again.png", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.png").read_bytes() == file.read_bytes()
    refused = densebone("browse", "-c", SMOKE, "--data", "gone", "-O", "new/new.png", cwd=tmp_path)
    assert (refused.returncode, "data set folder gone does not exist" in refused.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


def test_segmentation(tmp_path, capsys, monkeypatch):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    monkeypatch.chdir(tmp_path)
    tiny_segmentation.write_set(tmp_path / "data")
    file = tiny_segmentation.write_config(tmp_path / "a.yml", tmp_path / "data")
    assert main(["browse", "-c", str(file), "-n", "2", "--seed", "7", "-O", "sheets/one.png"]) == 0
    assert "2 pictures in sheets/one.png (--seed 7 draws them again)" in capsys.readouterr().out
    with Image.open("sheets/one.png") as sheet:
        assert sheet.size[0] > 2 * browse.CELL and sheet.size[1] > browse.CELL


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", "0"], "-n is 0; give a number of pictures from 1 to 1000"),
        (["--seed", "-1"], "--seed is -1; it must be from 0 to 4294967295"),
        (["-c", "absent.yml"], "configuration absent.yml does not exist"),
    ],
)
def test_refusals(options, words, capsys):
    assert main(["browse", "-c", SMOKE, *options]) == 2
    assert words in capsys.readouterr().err


def test_a_sheet_that_is_no_png(tmp_path, capsys):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    file = tiny_segmentation.write_config(tmp_path / "a.yml", tiny_segmentation.write_set(tmp_path / "data"))
    assert main(["browse", "-c", str(file), "-O", str(tmp_path / "sheet.jpg")]) == 2
    assert "give a name that ends in .png" in capsys.readouterr().err
