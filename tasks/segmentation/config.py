"""Reading a segmentation configuration: PaddleSeg's sections, the settings of a run, overrides, unknown keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ...errors import UserError
from ...system.packages import toolkit_command
from ...training.loading import usual_workers
from ..configuration import anchored_keys, apply_override, check_texts, plain, set_device, with_bases
from .job import Job

# Top-level keys that densebone reads and PaddleSeg does not. docs/segmentation.md explains them.
RUN_SETTINGS = {
    "save_dir": "output",
    "log_iters": 10,
    "save_interval": 1000,
    "num_workers": None,
    "keep_checkpoints": 5,
    "class_names": None,
    "label_map": None,
    "use_gpu": None,
}
_LEAST = {"batch_size": 1, "iters": 1, "log_iters": 1, "save_interval": 1, "num_workers": 0, "keep_checkpoints": 0}


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    data: str | None = None,
    pretrained: bool = True,
    plugins: Sequence[str] = (),
) -> Job:
    """The job that a configuration describes, with PaddleSeg's components and densebone's registered.

    Every key is checked.

    Args:
        path: a .yml file.
        overrides: "key.sub.0.name=value" each. Numbers step into lists, values are YAML.
        data: folder that becomes dataset_root of train_dataset and val_dataset. Lists of files below the old root are
            looked for at the same place below the new one.
        pretrained: False leaves out the configuration's `pretrained` weights, because trained ones replace them.
        plugins: modules that a `!!python/module:NAME` of the configuration may name, besides densebone's adapter.

    Raises:
        UserError: PaddleSeg is not installed; not a YAML mapping; an unknown key, type or argument; settings that
            contradict each other; an override that leads nowhere.
    """
    with_bases(path, plugins)
    parse = import_toolkit()
    from . import checks
    from .builder import Builder, Settings

    path, anchored = Path(path), anchored_keys(path)
    try:
        dic = plain(parse(str(path)))
    except (yaml.YAMLError, OSError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a configuration: {' '.join(str(error).split())}") from error
    known = checks.TOOLKIT_KEYS | set(RUN_SETTINGS)
    for override in overrides:
        apply_override(dic, override, known)
    dic = plain(dic)
    check_texts(dic, path)
    checks.check_keys(dic, known, anchored, path)
    for key in ("train_dataset", "val_dataset"):
        if data is not None and key in dic:
            _move_data(dic[key], data)
    if not pretrained:
        _leave_out_pretrained(dic["model"])
    run = _run_settings(dic, path)
    checks.check_components(dic, path)
    checks.check_test_config(dic.get("test_config") or {}, f"{path}: test_config")
    checks.check_classes(dic, checks.num_classes(dic), path)
    checks.check_channels(dic, path)
    checks.check_loss_pixels(dic, path)
    if type(dic["optimizer"].get("weight_decay")) is int:  # PaddleSeg takes 0.0 and refuses 0
        dic["optimizer"]["weight_decay"] = float(dic["optimizer"]["weight_decay"])
    try:
        config = Settings(dic)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    set_device(run["use_gpu"])
    run["num_workers"] = usual_workers() if run["num_workers"] is None else run["num_workers"]
    return Job(path, dic, config, Builder(config), **run)


def import_toolkit() -> Callable[[str], dict[str, Any]]:
    """Registers all that a configuration can name; returns PaddleSeg's reader of a file and its bases.

    Raises:
        UserError: PaddleSeg cannot be imported.
    """
    try:
        import paddleseg.datasets
        import paddleseg.models
        import paddleseg.optimizers
        import paddleseg.transforms  # noqa: F401
        from paddleseg.cvlibs.config import parse_from_yaml
        from paddleseg.utils import logger
    except ImportError as error:
        raise UserError(
            f"PaddleSeg cannot be imported ({error}); {toolkit_command('segmentation')}, or put a checkout of it on "
            "PYTHONPATH"
        ) from error
    from ...integrations import guards
    from ...integrations import paddleseg as adapter  # noqa: F401

    guards.guard()
    logger.log_level = 0  # errors alone: densebone prints what the user needs of building and evaluating
    return parse_from_yaml


def _run_settings(dic, path):
    run = {key: dic.get(key, default) for key, default in RUN_SETTINGS.items()}
    for key, least in _LEAST.items():
        value = dic.get(key, run.get(key))
        if key == "num_workers" and value is None:
            continue
        if type(value) is not int or value < least:
            raise UserError(f"{path}: {key} is {value!r}; a whole number of at least {least} is expected")
    names = run["class_names"]
    if names is not None and (not isinstance(names, list) or len(set(map(str, names))) < len(names)):
        raise UserError(f"{path}: class_names is {names!r}; a list of different names is expected")
    run["class_names"] = None if names is None else [str(name) for name in names]
    if run["save_dir"] in (None, ""):
        raise UserError(f"{path}: save_dir is {run['save_dir']!r}; the name of a folder is expected")
    run["save_dir"] = str(run["save_dir"])
    return run


def _move_data(dataset, folder):
    """Sets dataset_root. Lists of files below the old root move with it."""
    old = dataset.get("dataset_root")
    dataset["dataset_root"] = str(folder)
    for key in ("train_path", "val_path", "test_path"):
        if old and isinstance(dataset.get(key), str):
            below = os.path.relpath(dataset[key], old)
            if below.split(os.sep)[0] != os.pardir:
                dataset[key] = os.path.join(folder, below)


def _leave_out_pretrained(block):
    for key, value in block.items():
        if key in ("pretrained", "pretrained_encoder"):
            block[key] = None
        elif isinstance(value, dict):
            _leave_out_pretrained(value)
