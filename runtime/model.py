"""An exported model as a function of pictures, from its folder alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..pictures.preparing import Preprocessing
from ..pictures.preparing import prepare as prepare_crop
from ..pictures.reading import read_image, to_pixels
from ..pictures.resizing import resize
from ..pictures.steps import Prepared, check_steps, prepare
from ..system.timings import stage
from .results import Boxes, Classes, Maps, Pixels
from .sessions import Tensor, open_session

CARD = "model_card.json"
Picture = str | os.PathLike | np.ndarray | Image.Image
Found = Boxes | Pixels | Classes | Maps


class Model:
    """A model that `densebone export` wrote with ONNX or OpenVINO.

    Args:
        folder: holds the model and model_card.json.
        engine: "onnxruntime" or "openvino"; None takes the fastest that is installed.
        threads: of the engine for one call; None leaves the number to it.
        threshold: boxes of a lower score are left out.
        top: classes of a classifier.
        check: compare the files with the hashes in the card first.
        session: False reads the card alone: pictures can be prepared, and nothing runs.
        precision: "fp32", or "int8" for the files that `densebone export --int8` writes.
        streams: how many threads of yours will call the model at once. Each call then runs on its share of the threads,
            which computes more pictures a second.

    Attributes:
        card: the content of model_card.json.
        task: "detection", "segmentation", "classification", or None for a backbone.
        classes: the class names, or None.

    Raises:
        UserError: no card or a broken one; files that are not those of the card; no engine for them.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        engine: str | None = None,
        threads: int | None = None,
        threshold: float = 0.5,
        top: int = 5,
        check: bool = True,
        session: bool = True,
        precision: str = "fp32",
        streams: int = 1,
    ):
        self.folder = Path(folder)
        self.card = read_card(self.folder)
        self.task, self.classes = self.card.get("task"), self.card.get("classes")
        if not 0 <= threshold <= 1:
            raise UserError(f"threshold is {threshold}; it must be from 0 to 1")
        if type(top) is not int or top < 1:
            raise UserError(f"top is {top!r}; a whole number of at least 1 is expected")
        self.threshold, self.top = threshold, top
        self._pool: ThreadPoolExecutor | None = None
        self._session: Any = None
        if session:
            if check:
                _check_files(self.folder, self.card)
            self._session = open_session(self.folder, engine, threads, precision, streams)
            self._image = next(iter(self._session.inputs))

    @property
    def tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """The network's inputs and outputs as the file declares them."""
        inputs, outputs = self._session.tensors
        return inputs, outputs

    @property
    def description(self) -> str:
        """Model and engine, as a person reads it."""
        return f"{self.card['name']} on {self._session.description}"

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Any:
        """Finds what the model finds.

        Args:
            pictures: a path, a Pillow picture or a uint8 array (H, W, 3) in RGB; or a list of them, which is run in
                batches of pictures of one size.

        Returns:
            `Boxes`, `Pixels`, `Classes` or `Maps`; a list of them for a list.

        Raises:
            UserError: a file that is no picture, or too large a one; an array of another type or shape; an empty list.
        """
        if isinstance(pictures, (list, tuple)):
            if not pictures:
                raise UserError("no pictures were given; give at least one")
            return list(self.each(pictures, len(pictures)))
        one: Any = pictures
        return self.find([self.prepare(one)])[0]

    def each(self, pictures: Iterable[Picture], batch: int = 8) -> Iterator[Found]:
        """Yields what is found on each picture, in their order; up to `batch` of one size run together."""
        waiting: list[tuple[Prepared, tuple[int, int]]] = []
        for picture in pictures:
            ready = self.prepare(picture)
            if waiting and (len(waiting) >= self._most(batch) or ready[0].image.shape != waiting[0][0].image.shape):
                yield from self.find(waiting)
                waiting = []
            waiting.append(ready)
        if waiting:
            yield from self.find(waiting)

    def submit(self, picture: Picture) -> Future:
        """Starts on a picture in another thread; `result()` of what is returned waits for it."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 2))
        return self._pool.submit(self, picture)

    def prepare(self, picture: Picture) -> tuple[Prepared, tuple[int, int]]:
        """(the network's input, (height, width) of the picture in pixels)."""
        with stage("decode"):
            image, given = _pixels(picture), self.card["preprocessing"]
        with stage("prepare"):
            return self._prepared(image, given), (image.shape[0], image.shape[1])

    def _prepared(self, image, given):
        if isinstance(given, Preprocessing):
            values = prepare_crop(image, given)
            return Prepared(values, values.shape[1:], (1.0, 1.0))
        if given["steps"] is None:
            raise UserError(f"{self.folder}: its card does not say how pictures are prepared; call run() with inputs")
        return prepare(image, given["steps"])

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The network's outputs by name for prepared inputs by name.

        Raises:
            UserError: a missing input, or one of another type or shape.
        """
        for name, shape in self._session.inputs.items():
            if name not in inputs:
                raise UserError(f"the input {name!r} is missing; {', '.join(self._session.inputs)} are expected")
            value = np.asarray(inputs[name])
            fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape))
            if not fits or value.dtype != np.float32 or not value.size:
                sides = ", ".join("any" if side is None else str(side) for side in shape)
                raise UserError(
                    f"the input {name!r} is {value.dtype} of shape {list(value.shape)}; float32 ({sides}) is expected"
                )
        found = self._session({name: np.asarray(inputs[name]) for name in self._session.inputs})
        return dict(zip(self._session.outputs, found))

    def feed(self, ready: Sequence[Prepared]) -> dict[str, np.ndarray]:
        """The network's inputs by name for prepared pictures of one size."""
        feed = {self._image: np.stack([one.image for one in ready])}
        for name, values in (("scale_factor", [r.scale for r in ready]), ("im_shape", [r.shape for r in ready])):
            if name in self._session.inputs:
                feed[name] = np.array(values, np.float32)
        return feed

    def _most(self, batch):
        fixed = self._session.inputs[self._image][0]
        return fixed or batch

    def find(self, batch: Sequence[tuple[Prepared, tuple[int, int]]]) -> list[Found]:
        """What is found on pictures of one size that `prepare` made ready.

        Raises:
            UserError: the model takes another number of pictures at once.
        """
        fixed = self._session.inputs[self._image][0]
        if fixed and len(batch) != fixed:
            raise UserError(f"this model takes {fixed} pictures at once, not {len(batch)}; export it for any number")
        with stage("network"):
            found = self._session(self.feed([one for one, _ in batch]))
        rows = [[out[place] for out in found] for place in range(len(batch))]
        return [self._result(row, *one) for row, one in zip(rows, batch)]

    def _result(self, outputs, ready, size) -> Found:
        if self.task == "detection":
            by_name = dict(zip(self._session.outputs, outputs))
            scores = by_name["scores"]
            kept = (scores >= self.threshold) & (by_name["labels"] >= 0)
            labels = by_name["labels"][kept].astype(np.int64)
            names = [self.card["classes"][label] for label in labels]
            return Boxes(by_name["boxes"][kept], scores[kept], labels, names)
        if self.task == "segmentation":
            labels = outputs[0][: round(ready.shape[0]), : round(ready.shape[1])]
            return Pixels(resize(labels[..., None], size, "nearest")[..., 0])
        if self.task == "classification" and self.classes is not None:
            return _best(outputs[0], self.classes, self.top)
        return Maps(outputs)


def _best(logits, classes, top):
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max())
    order = np.argsort(-logits, kind="stable")[:top]
    return Classes(order, (powers / powers.sum())[order], [classes[place] for place in order])


