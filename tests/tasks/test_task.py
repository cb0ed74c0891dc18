"""The three tasks have the same files, functions and signatures."""

import importlib
import inspect

import pytest

from densebone import UserError
from densebone.scripts.options import find_config
from densebone.tasks.task import PARTS, TASKS, Job, task_of

# part -> {function: its first parameters, which all tasks have in this order}
INTERFACE = {
    "options": {"add_options": ["parser", "command"], "read_options": ["arguments", "command", "job"]},
    "config": {"load": ["path", "overrides", "data", "pretrained"]},
    "settings": {"change": ["job", "settings"], "describe": ["job", "evaluates"]},
    "data": {"check_data": ["job", "part"], "class_names": ["job"]},
    "weights": {"load_trained": ["job", "weights", "model"]},
    "training": {"train": ["job", "resume", "evaluate", "amp", "loggers", "seed", "overwrite", "patience"]},
    "evaluation": {"evaluate": ["job", "weights", "engine"], "describe": ["result"]},
    "prediction": {"predict": ["job", "paths", "output", "weights", "engine"], "describe": ["result"]},
    "exporting": {"export": ["job", "output", "weights", "check", "formats"], "describe": ["result"]},
    "browsing": {"samples": ["job", "count", "seed", "cell"]},
    "project": {"decide": ["data", "wishes", "folder", "place"]},
    "sizing": {"network_and_input": ["job", "size"]},
}
TOOLKITS = {"detection": "ppdet", "segmentation": "paddleseg"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_the_interface(name):
    if name in TOOLKITS:
        pytest.importorskip(TOOLKITS[name], reason=f"needs the toolkit: pip install densebone[{name}]")
    assert set(INTERFACE) == set(PARTS)
    for part, functions in INTERFACE.items():
        module = TASKS[name].part(part)
        for function, parameters in functions.items():
            given = inspect.signature(getattr(module, function)).parameters
            assert list(given)[: len(parameters)] == parameters, f"{name}.{part}.{function}"
            extra = list(given.values())[len(parameters) :]
            assert all(p.default is not p.empty for p in extra), f"{name}.{part}.{function}: options need defaults"


@pytest.mark.parametrize("name", TASKS)
def test_the_job_of_a_task_names_it(name):
    assert importlib.import_module(f"densebone.tasks.{name}.job").Job.task == name
    assert issubclass(importlib.import_module(f"densebone.tasks.{name}.job").Job, Job)


def test_the_options_of_a_task_are_its_own():
    names = [name for task in TASKS.values() for name in task.exclusive]
    assert len(names) == len(set(names))


def test_a_configuration_tells_its_task(tmp_path):
    for name in ("ssd_hardnet68_300_150e_coco", "fchardnet70_cityscapes_1024x1024_90k", "hardnet68_150e_imagenet"):
        assert find_config(name).parent.name == task_of(find_config(name)).name
    (tmp_path / "a.yml").write_text("epoch: 3\n")
    with pytest.raises(UserError, match="so it is not clear what it trains"):
        task_of(tmp_path / "a.yml")
