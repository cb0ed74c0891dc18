"""The fastest way to run a network on a CPU: OpenVINO, ONNX Runtime, Paddle Inference, or Paddle as it is.

`open_network` runs a network, `open_exported` an exported model. Imports backbones, weights, pictures, system and
errors.
"""

from .opening import EngineLayer, available, missing, open_exported, open_network
from .session import Engine

__all__ = ["Engine", "EngineLayer", "available", "missing", "open_exported", "open_network"]