def _pixels(picture):
    """uint8 (H, W, 3) in RGB of what the user gives."""
    if isinstance(picture, Image.Image):
        return to_pixels("the picture", picture)
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise UserError(
                f"the picture is {picture.dtype} of shape {list(picture.shape)}; uint8 (height, width, 3) in RGB is "
                f"expected"
            )
        return picture
    return read_image(picture, min_side=1)


def read_card(folder: Path) -> dict[str, Any]:
    """The content of model_card.json; "preprocessing" is a `Preprocessing`, or {"steps": ...}.

    Raises:
        UserError: there is no card, or it is broken.
    """
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"{folder} holds no {CARD}; densebone export writes it beside the model")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        given = card["preprocessing"]
        if "steps" in given:
            if given["steps"] is not None:
                check_steps(given["steps"])
        else:
            card["preprocessing"] = Preprocessing(**given)
        classes = card["classes"]
        valid = isinstance(card["name"], str) and (classes is None or all(isinstance(name, str) for name in classes))
        if not valid or (card.get("task") == "detection" and classes is None):
            raise ValueError("name or classes are not as expected")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{path} is no model card ({reason}); export the model again") from error
    return card


def _check_files(folder, card):
    """Raises UserError when a file of the model is not the one that was exported."""
    listed = card.get("files")
    for name, facts in listed.items() if isinstance(listed, dict) else ():
        file = folder / name
        if not file.is_file() or Path(name).suffix not in (".onnx", ".xml", ".bin"):
            continue
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if not isinstance(facts, dict) or digest != facts.get("sha256"):
            raise UserError(f"{file} is not the file that densebone export wrote; export the model again")
