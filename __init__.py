"""HarDNet, PeleeNet and CondenseNetV2 as backbones for PaddleDetection and PaddleSeg, and as plain Paddle networks."""

from densebone.errors import UserError
from densebone.registry import create_backbone, create_model, list_models
from densebone.weights.loader import LoadReport, load_weights

__version__ = "0.1.0"
__all__ = ["LoadReport", "UserError", "create_backbone", "create_model", "list_models", "load_weights"]
