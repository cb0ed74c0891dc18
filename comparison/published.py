"""What is published of a network's accuracy, and by whom. published.yml holds what others publish of theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ..errors import UserError
from ..profiling.costs import published_top1
from ..weights.catalog import default_for

FILE = Path(__file__).with_name("published.yml")


@dataclass(frozen=True)
class Accuracy:
    """A published accuracy.

    Attributes:
        value: in %.
        metric: "top-1" on ImageNet's validation pictures, or "Cityscapes mIoU".
        source: where it was read: a URL, or the name of weights or of a package.
        size: (height, width) of the pictures in pixels.
        note: what else to know of it; may be empty.
    """

    value: float
    metric: str
    source: str
    size: tuple[int, int] = (224, 224)
    note: str = ""


def of_others(name: str) -> Accuracy | None:
    """What is published of a network of another library; None when it is not known here.

    Args:
        name: as `subjects.Subject.name` spells it, for timm with the name of the weights behind a dot.
    """
    return _table().get(name)


def of_ours(model: str) -> Accuracy | None:
    """What is claimed for a model's default weights; None when nothing is."""
    top1, weights = published_top1(model)
    if top1 is not None:
        return Accuracy(top1, "top-1", f"{weights}, {_read_in(model)}")
    try:
        entry = default_for(model)
    except UserError:
        return None
    found = re.match(r"Cityscapes mIoU ([\d.]+) \(val\)", entry.accuracy or "")
    return (
        Accuracy(float(found[1]), "Cityscapes mIoU", f"{entry.name}, {_read_in(model)}", (1024, 2048))
        if found
        else None
    )


def _read_in(model):
    """Where the catalog read what is claimed for the default weights of a model."""
    return (default_for(model).read_in or "").partition(":")[0]


@cache
def _table() -> dict[str, Accuracy]:
    groups = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    found: dict[str, Accuracy] = {}
    for group in groups:
        about = {"metric": group["metric"], "source": group["source"], "note": group.get("note", "")}
        size = tuple(group.get("size", (224, 224)))
        found |= {name: Accuracy(float(value), size=size, **about) for name, value in group["values"].items()}
    return found
