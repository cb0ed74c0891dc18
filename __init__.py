"""HarDNet, PeleeNet and CondenseNetV2 as backbones for PaddleDetection and PaddleSeg, and as plain Paddle networks.

The names below are loaded when they are first used, so that `import densebone` takes no time. `__init__.pyi` tells
editors and type checkers what they are.
"""

import zlib  # noqa: F401  (before Paddle: Paddle 2.6 brings its own zlib, and Python's crashes when it is loaded later)
from importlib import import_module
from typing import Any

import_module("densebone.system.reports").forbid()
# The release that is being worked on. setup.py makes the version of an installation of it and of git's tags.
_NEXT_VERSION = "0.1.0"

# name -> the module that defines it
_HOMES = {
    "FeatureExtractor": "features.extractor",
    "LoadReport": "weights.loader",
    "PruningProgress": "backbones.pruning",
    "UserError": "errors",
    "condense": "backbones.condensing",
    "create_backbone": "registry",
    "create_model": "registry",
    "freeze": "backbones.freezing",
    "is_model": "registry",
    "list_models": "registry",
    "load_weights": "weights.loader",
    "model_info": "registry",
    "parameter_groups": "backbones.groups",
    "profile": "profiling.costs",
    "unfreeze": "backbones.freezing",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'densebone' has no attribute {name!r}")
    return getattr(import_module(f"densebone.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])


def _version() -> str:
    """What pip says is installed; files that nobody installed are a development version."""
    from importlib import metadata

    try:
        return metadata.version("densebone")
    except metadata.PackageNotFoundError:
        return f"{_NEXT_VERSION}.dev0"


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext densebone` in a notebook: `%densebone COMMAND ...` then runs a command in the notebook's process."""
    shell.register_magic_function(import_module("densebone.scripts").magic, magic_name="densebone")
