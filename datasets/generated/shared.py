"""What the sample sets share: writing them into a folder, checks of their arguments, and the simulated camera."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from ...errors import UserError
from ...system.files import atomic_path
from ...system.folders import new_folder, remove_leftovers
from ...system.locks import only_one
from ...system.progress import Progress

MARKER = "densebone-sample.json"  # holds the arguments that a set was made with


@dataclass(frozen=True)
class SampleSet:
    """A sample set on the disk.

    Attributes:
        folder: its absolute path.
        pictures: number of pictures per split.
        boxes: number of boxes per split; empty for a set without boxes.
        classes: the class names.
        present: whether the set existed before the call.
    """

    folder: Path
    pictures: dict[str, int]
    boxes: dict[str, int]
    classes: tuple[str, ...]
    present: bool


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Noise, float32 (H, W) of about -1..1, with `cells` independent values along the longer side."""
    step = max(height, width) / cells
    grid = rng.uniform(-1, 1, (math.ceil(height / step) + 2, math.ceil(width / step) + 2)).astype(np.float32)
    large = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(large)


def soften(coverage: np.ndarray, radius: float) -> np.ndarray:
    """Blurs an (H, W) array of 0..1 with a Gaussian of `radius` pixels."""
    blurred = Image.fromarray(np.uint8(coverage * 255)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, np.float32) / 255


def camera(rng: np.random.Generator, scene: np.ndarray, light: np.ndarray) -> Image.Image:
    """Photographs a scene, float (H, W, 3) of about 0..1: uneven light, vignette, blur, colour cast and noise.

    `light` is the direction (x, y) of the lamp.
    """
    height, width = scene.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    across, down = columns / width - 0.5, rows / height - 0.5
    exposure = 1 + rng.uniform(0, 0.4) * (across * light[0] + down * light[1])
    exposure -= rng.uniform(0, 0.5) * (across**2 + down**2)
    cast = rng.uniform(0.9, 1.1) * rng.uniform(0.95, 1.05, 3)
    scene = scene * exposure[..., None] * cast
    picture = Image.fromarray(np.uint8(np.clip(scene, 0, 1) * 255))
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))
    noise = rng.standard_normal((height, width, 3), dtype=np.float32) * rng.uniform(1, 6)
    return Image.fromarray(np.uint8(np.clip(np.asarray(picture) + noise, 0, 255)))


def is_int(value: Any) -> bool:
    """Whether a value is an integer of Python or NumPy, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_count(name: str, count: Any, least: int = 1) -> int:
    """The number of pictures of a split as an int. UserError unless it is a whole number, at least `least`."""
    if not is_int(count) or count < least:
        raise UserError(f"{name}={count!r}: the number of pictures must be a whole number, at least {least}")
    return int(count)


def check_seed(seed: Any) -> int:
    """The seed as an int. UserError unless it is a whole number, at least 0."""
    if not is_int(seed) or seed < 0:
        raise UserError(f"seed={seed!r}: must be a whole number, at least 0")
    return int(seed)


def _find_present(folder, arguments, lost):
    """Boxes per split of the set that the same arguments made in `folder`; None when the folder is new or empty.

    UserError when the folder holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        made_with, boxes = dict(marker["arguments"]), marker["boxes"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder} exists and is not empty, and holds no set that densebone made; give another folder"
        ) from None
    if made_with != arguments:
        other = ", ".join(f"{key}={value}" for key, value in made_with.items() if arguments.get(key) != value)
        raise UserError(f"{folder} exists and is not empty: a set made with {other}; give another folder or delete it")
    if part := lost(folder, arguments):
        raise UserError(f"{folder} holds a set that lost files of {part}; delete it and write it again")
    return boxes


def write_once(
    folder: str | Path,
    arguments: dict[str, Any],
    write: Callable[[Path, dict[str, Any], Any], dict[str, int]],
    lost: Callable[[Path, dict[str, Any]], str | None],
    classes: tuple[str, ...],
    splits: Sequence[str],
    progress: bool,
) -> SampleSet:
    """Writes a set into a new or empty folder, or finds the set that the same arguments made there.

    The set is written beside `folder` and renamed at the end: an interrupted run leaves nothing at `folder`.

    Args:
        folder: where to write.
        arguments: JSON values for the marker file. Holds the number of pictures under the name of every split.
        write: writes the set, given (folder, arguments, progress bar). Updates the bar after every picture and returns
            the number of boxes per split.
        lost: names an incomplete part of a finished set, given (folder, arguments), or returns None.
        classes: the class names.
        splits: names of the splits.
        progress: show a progress bar.

    Raises:
        UserError: the folder holds something else or is not writable.
    """
    folder = Path(folder).resolve()
    pictures = {split: arguments[split] for split in splits}
    if folder.is_file():
        raise UserError(f"{folder} is a file, and a data set needs a folder; give another name")
    with only_one(folder, "writes a set into"):
        remove_leftovers(folder)
        boxes = _find_present(folder, arguments, lost)
        if boxes is not None:
            return SampleSet(folder, pictures, boxes, classes, present=True)
        bar = Progress(total=sum(pictures.values()), desc="sample pictures", disable=not progress)
        with bar, new_folder(folder) as temporary:
            boxes = write(temporary, arguments, bar)
            marker = {"arguments": arguments, "boxes": boxes}
            with atomic_path(temporary / MARKER) as path:
                path.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return SampleSet(folder, pictures, boxes, classes, present=False)
