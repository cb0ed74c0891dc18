"""Runs a network as fast as possible on a CPU, with OpenVINO, ONNX Runtime, Paddle Inference or Paddle itself.

`open_network` opens a network, `open_exported` an exported model. Imports backbones, weights, pictures, system and
errors.
"""

from .opening import EngineLayer, available, missing, open_exported, open_network
from .session import Engine

__all__ = ["Engine", "EngineLayer", "available", "missing", "open_exported", "open_network"]
