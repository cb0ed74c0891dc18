"""Reading a detection configuration: overrides, unknown keys, device.

PaddleDetection has one configuration in a process. A second one that is loaded replaces the first.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import yaml

from ...errors import UserError, suggest
from ...system import quiet
from ...system.lazy import put_off
from ...system.packages import toolkit_command
from ..configuration import anchored_keys, apply_override, check_texts, gpu_to_use, with_bases
from .job import Job

# Top-level keys that PaddleDetection's engine or densebone reads. The registry knows those of components.
_ENGINE_KEYS = frozenset(
    """
    _BASE_ plugin architecture metric map_type num_classes weights pretrain_weights epoch log_iter save_dir
    snapshot_epoch worker_num use_gpu use_npu use_xpu use_mlu amp amp_level master_grad custom_white_list
    custom_black_list init_loss_scaling use_ema ema_decay ema_decay_type ema_black_list ema_filter_no_grad
    cycle_epoch find_unused_parameters use_fused_allreduce_gradients fleet norm_type export export_onnx print_params
    print_flops print_mem_info classwise bias output_eval save_prediction_only IouType save_proposals proposals_path
    to_static use_vdl vdl_log_dir use_wandb wandb profiler_options unstructured_prune slim slim_type filename
    log_ranks uniform_output_enabled
    """.split()  # noqa: SIM905
)

# Components that a development checkout has and the release 2.6.0 lacks -> the detector that they make.
_DEVELOPMENT = {"HybridEncoder": "RT-DETR", "RTDETRTransformer": "RT-DETR"}


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    data: str | None = None,
    pretrained: bool = True,
    plugins: Sequence[str] = (),
) -> Job:
    """The job that a configuration describes, with PaddleDetection's components and densebone's registered.

    Every key is checked.

    Args:
        path: a .yml file.
        overrides: "key.sub.0.name=value" each. Numbers step into lists, values are YAML.
        data: folder that becomes dataset_dir of TrainDataset, EvalDataset and TestDataset.
        pretrained: False builds densebone's backbones without their `pretrained` weights, because trained ones replace
            them.
        plugins: modules that a `!!python/module:NAME` of the configuration may import, besides densebone's adapter.

    Raises:
        UserError: PaddleDetection is not installed; not a YAML mapping; unknown key; an override that leads nowhere.
    """
    with_bases(path, plugins)  # before PaddleDetection's loader, which runs what a tag names
    workspace, paddledet = import_toolkit()
    _forget(workspace)
    try:
        cfg = workspace.load_config(str(path))
    except (yaml.YAMLError, OSError, AssertionError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a configuration: {' '.join(str(error).split())}") from error
    overrides = list(overrides)
    for override in overrides:
        apply_override(cfg, override, _ENGINE_KEYS)
    given = [override.partition("=")[2] for override in overrides if override.startswith("weights=")]
    if data is not None:
        for name in ("TrainDataset", "EvalDataset", "TestDataset"):
            _child_block(cfg, name)["dataset_dir"] = str(data)
    for key in ("architecture", "num_classes"):
        if key not in cfg:
            raise UserError(f"{path} has no {key!r}; a detection configuration needs it")
    check_texts({key: value for key, value in cfg.items() if isinstance(value, (dict, str, int))}, path)
    _check_keys(cfg, path)
    if not pretrained:
        for name in paddledet.__all__:
            if (cfg.get(name) or {}).get("pretrained"):
                cfg[name]["pretrained"] = None
    _set_device(cfg)
    return Job(Path(path), cfg, given[-1] if given else None)


def _forget(workspace):
    """Resets every component to its own defaults; else what an earlier configuration set would still count."""
    for key, value in list(workspace.global_config.items()):
        if isinstance(value, workspace.SchemaDict):
            workspace.global_config[key] = workspace.extract_schema(getattr(value.pymodule, key))
        else:
            del workspace.global_config[key]


def _child_block(cfg, name):
    if not isinstance(cfg.get(name), dict):
        raise UserError(f"--data: the configuration has no {name} whose folder could be set")
    return cfg[name]


def import_toolkit() -> tuple[ModuleType, ModuleType]:
    """Registers all that a configuration can name; returns PaddleDetection's workspace and densebone's adapter.

    Raises:
        UserError: PaddleDetection cannot be imported.
    """
    try:
        with quiet.prints_dropped("Warning: Unable to use numba") if quiet.is_silent() else nullcontext():
            with put_off("sklearn", "pandas", "matplotlib.pyplot"):  # a second, and nothing of ours needs them
                import ppdet.core.workspace as workspace
            import ppdet.engine  # noqa: F401  (registers everything that a configuration can name)
    except ImportError as error:
        raise UserError(
            f"PaddleDetection cannot be imported ({error}); {toolkit_command('detection')}, or put a checkout of it on "
            "PYTHONPATH"
        ) from error
    from ...integrations import guards, paddledet

    guards.guard()
    if quiet.is_silent():
        _silence_toolkit()
    return workspace, paddledet


def _silence_toolkit():
    """Keeps PaddleDetection's lines of losses, its warnings, and the scores of pycocotools."""
    from pycocotools import coco, cocoeval

    quiet.mute_prints(coco)
    quiet.mute_prints(cocoeval, " Average")
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("ppdet"):
            for handler in logging.getLogger(name).handlers:
                quiet.keep_records(handler, "Epoch: ")


