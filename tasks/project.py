"""The small project that `densebone init` writes: data.yml, the lists and annotations of the parts, config.yml.

Each task has a file project.py with `decide(data, wishes) -> Decisions`; this one has what they share and writes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..datasets.annotations import Annotations
from ..datasets.formats.listing import PROJECT_FILE, PROJECT_MARK
from ..datasets.own import DataSet, counts_of, state_of, write_parts
from ..errors import UserError
from ..pictures.reading import read_header
from ..system.files import atomic_path

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CONFIG_FILE = "config.yml"
#: pictures that a training sees in all, and the least and most epochs: on the CPU, and on a GPU
PICTURES_SEEN = {"detection": (3_000, 60_000), "segmentation": (1_000, 60_000), "classification": (5_000, 300_000)}
EPOCHS = {False: (8, 300), True: (30, 300)}
# Left and right in class names: a flipped picture would have the wrong class.
_SIDES = frozenset("left right links rechts gauche droite izquierda derecha sinistra destra".split())  # noqa: SIM905


@dataclass
class Wishes:
    """What the user decides; None leaves a decision to `densebone init`.

    Attributes:
        model: a name of the registry.
        head: detection's or segmentation's head.
        epochs, batch, lr, size: size is of the network's input, in pixels.
        pretrained: False starts from random weights.
        device: "cpu" or "gpu"; None takes a GPU where there is one.
    """

    model: str | None = None
    head: str | None = None
    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    size: int | None = None
    pretrained: bool | None = None
    device: str | None = None


@dataclass
class Decisions:
    """A configuration in the making: lines of YAML, each decision with its reason as a comment.

    Attributes:
        bases: files of `configs/` that it builds on.
        lines: the YAML below `_BASE_`.
        said: the decisions in words, for the terminal.
        key: "_BASE_" or "_base_".
    """

    bases: list[Path]
    key: str
    lines: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def set(self, key: str, value: Any, why: str = "", indent: int = 0, say: str = "") -> None:
        """Adds `key: value  # why`; `say` is how the terminal names the decision, the reason follows."""
        text = f"{' ' * indent}{key}: {flow(value)}"
        self.lines.append(f"{text}    # {why}" if why else text)
        if say:
            self.said.append(f"{say}: {why}" if why else say)

    def block(self, key: str, values: Mapping[str, Any] | None = None, why: str = "", indent: int = 0) -> None:
        """Adds a block of keys, one line each."""
        self.lines.append(f"{' ' * indent}{key}:" + (f"    # {why}" if why else ""))
        for name, value in (values or {}).items():
            self.set(name, value, indent=indent + 2)

    def steps(self, key: str, steps: Sequence[Any], indent: int = 2) -> None:
        """Adds a list of transforms, one line each."""
        self.lines.append(f"{' ' * indent}{key}:")
        self.lines += [f"{' ' * indent}  - {flow(step)}" for step in steps]

    def text(self, about: str) -> str:
        """The whole file."""
        bases = [f"{self.key}:", *(f"  - {flow(str(base))}" for base in self.bases)] if self.bases else []
        return "\n".join([*(f"# {line}" for line in about.splitlines()), *bases, "", *self.lines, ""])


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, float) and value == round(value, 12):
        return np.format_float_positional(value, trim="0") if abs(value) >= 1e-4 or not value else f"{value:.1e}"
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def has_sides(classes: Iterable[str]) -> list[str]:
    """The class names that speak of left or right."""
    return [name for name in classes if _SIDES & set(name.casefold().replace("_", " ").replace("-", " ").split())]


def picture_sizes(data: DataSet, most: int = 500) -> np.ndarray:
    """float (N, 2): width and height in pixels of the training pictures, of up to `most` spread evenly."""
    content = data.parts["train"]
    if isinstance(content, Annotations):
        return np.array([(picture.width, picture.height) for picture in content.pictures], float)
    names = data.pictures("train")
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(len(names), most)).round().astype(int))]
    return np.array([read_header(data.source.root / name).shown for name in chosen], float)


@dataclass(frozen=True)
class Machine:
    """Where training will run.

    Attributes:
        gpu: whether on a GPU.
        memory: its memory in bytes, or that of the computer.
    """

    gpu: bool
    memory: float

    @property
    def name(self) -> str:
        """ "GPU" or "CPU"."""
        return "GPU" if self.gpu else "CPU"


def machine(wishes: Wishes) -> Machine:
    """The GPU where Paddle has one and the user does not say "cpu"; UserError where one is wanted and there is none."""
    import paddle

    there = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if wishes.device not in (None, "cpu", "gpu"):
        raise UserError(f"--device is {wishes.device!r}; cpu or gpu is expected")
    if wishes.device == "gpu" and not there:
        raise UserError("--device gpu: Paddle has no GPU here; leave it out, or install a GPU build of Paddle")
    if there and wishes.device != "cpu":
        return Machine(True, float(paddle.device.cuda.get_device_properties().total_memory))
    return Machine(False, float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def batch_for(wishes: Wishes, place: Machine, bytes_each: float, most: int, least: int = 1) -> tuple[int, str]:
    """(batch size, why): a power of two that fits into memory.

    Args:
        wishes: the user's own size counts.
        place: has the memory.
        bytes_each: of one picture in training, estimated.
        most: on this machine.
        least: batch norm needs more than one picture.
    """
    if wishes.batch is not None:
        if wishes.batch < 1:
            raise UserError(f"--batch is {wishes.batch}; a whole number of at least 1 is expected")
        return wishes.batch, "as you said"
    fits = max(least, int(0.7 * place.memory / bytes_each))
    batch = min(most, 2 ** int(math.log2(fits)))
    return batch, f"about {bytes_each / 1e9:.1f} GB a picture, {place.memory / 1e9:.0f} GB on this {place.name}"


def epochs_for(task: str, wishes: Wishes, place: Machine, pictures: int, batch: int) -> tuple[int, int, str]:
    """(epochs, iterations of an epoch, why): about so many pictures seen in all as `PICTURES_SEEN` says."""
    per_epoch = max(1, pictures // batch)
    if wishes.epochs is not None:
        if wishes.epochs < 1:
            raise UserError(f"--epochs is {wishes.epochs}; a whole number of at least 1 is expected")
        return wishes.epochs, per_epoch, f"as you said; {wishes.epochs * per_epoch} iterations"
    seen = PICTURES_SEEN[task][place.gpu]
    least, most = EPOCHS[place.gpu]
    epochs = int(min(most, max(least, math.ceil(seen / (per_epoch * batch)))))
    words = f"{epochs * per_epoch} iterations of {batch} pictures; {pictures} pictures, each seen {epochs} times"
    return epochs, per_epoch, words


def rate_for(wishes: Wishes, rate: float, batch: int, recipe: int, linear: bool, why: str) -> tuple[float, str]:
    """(learning rate, why): that of a recipe for `recipe` pictures a step, scaled to the batch.

    SGD's rate goes with the batch size (Goyal et al., 2017), Adam's with its square root.
    """
    if wishes.lr is not None:
        if not wishes.lr > 0 or not math.isfinite(wishes.lr):
            raise UserError(f"--lr is {wishes.lr}; a number above 0 is expected")
        return wishes.lr, "as you said"
    scale = batch / recipe if linear else math.sqrt(batch / recipe)
    value = float(f"{rate * scale:.2g}")
    return value, f"{why}: {rate:g} for {recipe} pictures a step on one device, scaled to {batch}; with N devices " + (
        "N times" if linear else "the square root of N times"
    )


def pretrained_for(wishes: Wishes, model: str) -> tuple[bool, str]:
    """(whether to start from published weights, why). They are fetched where the cache lacks them, at one try."""
    from ..weights.download import fetch
    from ..weights.transfer import Settings

    if wishes.pretrained is False:
        return False, "as you said"
    try:
        fetch(model, Settings(retries=0, timeout=(5.0, 30.0)))
    except UserError as error:
        if wishes.pretrained:
            raise
        reason = str(error).split("; ")[0].split(": http")[0]
        return False, f"random weights, because {reason}; with the weights set it to true, and half the learning rate"
    return True, "ImageNet weights of the authors"


def round_to(value: float, step: int = 32) -> int:
    """The nearest multiple of `step`, at least one."""
    return max(step, step * round(value / step))


def check_size(size: int | None) -> None:
    """Raises UserError for an input size that the networks do not take."""
    if size is not None and (size < 32 or size % 32):
        raise UserError(f"--imgsz is {size}; a multiple of 32 pixels is expected, such as {round_to(max(32, size))}")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raises UserError for a folder that holds a project already, or other files."""
    present = [name for name in (PROJECT_FILE, CONFIG_FILE) if (folder / name).exists()]
    if present and not overwrite:
        raise UserError(
            f"{folder} holds {' and '.join(present)} already; give another folder with -O, or "
            f"--overwrite to write them anew"
        )
    if folder.is_file():
        raise UserError(f"{folder} is a file; give a folder with -O")


def write(data: DataSet, decisions: Decisions, folder: Path, how: Mapping[str, Any]) -> list[Path]:
    """Writes the project.

    Args:
        data: the user's data set.
        decisions: the configuration.
        folder: receives data.yml, a list of pictures for each part, the annotations that training reads, config.yml.
        how: what data.yml says of the way the data was read: format, seed, groups.

    Returns:
        The files.
    """
    written = write_parts(data, folder)
    about = {
        "path": str(data.source.root.resolve()),
        "format": data.source.format,
        "task": data.task,
        "classes": data.classes,
        "division": data.division,
        **how,
        "annotations": state_of(data.source.root),
        "parts": {part: {**counts, "list": f"{part}.txt"} for part, counts in counts_of(data).items()},
    }
    text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=math.inf)
    for name, content in ((PROJECT_FILE, f"{PROJECT_MARK}: what `densebone data` reads\n{text}"),
                          (CONFIG_FILE, decisions.text(_about(data)))):  # fmt: skip
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
        written.append(folder / name)
    return written


def _about(data):
    return (
        f"Written by densebone init from {data.source.root.resolve()}. Change what you like; a comment says why a\n"
        f"value is what it is. docs/own_data.md explains the decisions."
    )
