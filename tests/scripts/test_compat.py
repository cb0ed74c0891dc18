"""`densebone compat` with the installed toolkits, on a fixed small sample of the matrix."""

import json

import pytest
import yaml

from densebone.tasks import trials

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

# a head that no other test trains, and one of the other toolkit, on a backbone that has no test of its own there
BACKBONE, SAMPLE = "PeleeNet", ("TOOD", "FCN")


def test_a_sample_of_the_matrix(densebone, tmp_path):
    done = densebone("compat", "--backbones", BACKBONE, "--heads", *SAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "output/compat/results.jsonl").read_text().splitlines()]
    assert {(row["backbone"], row["head"]) for row in rows} == {(BACKBONE, head) for head in SAMPLE}
    assert all(row["works"] and row["parameters"] > 1e6 for row in rows)
    assert max(row.get("boxes", 0) for row in rows) > 0  # so that boxes of the exported model were compared
    page = (tmp_path / "output/compat/compatibility.md").read_text()
    assert "## PaddleSeg " in page and "|  | PeleeNet |\n| --- | --- |\n| TOOD | yes |\n" in page


@pytest.mark.parametrize("toolkit", trials.TOOLKITS)
def test_every_pair_has_a_configuration(toolkit):
    job = trials.heads_of(toolkit)
    _, backbones = job.prepare()
    for head in job.HEADS:
        for backbone in backbones:
            content = yaml.safe_load(job.yaml_of(backbone, head).replace("!!python/module", "!!str #"))
            assert not {"_BASE_", "_base_"} & set(content)
            if toolkit == "segmentation":
                assert content["model"]["type"] == head and content["model"]["backbone"]["type"] == backbone
            else:
                assert content[job.HEADS[head].block]["backbone"] == backbone
                assert content[backbone] == {"return_idx": list(job.HEADS[head].maps)}
                assert {"LearningRate", "TrainReader", "TestReader", "EvalReader", "epoch"} <= set(content)


def test_show(densebone, tmp_path):
    done = densebone("compat", "--show", "hardnet68", "faster rcnn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = done.stdout[done.stdout.index("# Faster-RCNN on HarDNet68") :]
    assert text.split("\n")[1] == "plugin: !!python/module:densebone.integrations.paddledet ''"
    assert "architecture: FasterRCNN\n" in text and "HarDNet68: {return_idx: [0, 1, 2, 3]}\n" in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--heads", "GFLS"], "densebone: there is no head 'GFLS'; the nearest names are GFL"),
        (["--backbones", "ResNet"], "densebone: there is no backbone 'ResNet'; "),
        (["--show", "PeleeNet", "YOLOv9"], "densebone: there is no head 'YOLOv9'; the nearest names are YOLOv3"),
        (["--jobs", "0"], "densebone: --jobs is 0; give 1 or more"),
    ],
    ids=str,
)
def test_what_is_not_there(arguments, message, capsys):
    from densebone.scripts import main

    assert main(["compat", *arguments]) == 2
    assert message in capsys.readouterr().err
