"""What a profile holds: the costs of each layer and of the whole network; and its JSON and CSV files."""

import csv
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..system.files import atomic_path

#: the figures that layers and whole networks have in common, in the order of tables and files
FIGURES = ("parameters", "macs", "cio", "moc", "activation_bytes", "weight_bytes", "intensity")


@dataclass
class LayerCost:
    """What one convolution or linear layer costs, over all its calls in one forward pass.

    Attributes:
        name: the layer's path in the network, as in the state dict.
        kind: such as "conv 3x3", "depthwise 3x3", "grouped 1x1", "transposed 2x2" or "linear".
        input_shape, output_shape: in its first call.
        parameters: weights and biases.
        element_size: bytes per element.
        macs: multiply-adds. Adding a bias does not count.
        cio: elements that a convolution reads and writes; 0 for a linear layer.
        elements: elements that the layer reads and writes, without its weights.
        calls: how often the forward pass uses the layer. Each call reads the weights again.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    element_size: int
    macs: int = 0
    cio: int = 0
    elements: int = 0
    calls: int = 0

    @property
    def moc(self) -> float | None:
        """MACs over CIO: multiply-adds per element that is read or written. None for a linear layer."""
        return self.macs / self.cio if self.cio else None

    @property
    def activation_bytes(self) -> int:
        """Bytes of the elements that the layer reads and writes, without its weights."""
        return self.elements * self.element_size

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights and biases. Each call reads them once."""
        return self.parameters * self.calls * self.element_size

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOP (two per multiply-add) per byte of activations and weights."""
        return 2 * self.macs / (self.activation_bytes + self.weight_bytes)


@dataclass(frozen=True)
class Profile:
    """What a network costs in one forward pass in eval mode.

    Attributes:
        name: of the model, or of the layer's class.
        input_shape: (batch, channels, height, width).
        precision: of activations and weights, a key of `costs.PRECISIONS`.
        balance: FLOP per byte of the machine. A layer with a lower intensity is memory-bound on it.
        parameters: of all layers, without the running statistics of batch norms.
        layers: convolutions and linear layers, in the order in which they first run.
    """

    name: str
    input_shape: tuple[int, ...]
    precision: str
    balance: float
    parameters: int
    layers: list[LayerCost]

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def cio(self) -> int:
        """Elements that the convolutions read and write."""
        return sum(layer.cio for layer in self.layers)

    @property
    def moc(self) -> float | None:
        """Multiply-adds of the convolutions over CIO. None without convolutions."""
        return sum(layer.macs for layer in self.layers if layer.cio) / self.cio if self.cio else None

    @cached_property
    def activation_bytes(self) -> int:
        """Bytes that convolutions and linear layers read and write, without weights."""
        return sum(layer.activation_bytes for layer in self.layers)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights that convolutions and linear layers read."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOP per byte of activations and weights."""
        moved = self.activation_bytes + self.weight_bytes
        return 2 * self.macs / moved if moved else 0.0

    @property
    def other_parameters(self) -> int:
        """Parameters of layers that are not counted, such as batch norms."""
        return self.parameters - sum(layer.parameters for layer in self.layers)

    @property
    def memory_bound(self) -> list[LayerCost]:
        """The memory-bound layers."""
        return [layer for layer in self.layers if self.is_memory_bound(layer)]

    def is_memory_bound(self, layer: LayerCost) -> bool:
        """Whether a layer does fewer FLOP per byte than the machine could."""
        return layer.intensity < self.balance

    def renamed(self, name: str) -> "Profile":
        """The same profile under another name."""
        return replace(self, name=name)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: the totals, and `layers` as a list of rows."""
        totals = {key: getattr(self, key) for key in ("name", "input_shape", "precision", "balance", *FIGURES)}
        return {**totals, "layers": [self._row(layer) for layer in self.layers]}

    def _row(self, layer):
        row = {key: getattr(layer, key) for key in ("name", "kind", "calls", "input_shape", "output_shape", *FIGURES)}
        return {**row, "memory_bound": self.is_memory_bound(layer)}

    def save_json(self, path: str | Path) -> None:
        """Write `as_dict` to a file. UserError if it cannot be written."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1) + "\n")

    def save_csv(self, path: str | Path) -> None:
        """Write one line per layer, with shapes such as 1x64x56x56. UserError if the file cannot be written."""
        rows = [self._row(layer) for layer in self.layers]
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            for row in rows:
                shapes = {key: "x".join(map(str, value)) for key, value in row.items() if isinstance(value, tuple)}
                writer.writerow({**row, **shapes})
