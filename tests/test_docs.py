"""What README and docs say is what happens."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import densebone as db

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(language):
    found = []
    for page in PAGES:
        for i, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.S)):
            found.append(pytest.param(text, id=f"{page.stem}-{i}"))
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code, capsys):
    exec(compile(code, "example", "exec"), {})
    expected = re.findall(r"print\(.*\)\s+# (.*)", code)
    assert capsys.readouterr().out.split("\n")[: len(expected)] == expected


SEGMENTATION = [block for block in blocks("yaml") if block.values[0].startswith("model:")]
CLASSIFICATION = [block for block in blocks("yaml") if block.values[0].startswith("task: classification")]
DETECTION = [block for block in blocks("yaml") if not block.values[0].startswith(("model:", "task:"))]


@pytest.mark.parametrize("text", SEGMENTATION)
def test_yaml_examples_of_segmentation_use_registered_names(text):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    import paddleseg.models
    from paddleseg.cvlibs import manager

    from densebone.integrations import paddleseg  # noqa: F401

    model = yaml.safe_load(text)["model"]
    for block, kind in ((model, manager.MODELS), (model.pop("backbone", None), manager.BACKBONES)):
        if block:
            component = kind[block.pop("type")]
            assert set(block) <= set(inspect.signature(component).parameters)


@pytest.mark.parametrize("text", [b for b in SEGMENTATION if "train_dataset:" in b.values[0]])
def test_whole_configurations_of_segmentation_are_read(text, tmp_path):
    pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
    from densebone.tasks.segmentation import config

    (tmp_path / "mine.yml").write_text(text)
    job = config.load(tmp_path / "mine.yml", pretrained=False)
    assert len(job.class_names) == job.num_classes
    assert job.builder.loss["coef"] == [1]


@pytest.mark.parametrize("text", CLASSIFICATION)
def test_whole_configurations_of_classification_are_read(text, tmp_path):
    from densebone.tasks.classification import config

    (tmp_path / "mine.yml").write_text(text)
    assert config.load(tmp_path / "mine.yml").transforms


def test_every_test_that_the_table_of_inputs_names_exists():
    page = (ROOT / "docs/security.md").read_text()
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 15 and [name for name in named if f"def {name}(" not in code] == []
    assert all((ROOT / path).is_file() for path in re.findall(r"`(tests/[\w/]+\.py)`", page))
    rows = [row for row in page.split("\n## Nothing")[0].splitlines() if row.startswith("| ") and "---" not in row]
    assert [row for row in rows[1:] if "test" not in row and "environment variables" not in row] == []


def test_keys_of_classification_are_explained():
    from densebone.tasks.classification.job import Job
    from densebone.tasks.classification.layouts import DATASETS
    from densebone.tasks.classification.transforms import TRANSFORMS

    page = "".join((ROOT / "docs" / name).read_text() for name in ("classification.md", "classification_training.md"))
    settings = [name for name, field in Job.__dataclass_fields__.items() if field.metadata]
    for name in (*DATASETS, *TRANSFORMS, *settings):
        assert f"`{name}`" in page or name in ("save_dir", "use_gpu"), name
    for kind in TRANSFORMS.values():
        row = re.search(rf"^\| `{kind.__name__}` \|.*$", page, flags=re.M).group()
        assert all(f"`{key}" in row for key in kind.__dataclass_fields__), kind


@pytest.mark.acceptance
def test_the_commands_of_classification_run(tmp_path, monkeypatch, capsys):
    """Minutes: it trains on the sample set."""
    from densebone.scripts import main

    monkeypatch.chdir(tmp_path)
    for line in re.search(r"```sh\n(.*?)```", (ROOT / "docs/classification.md").read_text(), flags=re.S)[
        1
    ].splitlines():
        assert main(line.partition("#")[0].split()[1:]) == 0, line
    assert capsys.readouterr().out.count('"top"') == 200


@pytest.mark.parametrize("text", DETECTION)
def test_yaml_examples_use_registered_names(text):
    pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
    from ppdet.core.workspace import get_registered_modules

    from densebone.integrations import paddledet

    content = yaml.load(text, Loader=yaml.Loader)
    assert content.pop("plugin", paddledet) is paddledet
    modules = get_registered_modules()
    for name, block in content.items():
        if name == "use_fused_allreduce_gradients":  # read by PaddleDetection's trainer, not by a component
            continue
        assert set(block) <= set(modules[name].schema)
        assert block.get("backbone", name) in modules


def test_linked_pages_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name} links to {target}"


def test_model_table_is_the_registry():
    page = (ROOT / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([\d,]+) \| [\d.]+ G \| ((?:\d+ ){3,}\d+) \|", page, flags=re.M)
    whole = re.findall(r"^\| (fchardnet70|centernet_hardnet85) \| ([\d,]+) \| [\d.]+ G \| (\d+) \|", page, flags=re.M)
    assert sorted(name for name, _, _ in [*rows, *whole]) == db.list_models()
    for name, parameters, numbers in [*rows, *whole]:
        net = db.create_model(name)
        assert sum(p.size for p in net.parameters() if not p.stop_gradient) == int(parameters.replace(",", ""))
        assert ([net.num_classes] if (name, parameters, numbers) in whole else net.channels) == [
            int(number) for number in numbers.split()
        ]


def test_named_configurations_ship():
    from densebone.scripts.options import shipped_configs

    for page in PAGES:
        for name in re.findall(r"-c (\w+_(?:coco|voc|sample|imagenet|cifar\d+|\d+k))\b", page.read_text()):
            assert name in shipped_configs(), f"{page.name} names {name}"
