"""The pictures from which an 8-bit network learns the range of its feature maps, and what they say of the network."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..errors import UserError
from ..pictures.finding import find_images
from ..pictures.preparing import Preprocessing, prepare
from ..pictures.reading import read_image
from ..pictures.steps import prepare as prepare_by_steps
from ..system.processors import cpu_flags

logger = logging.getLogger("densebone")

#: pictures used at most, for calibration and for the comparison; more change little and take time
MAX_CALIBRATED, MAX_COMPARED = 128, 256
#: median distance of feature maps' means from the training's, in the training's standard deviations, from which
#: pictures are called unlike. A detector that was trained on generated scenes has 0.11 on them, 0.13 on others of their
#: kind, 0.39 on COCO's pictures, 0.77 on pictures that are not normalised and 0.98 on noise.
UNLIKE = 0.3
#: what multiplies 8-bit integers without a detour
FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


@dataclass(frozen=True)
class Calibration:
    """A folder of pictures, every second of which calibrates; the others are compared.

    Args:
        pictures: the folder; its subfolders are searched too.
        preprocessing: how a picture becomes an input; of an exported card also {"steps": [...]}.
        input_size: the only (height, width) that the network takes; None if it takes any.

    Raises:
        UserError: `preprocessing` is None.
    """

    pictures: str | Path
    preprocessing: Preprocessing | Mapping[str, Any] | None
    input_size: Sequence[int] | None = None

    def __post_init__(self):
        if self.preprocessing is None:
            raise UserError(
                "no preprocessing is known for the 8-bit calibration pictures; give preprocessing or a card"
            )

    def _input_of(self, path: str) -> np.ndarray:
        given: Any = self._steps()
        image = read_image(path)
        return prepare(image, given) if isinstance(given, Preprocessing) else prepare_by_steps(image, given).image

    def _steps(self) -> Any:
        """A `Preprocessing`, changed to end at the size that the network takes, or a card's list of steps."""
        given: Any = self.preprocessing
        if isinstance(given, Mapping) and "steps" in given:
            return given["steps"]
        steps = given if isinstance(given, Preprocessing) else Preprocessing(**given)
        if self.input_size is None or [steps.crop] * 2 == list(self.input_size):
            return steps
        height, width = self.input_size
        interpolation = steps.interpolation or "bilinear"
        return replace(steps, resize=[width, height], crop=None, interpolation=interpolation)

    @property
    def key(self) -> str:
        """Changes with the files and with their preparation; the pictures are not opened."""
        facts: list[Any] = [repr(self._steps())]
        for path in self._files():
            stat = Path(path).stat()
            facts.append((Path(path).name, stat.st_size, stat.st_mtime_ns))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def read(self) -> tuple[list[np.ndarray], list[np.ndarray], int]:
        """([float32 (C, H, W)] to calibrate on, the same to compare on, how many pictures cannot be read).

        A single picture serves for both.

        Raises:
            UserError: no picture can be read.
        """
        images, skipped = [], 0
        for path in self._files():
            try:
                images.append(self._input_of(path))
            except UserError:
                skipped += 1
        if not images:
            raise UserError(
                f"none of the {skipped} pictures in {self.pictures} can be read; give a folder with pictures"
            )
        if len(images) < 8:
            logger.warning(
                "8 bits are calibrated on %d picture%s; give some dozens of the kind that the network will see",
                len(images), "s" if len(images) > 1 else "",
            )  # fmt: skip
        return images[::2][:MAX_CALIBRATED], (images[1::2] or images)[:MAX_COMPARED], skipped

    def _files(self):
        return find_images([str(self.pictures)])[: 2 * max(MAX_CALIBRATED, MAX_COMPARED)]


def warn_of_unlike(network: paddle.nn.Layer, images: Sequence[np.ndarray], pictures: str | Path) -> float | None:
    """Warns when pictures are not of the kind that a network was trained on, by its batch norms' statistics.

    Args:
        network: with batch norms; it stays unchanged.
        images: float32 (C, H, W); some are looked at.
        pictures: where they come from, for the message.

    Returns:
        The median over the batch norms of |mean of the input - running mean| / running standard deviation, averaged
        over channels; None for a network without batch norms.
    """
    apart: list[float] = []

    def look(layer, inputs):
        values = inputs[0].astype("float32").mean([0, 2, 3]) - layer._mean
        apart.append(float((values.abs() / (layer._variance + layer._epsilon).sqrt()).mean()))

    norms = [layer for layer in network.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    hooks = [layer.register_forward_pre_hook(look) for layer in norms]
    modes = [(layer, layer.training) for layer in network.sublayers(include_self=True)]
    network.eval()
    try:
        with paddle.no_grad():
            for image in images[:8]:
                network(paddle.to_tensor(image[None]))
    finally:
        for hook in hooks:
            hook.remove()
        for layer, training in modes:  # not train(), which would wake frozen batch norms
            layer.training = training
    found = float(np.median(apart)) if apart else None
    if found is not None and found > UNLIKE:
        logger.warning(
            "the feature maps of %s lie %.1f standard deviations from the training's: are these pictures of its kind, "
            "and prepared like them? 8 bits will fit these pictures alone",
            pictures, found,
        )  # fmt: skip
    return found


def has_eight_bits() -> bool:
    """Whether the processor has instructions for products of 8-bit integers."""
    return bool(set(FLAGS) & set(cpu_flags()))


def note_the_processor() -> None:
    """Says what to expect where the processor has no instructions for 8 bits."""
    if not has_eight_bits():
        logger.warning(
            "this CPU has no instructions for 8-bit products (%s): 8 bits gain little here, or nothing",
            ", ".join(FLAGS),
        )