def _check_keys(cfg, path):
    """Raises UserError for a top-level key, a component's argument or a transform that nothing reads."""
    from ppdet.core.workspace import get_registered_modules
    from ppdet.data import transform

    modules = get_registered_modules()
    shared = {key for module in modules.values() for key in module.shared}
    known = _ENGINE_KEYS | shared | set(modules)
    anchored = anchored_keys(path)
    for key in cfg:
        if key in _DEVELOPMENT and key not in known:
            raise UserError(
                f"{path}: {_DEVELOPMENT[key]} needs a {key}, which the installed PaddleDetection does not have; put a "
                f"development checkout (October 2024) on PYTHONPATH"
            )
        if key not in known and key not in anchored:
            raise UserError(f"{path}: unknown key {key!r}; {suggest(key, known)}")
    for name, module in modules.items():
        extra = module.find_extra_keys() if module.strict else ()
        if extra:
            raise UserError(f"{path}: {name} has no argument {sorted(extra)[0]!r}; {suggest(extra[0], module.schema)}")
    for reader in ("TrainReader", "EvalReader", "TestReader"):
        block = cfg.get(reader) or {}
        for step in [*(block.get("sample_transforms") or ()), *(block.get("batch_transforms") or ())]:
            _check_transform(step, reader, transform, path)


def _check_transform(step, reader, transform, path):
    names = transform.__all__ if hasattr(transform, "__all__") else vars(transform)
    for name, arguments in step.items():
        operator = getattr(transform, name, None)
        if not inspect.isclass(operator):
            classes = [n for n in names if inspect.isclass(getattr(transform, n, None))]
            raise UserError(f"{path}: {reader} has the unknown transform {name!r}; {suggest(name, classes)}")
        allowed = inspect.signature(operator).parameters
        if any(p.kind is p.VAR_KEYWORD for p in allowed.values()):
            continue
        for key in arguments or {}:
            if key not in allowed:
                raise UserError(f"{path}: {reader}, {name} has no argument {key!r}; {suggest(key, allowed)}")


def _set_device(cfg):
    """Takes the GPU when Paddle has one. Prints a note when the configuration asks for one and there is none."""
    import paddle

    cfg.use_gpu = gpu_to_use(bool(cfg.get("use_gpu")))
    for key in ("use_npu", "use_xpu", "use_mlu"):
        cfg.setdefault(key, False)
    if not (cfg.use_npu or cfg.use_xpu or cfg.use_mlu):
        paddle.set_device("gpu" if cfg.use_gpu else "cpu")
    cfg.setdefault("log_iter", 20)
    cfg.setdefault("snapshot_epoch", 1)
    cfg.setdefault("save_dir", "output")
