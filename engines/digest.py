"""A hash of everything that decides what an export computes, so that the cache never serves a wrong one."""

import hashlib
import importlib.util
import sys
from dataclasses import is_dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import paddle

from .conversion import OPSET


def digest(network: paddle.nn.Layer) -> str:
    """SHA-256 of everything that decides what a network computes and how it is converted, as hex digits.

    It covers the layers with their settings, weights and buffers; the source files of densebone's networks, of the
    conversion and of all layers that are not Paddle's; and the versions of Paddle and paddle2onnx.
    """
    total = hashlib.sha256()
    total.update(
        repr((paddle.version.full_version, _installed_version("paddle2onnx"), OPSET, _source_hash(network))).encode()
    )
    for name, layer in network.named_sublayers(include_self=True):
        kind = type(layer)
        settings = {key: _setting_text(value) for key, value in vars(layer).items() if key not in _NOT_SETTINGS}
        given = sorted((key, value) for key, value in settings.items() if value is not None)
        total.update(repr((name, kind.__module__, kind.__qualname__, given)).encode())
    for name, tensor in sorted([*network.named_parameters(), *network.named_buffers()], key=lambda pair: pair[0]):
        value = np.ascontiguousarray(tensor.numpy())
        total.update(repr((name, str(value.dtype), value.shape)).encode())
        total.update(value)
    return total.hexdigest()


# Attributes that do not change what a layer computes: its mode, names that Paddle counts up, where weights came from.
_NOT_SETTINGS = ("training", "deployed", "load_report", "_full_name", "_built", "_name", "_init_in_dynamic_mode")


def _setting_text(value):
    """Text for a setting: a number, a string, a function, or a list of these. None for any other attribute."""
    if value is None or isinstance(value, (bool, int, float, str)) or is_dataclass(value):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return repr([_setting_text(item) for item in value])
    return getattr(value, "__qualname__", None) if callable(value) else None


def _source_hash(network):
    """A hash of the source files of densebone's networks, of the conversion, and of the modules of other layers."""
    here, root = Path(__file__).parent, Path(__file__).parents[1]
    files = [file for room in ("backbones", "necks") for file in sorted((root / room).glob("*.py"))]
    files += [here / name for name in ("conversion.py", "fusing.py", "onednn.py", "program.py")]
    modules = {type(layer).__module__ for layer in network.sublayers(include_self=True)}
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)  # a class typed into a notebook has no file
        if name.partition(".")[0] != "paddle" and file:
            files.append(Path(file))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _installed_version(package):
    return version(package) if importlib.util.find_spec(package) else None
