"""ONNX operators in the making: nodes and constants that stand behind, between or around traced networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class Graph:
    """Nodes and constants, all with a prefix that the networks' names do not have.

    Args:
        prefix: of the names.
    """

    def __init__(self, prefix: str):
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of several."""
        from onnx import helper

        name = f"{self.prefix}.{len(self.nodes)}"
        names = [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name, **attributes))
        return names if outputs > 1 else names[0]

    def name(self, value: str, name: str) -> None:
        """Gives a value another name, which is not prefixed."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name], f"{self.prefix}.{name}"))

    def constant(self, value: Any, dtype: Any) -> str:
        """Adds a constant; returns its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def whole(self, values: Iterable[int]) -> str:
        """A constant of whole numbers."""
        return self.constant(list(values), np.int64)

    def filled(self, shape: str, value: float) -> str:
        """A float tensor of a shape, with one value everywhere."""
        from onnx import numpy_helper

        return self.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([value], np.float32)))

    def size(self, value: str, axis: int) -> str:
        """The size (1,) of an axis."""
        return self.add("Shape", value, start=axis, end=axis + 1)

    def insert(self, model: Any, inputs: Sequence[str]) -> list[str]:
        """Adds all nodes of a model, whose inputs become values that are there; returns the names of its outputs.

        Args:
            model: of the same opset.
            inputs: one for each input of the model.
        """
        from onnx import compose

        copy = compose.add_prefix(model, f"{self.prefix}.{len(self.nodes)}.")
        for given, value in zip(inputs, copy.graph.input, strict=True):
            self.name(given, value.name)
        self.nodes.extend(copy.graph.node)
        self.constants.extend(copy.graph.initializer)
        return [value.name for value in copy.graph.output]
