"""What a user of segmentation gets wrong is answered by one clear line, exit status 2, and nothing half written."""

import os

import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from tiny_segmentation import write_config, write_set

from densebone.scripts import main, options

DETECTION = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The name of a configuration in the current folder, whose data are there too."""
    write_set(tmp_path / "data")
    write_config(tmp_path / "tiny.yml", "data")
    monkeypatch.chdir(tmp_path)
    return "tiny.yml"


def refused(capsys, *arguments):
    """The one line that a command prints when it refuses, in this process."""
    assert main([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("densebone: ")]
    assert len(lines) == 1
    return lines[0]


CASES = {
    "unknown key": ("train", ["-o", "iter=3"], "no key 'iter'; the nearest names are iters"),
    "unknown argument": ("train", ["-o", "model.backbone.depth=3"], "HarDNet39DS has no argument 'depth'"),
    "data folder": ("train", ["--data", "gone"], "data set folder gone does not exist"),
    "evaluation's data": ("train", ["--eval", "-o", "val_dataset.val_path=x"], "the list of pictures x does not exist"),
    "weights missing": ("eval", ["-w", "gone"], "weights gone do not exist (gone.pdparams)"),
    "pretrained missing": (
        "train",
        ["-o", "model.backbone.pretrained=gone.npz"],
        "weights file gone.npz does not exis",
    ),
    "pretrained not needed": (
        "eval",
        ["-o", "model.backbone.pretrained=gone.npz"],
        "no trained segmentation model in output/tiny",
    ),
    "nothing trained": ("predict", ["data/images"], "no trained segmentation model in output/tiny"),
    "nothing to export": ("export", [], "no trained segmentation model in output/tiny"),
    "checkpoint missing": ("train", ["-r", "gone/3"], "cannot resume from gone/3: gone/3.pdparams does not exist"),
    "no such picture": ("predict", ["gone.jpg"], "gone.jpg"),
    "threshold": ("predict", ["data/images", "-t", "0"], "--threshold is for detection, and tiny.yml is for segmentat"),
    "windows": ("eval", ["--slide", "32"], "--slide has 1 numbers; give WIDTH HEIGHT or"),
    "windows apart": ("eval", ["--slide", "32", "16", "33", "16"], "stride [33, 16] is larger than crop_size [32, 16]"),
    "empty window": ("predict", ["data/images", "--slide", "0", "16"], "is_slide needs crop_size as [width, height]"),
    "scales": ("eval", ["--scales", "1", "-1"], "scales are [1.0, -1.0]; numbers above 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case, tiny, capsys):
    command, arguments, words = CASES[case]
    assert words in refused(capsys, command, "-c", tiny, *arguments)
    assert not [name for _, _, names in os.walk("output") for name in names]


@pytest.mark.parametrize(
    ("command", "arguments", "option"),
    [
        ("eval", ["--flip"], "--flip"),
        ("eval", ["--scales", "1"], "--scales"),
        ("predict", ["a.jpg", "--slide", "1", "1"], "--slide"),
        ("predict", ["a.jpg", "--opacity", "0"], "--opacity"),
        ("predict", ["a.jpg", "--city-ids"], "--city-ids"),
        ("export", ["--input-size", "32", "64"], "--input-size"),
    ],
)
def test_what_a_detector_does_not_have(command, arguments, option, capsys):
    line = refused(capsys, command, "-c", DETECTION, *arguments)
    assert f"{option} is for segmentation, and " in line
    assert line.endswith("is for detection; leave it out")


def test_a_configuration_of_neither_task(tiny, capsys, tmp_path):
    (tmp_path / "a.yml").write_text("model: {type: FCN}\n")
    assert "no 'model' with a 'train_dataset' (segmentation)" in refused(capsys, "train", "-c", "a.yml")


def changes(tiny, *given, overrides=()):
    """What the options make of test_config."""
    parser = options.parser("eval", "")
    options.add_task_options(parser, "eval")
    arguments = parser.parse_args(["-c", tiny, *given, *(["-o", *overrides] if overrides else [])])
    task, job = options.open_job(arguments)
    assert task.name == "segmentation"
    return options.task_options(arguments, "eval", task, job)["test_config"]


def test_options_replace_test_config(tiny):
    assert changes(tiny) is None
    flip = {"aug_eval": True, "flip_horizontal": True, "flip_vertical": False, "scales": [1.0]}
    assert changes(tiny, "--flip", overrides=["test_config={scales: [2]}"]) == flip  # without aug_eval, not in force
    active = ["test_config={aug_eval: true, scales: [2]}"]
    assert changes(tiny, "--flip", overrides=active) == {"aug_eval": True, "flip_horizontal": True}
    assert changes(tiny, "--scales", "0.5", "1", overrides=active) == {"aug_eval": True, "scales": [0.5, 1.0]}
    assert changes(tiny, "--slide", "32", "24") == {"is_slide": True, "crop_size": [32, 24], "stride": [21, 16]}
    assert changes(tiny, "--slide", "32", "24", "8", "4")["stride"] == [8, 4]
