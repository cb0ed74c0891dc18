"""What the writers of annotation formats share: pictures linked or copied, text files, boxes by picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import UserError
from ...system.files import atomic_path
from ..annotations import Annotations, Picture

PICTURES = ("link", "copy", "none")


@dataclass
class Output:
    """A folder that receives a converted data set.

    Args:
        folder: new or empty.
        pictures: "link" makes symbolic links to the user's pictures, "copy" copies them, "none" leaves them where they
            are and writes their absolute paths.
    """

    folder: Path
    pictures: str = "link"
    taken: dict[str, Path] = field(default_factory=dict)

    def picture(self, picture: Picture, below: str = "") -> str:
        """Puts a picture below a folder of the output; returns its name there, relative to the output.

        Sub-folders of the user's are kept. UserError where two pictures would have one name.
        """
        source = picture.path
        if source is None:
            raise UserError(f"the picture {picture.name} is not there; mend the data first (densebone data check)")
        if self.pictures == "none":
            return str(source.resolve())
        parts = [p for p in PurePosixPath(picture.name.replace("\\", "/")).parts if p not in ("/", "..", ".")]
        parts = [p for p in parts[:-1] if p not in ("images", PurePosixPath(below).name)] + parts[-1:]
        name = PurePosixPath(below, *parts).as_posix()
        stem = os.path.splitext(name)[0].casefold()
        if self.taken.setdefault(stem, source) != source:
            raise UserError(f"{source} and {self.taken[stem]} would both become {name}; rename one of them")
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.pictures == "link":
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)
        return name

    def text(self, name: str, content: str) -> None:
        """Writes a text file in UTF-8, whole or not at all."""
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")

    def bytes(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        with atomic_path(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def by_picture(self, found: Annotations) -> Iterator[tuple[Picture, np.ndarray]]:
        """(picture, places of its boxes) of every picture."""
        order = np.argsort(found.picture, kind="stable")
        ends = np.cumsum(np.bincount(found.picture, minlength=len(found.pictures)))
        for place, picture in enumerate(found.pictures):
            yield picture, order[ends[place - 1] if place else 0 : ends[place]]
