"""Loading weights strictly: every tensor of a checkpoint is used or named."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import paddle

from ..errors import UserError
from .layouts import to_ours
from .reader import read_arrays


@dataclass
class LoadReport:
    """What became of each tensor.

    Attributes:
        source, layout (str): where the weights came from, and the layout that was recognised.
        used (list of str): tensors of the network that were filled.
        missing (list of str): tensors of the network that the checkpoint lacks.
        unexpected (list of str): tensors of the checkpoint that the network lacks.
        misshaped (list of (str, shape in the checkpoint, shape in the network)).
        left_out (list of str): tensors of a classifier that a backbone does not have (head, later stages).
        added (list of str): tensors that no classifier has and the checkpoint lacks; they stay as they started.
    """

    source: str
    layout: str
    used: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    misshaped: list = field(default_factory=list)
    left_out: list = field(default_factory=list)
    added: list = field(default_factory=list)

    @property
    def complete(self):
        """Whether nothing is missing, unexpected or mis-shaped."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self):
        parts = [f"{self.source} ({self.layout} layout): {len(self.used)} tensors used"]
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out, not part of a backbone")
        if self.added:
            parts.append(f"{len(self.added)} stay as they started, not part of a classifier")
        for name in ("missing", "unexpected"):
            if keys := getattr(self, name):
                parts.append(f"{len(keys)} {name} ({_few(keys)})")
        if self.misshaped:
            shapes = [f"{key} is {list(got)}, wanted {list(want)}" for key, got, want in self.misshaped]
            parts.append(f"{len(shapes)} of another shape ({_few(shapes)})")
        return "; ".join(parts)


def load_weights(layer, source, strict=True):
    """Fills a network of ours with weights.

    Args:
        layer (Layer): what `create_model` or `create_backbone` made.
        source (path | mapping of str to array): a .safetensors, .npz or .pdparams file, or the arrays themselves, in
            the official PyTorch layout or in Paddle's.
        strict (bool): raise, and change nothing, unless every tensor on both sides finds its partner. A classifier's
            head and later stages may be left over when `layer` is a backbone: the report names them. Default True.

    Returns:
        LoadReport.

    Raises:
        UserError: unreadable file, unknown layout, or, when strict, anything left over.
    """
    if isinstance(source, Mapping):
        name, arrays = "given arrays", {key: np.asarray(value) for key, value in source.items()}
    elif isinstance(source, bool):
        raise UserError(f"pretrained is {source}; give the path of a weights file, or none")
    else:
        name, arrays = str(source), read_arrays(source)
    layout, arrays = to_ours(arrays)
    report = LoadReport(name, layout)
    state = layer.state_dict()
    values = {}
    added = layer.added_keys() if hasattr(layer, "added_keys") else ()
    for key, tensor in state.items():
        if key not in arrays:
            (report.added if key in added else report.missing).append(key)
        elif tuple(arrays[key].shape) != tuple(tensor.shape):
            report.misshaped.append((key, tuple(arrays[key].shape), tuple(tensor.shape)))
        elif arrays[key].dtype.kind != ("f" if tensor.is_floating_point() else "i"):
            expected = "floating-point numbers" if tensor.is_floating_point() else "integers"
            raise UserError(f"{name}: {key} holds {arrays[key].dtype}; {expected} are expected")
        else:
            values[key] = np.ascontiguousarray(arrays[key], "float32" if tensor.is_floating_point() else "int64")
            report.used.append(key)
    extra = [key for key in arrays if key not in state]
    classifier_only = layer.classifier_only_keys() if extra and hasattr(layer, "classifier_only_keys") else ()
    for key in extra:
        (report.left_out if key in classifier_only else report.unexpected).append(key)
    if strict and not report.complete:
        hint = layer.misfit_hint(arrays) if hasattr(layer, "misfit_hint") else ""
        raise UserError(f"weights do not fit: {f'{name}: {hint}' if hint else report}")
    for key in report.used:
        state[key].set_value(paddle.to_tensor(values[key]))
    return report


def _few(items, count=4):
    items = list(items)
    return ", ".join(items[:count]) + (f", and {len(items) - count} more" if len(items) > count else "")
