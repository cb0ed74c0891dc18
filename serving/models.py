"""The models of a server, by the names that requests call them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, suggest
from ..runtime import Model
from ..runtime.model import read_card
from ..runtime.sessions import Tensor
from .settings import Refused

#: what a name may look like, which stands in paths of URLs and in metrics
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: the end of the name under which a model takes pictures in the Open Inference Protocol
PICTURES = "_pictures"


class Served:
    """A model that is open, and has answered once.

    Args:
        name: by which requests call it.
        folder: that `densebone export` wrote, with ONNX or OpenVINO.
        options: of `runtime.Model`: engine, threads, precision, streams.

    Attributes:
        name: see above.
        model: gives all boxes and all classes; requests say which they want.
        takes_pictures: whether its card says how a picture is prepared.
        inputs, outputs: of the network.
        joins: whether several requests may run together.

    Raises:
        UserError: no model, or one that cannot answer requests.
    """

    def __init__(self, name: str, folder: Path, options: Mapping[str, Any]):
        self.name = name
        classes = read_card(folder).get("classes")
        self.model = Model(folder, threshold=0.0, top=max(1, len(classes or ())), **options)
        self.inputs, self.outputs = self.model.tensors
        batch = self.inputs[0].shape[0]
        if batch not in (None, 1):
            raise UserError(f"{folder} takes {batch} pictures at once; export it for any number, without --batch")
        self.joins = all(one.shape and one.shape[0] is None for one in (*self.inputs, *self.outputs))
        card = self.model.card["preprocessing"]
        self.takes_pictures = not isinstance(card, dict) or card["steps"] is not None
        if self.takes_pictures:
            self.model(np.zeros((64, 64, 3), np.uint8))  # the engine compiles now, not for the first client

    @property
    def task(self) -> str | None:
        """Of the card: "detection", "segmentation", "classification" with classes; None for a backbone."""
        task = self.model.task
        return None if task == "classification" and self.model.classes is None else task

    def picture_tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """The inputs and outputs of the same model for pictures."""
        kinds = {
            "detection": [("boxes", "float32", 3), ("scores", "float32", 2), ("labels", "int64", 2),
                          ("count", "int64", 1)],
            "segmentation": [("labels", "int32", 3)],
            "classification": [("labels", "int64", 2), ("scores", "float64", 2), ("names", "object", 2)],
        }  # fmt: skip
        rows = kinds.get(self.task or "")
        outputs = [Tensor(name, kind, [None] * sides) for name, kind, sides in rows] if rows else self.outputs
        if self.task == "detection":
            outputs[0].shape[-1] = 4
        return [Tensor("picture", "object", [None])], outputs

    def harmless(self, error: Exception) -> str:
        """An error's words without the folder of the model on this machine."""
        folder = self.model.folder
        words = " ".join(str(error).split())
        for known in sorted({str(folder), os.path.abspath(folder), os.path.realpath(folder)}, key=len, reverse=True):
            words = words.replace(known, self.name)
        return words


class Models(Mapping[str, Served]):
    """The models by name.

    Args:
        served: the models; names must differ.
    """

    def __init__(self, served: Sequence[Served]):
        self._served = {one.name: one for one in served}

    def __getitem__(self, name: str) -> Served:
        """The model; `Refused` with 404 for an unknown name."""
        if name not in self._served:
            raise Refused(404, f"there is no model {name!r}; {suggest(name, self._served)}")
        return self._served[name]

    def __contains__(self, name: object) -> bool:
        return name in self._served

    def __iter__(self):
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def endpoint(self, name: str, version: str | None = None) -> tuple[Served, bool]:
        """(the model, whether it is called with pictures) of a name in the Open Inference Protocol."""
        if version not in (None, "1"):
            raise Refused(404, f"there is no version {version!r} of {name!r}; every model has version 1 alone")
        if name not in self._served and name.removesuffix(PICTURES) in self._served and name.endswith(PICTURES):
            served = self._served[name.removesuffix(PICTURES)]
            if served.takes_pictures:
                return served, True
        return self[name], False

    def endpoints(self) -> list[str]:
        """The names of the Open Inference Protocol."""
        return [
            name
            for served in self._served.values()
            for name in (served.name, *([served.name + PICTURES] if served.takes_pictures else ()))
        ]


def open_models(given: Sequence[str], options: Mapping[str, Any]) -> Models:
    """Opens the models that a command names.

    Args:
        given: FOLDER, or NAME=FOLDER for a name of one's own in place of the card's.
        options: of `runtime.Model`, for all of them.

    Raises:
        UserError: as `Served`; a name that no URL can hold; one name for two models.
    """
    names: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or not NAME.fullmatch(name) or Path(one).is_dir():
            folder, name = one, read_card(Path(one))["name"]
        if not NAME.fullmatch(name):
            raise UserError(f"{folder}: its name is {name!r}, which no URL can hold; give NAME={folder}")
        if name in names:
            raise UserError(f"two models are called {name!r}; give one of them another name: NAME={folder}")
        names[name] = Path(folder)
    for name in names:
        if name.endswith(PICTURES) and name.removesuffix(PICTURES) in names:
            raise UserError(f"{name!r} is how pictures are sent to {name.removesuffix(PICTURES)!r}; rename one")
    return Models([Served(name, folder, options) for name, folder in names.items()])
