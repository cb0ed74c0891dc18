"""What can be compared, each by a name: our networks, those of other libraries such as `timm:lcnet_100`, ONNX files."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError, suggest
from ..registry import find_row
from ..system.packages import CONVERTERS, missing_package

OURS, FILE = "densebone", "onnx"


@dataclass(frozen=True)
class Source:
    """A library that has networks.

    Attributes:
        packages: what must be importable.
        install: the command that installs them.
        is_torch: whether its networks are PyTorch's; others are Paddle's.
    """

    packages: tuple[str, ...]
    install: str
    is_torch: bool = False


_PADDLECLAS = (
    "pip install --no-deps paddleclas==2.6.0 and pip install easydict faiss-cpu prettytable scikit-learn ujson visualdl"
)
#: the word before the colon -> the library
SOURCES: dict[str, Source] = {
    "torchvision": Source(("torch", "torchvision"), "pip install 'densebone[compare]'", is_torch=True),
    "timm": Source(("torch", "timm"), "pip install 'densebone[compare]'", is_torch=True),
    "paddle.vision": Source(("paddle",), "pip install paddlepaddle"),
    "paddleclas": Source(("paddleclas", "faiss", "easydict"), _PADDLECLAS),
    "ppdet": Source(("ppdet",), "pip install 'densebone[detection]'"),
    "paddleseg": Source(("paddleseg",), "pip install 'densebone[segmentation]'"),
}


@dataclass(frozen=True)
class Subject:
    """A network to compare.

    Attributes:
        name: how it is written in tables: as given, its options sorted.
        source: a key of `SOURCES`, `OURS` or `FILE`.
        network: its name in that library, or the path of a file.
        options: keyword arguments of the network.
    """

    name: str
    source: str
    network: str
    options: dict[str, Any]

    @property
    def is_torch(self) -> bool:
        """Whether it is a network of PyTorch."""
        return self.source in SOURCES and SOURCES[self.source].is_torch


def parse(text: str) -> Subject:
    """A network by its name: `hardnet68`, `timm:lcnet_100`, `ppdet:CSPResNet,width_mult=0.5`, `onnx:FILE`.

    Raises:
        UserError: there is no such library, model of ours or file, or an option is no KEY=VALUE.
    """
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = OURS, text
    if source == FILE:
        if not Path(rest).is_file():
            raise UserError(f"there is no file {rest!r}; give onnx:FILE with the path of an .onnx file")
        return Subject(text, FILE, rest, {})
    if source not in (*SOURCES, OURS):
        known = ", ".join(f"{name}:" for name in (*SOURCES, FILE))
        raise UserError(
            f"{text!r}: there is no library {source!r} to compare with; give a model of ours, or one of {known}"
        )
    network, *given = rest.split(",")
    options = dict(_option(text, one) for one in given)
    if source == OURS:
        find_row(network)
    elif not network.replace("_", "").replace(".", "").replace("-", "").isalnum():
        raise UserError(
            f"{text!r}: {network!r} is no name of a network; give {source}:NAME, such as {_EXAMPLES[source]}"
        )
    start = "" if source == OURS else f"{source}:"
    name = ",".join([start + network, *(f"{key}={options[key]}" for key in sorted(options))])
    return Subject(name, source, network, options)


_EXAMPLES = {
    "torchvision": "torchvision:resnet18",
    "timm": "timm:mobilenetv3_large_100",
    "paddle.vision": "paddle.vision:mobilenet_v3_large",
    "paddleclas": "paddleclas:PPLCNet_x1_0",
    "ppdet": "ppdet:CSPResNet",
    "paddleseg": "paddleseg:STDC1",
}


def _option(text, given):
    """KEY=VALUE as (key, value); a value that is no Python literal is a text."""
    key, equals, value = given.partition("=")
    if not equals or not key.isidentifier():
        raise UserError(f"{text!r}: {given!r} is no KEY=VALUE; write options as in ppdet:CSPResNet,width_mult=0.5")
    if key == "pretrained":
        raise UserError(
            f"{text!r}: networks are compared with random weights, which cost the same; leave pretrained out"
        )
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def parse_all(texts: Sequence[str]) -> list[Subject]:
    """Networks by their names, as `parse` reads them. UserError for none at all, for one that is given twice, and for
    one whose library is not installed.
    """
    if not texts:
        raise UserError(
            f"give networks to compare: models of ours (densebone list), or {', '.join(_EXAMPLES.values())}"
        )
    subjects = [parse(text) for text in texts]
    names = [subject.name for subject in subjects]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is given twice; give each network once")
    for subject in subjects:
        check_installed(subject)
    return subjects


def check_installed(subject: Subject) -> None:
    """UserError that names the missing package and the command that installs it."""
    source = SOURCES.get(subject.source, Source((), ""))
    for package in source.packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{subject.name}: {package} is not installed; {source.install}")
    if not subject.is_torch and subject.source != FILE and (reason := missing_package(*CONVERTERS)):
        raise UserError(f"{subject.name}: {reason}")


def unknown(subject: Subject, known: Sequence[str]) -> UserError:
    """The error for a network that its library does not have."""
    return UserError(f"{subject.source} has no network {subject.network!r}; {suggest(subject.network, known)}")
