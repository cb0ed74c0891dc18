"""Runs what `densebone export` wrote, without Paddle: NumPy, Pillow, and ONNX Runtime or OpenVINO.

from densebone.runtime import Model

model = Model("exported/birds")
found = model("picture.jpg")         # boxes, classes of pixels, or the best classes

Imports pictures, system and errors.
"""

from .model import Model
from .results import Boxes, Classes, Maps, Pixels

__all__ = ["Boxes", "Classes", "Maps", "Model", "Pixels"]
