"""What a user gets wrong is answered by one clear line, exit status 2, and nothing half written."""

import json
import shutil

import pytest

from densebone.scripts import main

SMOKE = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


def refused(capsys, *arguments):
    """The one line that a command prints when it refuses, in this process."""
    assert main([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("densebone: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["no command 'trian'", "train"]),
        (["info", "hardnet86"], ["no model 'hardnet86'", "hardnet85"]),
        (["train", "-c", "absent.yml"], ["configuration absent.yml does not exist"]),
        (["train", "-c", "ssd_hardnet68_300_150e_voc"], ["does not exist", "ssd_hardnet68_300_150e_coco"]),
        (["sample-data", "coco", "new", "--train", "0"], ["train", "0"]),
        (["sample-data", "coco", "/dev/null/new"], ["/dev/null"]),
    ],
)
def test_refusals_that_need_no_toolkit(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *arguments)
    assert line.startswith("densebone: ")
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_is_missing_is_named(capsys, tmp_path):
    (tmp_path / "a.yml").write_text("_BASE_: [gone.yml]\n")
    assert "gone.yml, which does not exist" in refused(capsys, "train", "-c", tmp_path / "a.yml")


def test_a_file_that_is_not_a_configuration(capsys, tmp_path):
    (tmp_path / "a.yml").write_text("[1, 2")
    assert "is not YAML" in refused(capsys, "train", "-c", tmp_path / "a.yml")
    (tmp_path / "a.yml").write_text("just text")
    assert "holds no keys" in refused(capsys, "train", "-c", tmp_path / "a.yml")
    (tmp_path / "a.yml").write_text("epoch: 3")
    assert "names no 'architecture'" in refused(capsys, "train", "-c", tmp_path / "a.yml")


@pytest.fixture(scope="module")
def sample(tmp_path_factory, densebone):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    folder = tmp_path_factory.mktemp("sample") / "data"
    assert densebone("sample-data", "coco", folder, "--train", 4, "--val", 2).returncode == 0
    return folder


def edited(sample, folder, change):
    """A copy of the sample whose training annotations `change` has changed."""
    shutil.copytree(sample, folder)
    file = folder / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


CASES = {
    "unknown key": (["-o", "epocs=3"], "no key 'epocs'; the nearest names are epoch"),
    "unknown argument": (["-o", "HarDNet39DS.depth=3"], "HarDNet39DS has no argument 'depth'"),
    "unknown component": (
        ["-o", "HarDNet93.return_idx=[1]"],
        "no 'HarDNet93'; the nearest names are HarDNet",
    ),
    "not an assignment": (["-o", "epoch"], "is not of the form key=value"),
    "no such list position": (["-o", "TrainReader.sample_transforms.9.Resize.interp=1"], "'9' is not a position"),
    "unknown transform": (["-o", "TestReader.sample_transforms=[{Decod: {}}]"], "unknown transform 'Decod'"),
    "return_idx out of range": (["-o", "HarDNet39DS.return_idx=[1,2,4]"], "HarDNet39DS.return_idx is [1, 2, 4]"),
    "return_idx unsorted": (["-o", "HarDNet39DS.return_idx=[2,1,3]"], "in ascending order"),
    "weights missing": (["-o", "HarDNet39DS.pretrained=gone.pdparams"], "weights file gone.pdparams does not exist"),
    "data folder missing": (["--data", "gone"], "data set folder gone does not exist"),
    "annotation missing": (["-o", "TrainDataset.anno_path=gone.json"], "gone.json does not exist"),
    "too many categories": (["-o", "num_classes=3"], "has 4 categories but num_classes is 3"),
    "output not writable": (["-o", "save_dir=/dev/null/out"], "cannot write into the folder /dev/null/out"),
    "checkpoint missing": (["-r", "gone/3"], "cannot resume from gone/3: gone/3.pdparams does not exist"),
    "pretrain_weights missing": (["-o", "pretrain_weights=gone"], "pretrain_weights gone do not exist"),
    "batch larger than the set": (["-o", "TrainReader.batch_size=64"], "has 4 pictures, fewer than one batch of 64"),
}


@pytest.mark.parametrize("case", CASES)
def test_train_refuses(case, sample, densebone, tmp_path):
    arguments, words = CASES[case]
    data = [] if "--data" in arguments else ["--data", sample]
    done = densebone("train", "-c", SMOKE, *data, *arguments, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if line.startswith("densebone: ")]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(said) == 1
    assert words in said[0]
    assert not list(tmp_path.rglob("*.pd*"))


def unknown_category(content):
    content["annotations"][0]["category_id"] = 99


def test_an_annotation_of_an_unknown_category_is_named(sample, tmp_path):
    from densebone import UserError

    folder = edited(sample, tmp_path / "data", unknown_category)
    with pytest.raises(UserError) as caught:
        check(folder)
    assert "has category 99, which the file does not define; it defines 1 (circle), 3 (square)" in str(caught.value)
    assert "instances_train2017.json: annotation" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_train_does_not_delete_what_it_did_not_write(sample, densebone, tmp_path):
    folder = tmp_path / "output" / SMOKE
    folder.mkdir(parents=True)
    for name in ("model_final.pdparams", "mine.json"):
        (folder / name).write_text("another program's")
    done = densebone("train", "-c", SMOKE, "--data", sample, cwd=tmp_path)
    assert done.returncode == 2
    assert "holds the checkpoints of an earlier run" in done.stderr
    assert {p.name for p in folder.iterdir()} == {"model_final.pdparams", "mine.json"}


def test_predict_without_weights_or_pictures(sample, densebone, tmp_path):
    common = ["predict", "-c", SMOKE, "--data", sample]
    picture = next((sample / "val2017").iterdir())
    for arguments, words in (
        ([picture], "there is no trained detector in output"),
        (["gone.jpg"], "gone.jpg"),
        ([picture, "-t", 2], "threshold is 2.0; it must be from 0 to 1"),
        ([picture, "-w", "gone"], "weights gone do not exist"),
        ([picture, "-O", "/dev/null/out"], "cannot write into the folder /dev/null/out"),
    ):
        done = densebone(*common, *arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_a_file_that_is_no_picture_is_named_before_training(sample, tmp_path):
    from densebone import UserError

    shutil.copytree(sample, tmp_path / "data")
    first = sorted((tmp_path / "data" / "train2017").iterdir())[0]
    first.write_text("<!DOCTYPE html>")
    with pytest.raises(UserError, match=f"{first.name} is not a picture"):
        check(tmp_path / "data")


def check(folder):
    """Checks TrainDataset as `train` does before anything is built."""
    from densebone.scripts.options import find_config
    from densebone.tasks.detection import config
    from densebone.tasks.detection.data import check_data

    return check_data(config.load(find_config(SMOKE), data=str(folder)), "train")
