"""HarDNet, PeleeNet and CondenseNetV2 as backbones for PaddleDetection and PaddleSeg, and as plain Paddle networks."""

import zlib  # noqa: F401  (before Paddle: Paddle 2.6 brings one of its own, and Python's crashes when loaded after it)
from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "FeatureExtractor": "features.extractor",
    "LoadReport": "weights.loader",
    "PruningProgress": "backbones.pruning",
    "UserError": "errors",
    "condense": "backbones.condensing",
    "create_backbone": "registry",
    "create_model": "registry",
    "list_models": "registry",
    "load_weights": "weights.loader",
    "profile": "profiling.costs",
}
__all__ = [*_HOMES]


def __getattr__(name):
    # Paddle is imported with the first name that needs it, so that the commands answer at once.
    if name not in _HOMES:
        raise AttributeError(f"module 'densebone' has no attribute {name!r}")
    return getattr(import_module(f"densebone.{_HOMES[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOMES])
