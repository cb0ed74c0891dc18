"""What every prediction does alike: finding the pictures, naming the skipped ones, writing predictions.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from PIL.Image import Image
from tqdm import tqdm

from ..errors import UserError
from ..pictures.finding import find_images
from ..pictures.reading import read_picture, turn_of
from ..system.ahead import ahead
from ..system.files import atomic_path, check_writable
from ..system.memory import keep_freed

#: (path, why it was left out)
Skipped = tuple[Path, str]

#: kinds of drawn pictures; JPEG takes a twentieth of PNG's time, and a sixth of its bytes
DRAWINGS = ("jpg", "png")
Item = TypeVar("Item")
Result = TypeVar("Result")


def pictures_to_predict(paths: Iterable[str], output: str | Path) -> list[Path]:
    """The pictures to predict on, of which one at least can be read. So a wrong path costs no time.

    Args:
        paths: files, folders (with their sub-folders) and glob patterns.
        output: the folder for the results; created where it is missing.

    Raises:
        UserError: no picture is found or none can be read; the folder cannot be written to.
    """
    check_writable(output)
    keep_freed()
    pictures, skipped = find_images(paths), []
    for path in pictures:
        try:
            read_picture(path)
        except UserError as error:
            skipped.append((path, reason_of(error, path)))
        else:
            return pictures
    raise none_usable(skipped, "read")


def reason_of(error: Exception, path: Path) -> str:
    """What an error says of a picture, without its name."""
    return str(error).removeprefix(f"{path}: ")


def check_drawing(drawing: str | None) -> None:
    """Raises UserError unless it is one of `DRAWINGS`, or None for no drawing."""
    if drawing is not None and drawing not in DRAWINGS:
        raise UserError(f"drawing is {drawing!r}; give {' or '.join(DRAWINGS)}, or None for none")


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    total: int,
    threads: int,
    path_of: Callable[[Item], Path],
    skipped: list[Skipped],
) -> Iterator[Result]:
    """Yields work(item) for a stream of items, in order, worked on in threads, with a progress bar.

    Args:
        work: may raise UserError for a picture that cannot be used; it goes to `skipped`.
        items: the stream; its own work is done in the caller's thread.
        total: how many items there are at most.
        threads: at least 1. Up to three results a thread wait to be taken.
        path_of: item -> its picture.
        skipped: (path, reason) of the pictures that are left out are added.
    """

    def turn(item):
        with turn_of(path_of(item)):
            return work(item)

    finished = ahead(turn, items, threads, 3 * threads)
    for item, future in tqdm(finished, total=total, desc="predicting", unit="picture"):
        try:
            result = future.result()
        except UserError as error:
            skipped.append((path_of(item), reason_of(error, path_of(item))))
        else:
            yield result


def none_usable(skipped: list[Skipped], verb: str) -> UserError:
    """The error for a prediction that has no picture left; `verb` is "read" or "used"."""
    names = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
    return UserError(f"none of the {len(skipped)} pictures can be {verb} ({names})")


class PredictionFile:
    """predictions.json while it is written: a JSON list with one row in each line."""

    def __init__(self, stream: Any):
        self._stream, self.rows = stream, 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Writes one row; nothing is kept in memory."""
        text = json.dumps(row, ensure_ascii=False)
        self._stream.write(("[\n" if self.rows == 0 else ",\n") + text)
        self.rows += 1

    def end(self) -> None:
        """Closes the list."""
        self._stream.write("\n]\n" if self.rows else "[]\n")


@contextmanager
def prediction_file(file: str | Path) -> Iterator[PredictionFile]:
    """Yields a `PredictionFile`. The file appears when the block ends, whole or not at all."""
    # a file name that is not UTF-8 becomes JSON escapes
    with atomic_path(file) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as stream:
        rows = PredictionFile(stream)
        yield rows
        rows.end()


class Rows(Sequence):
    """The rows of a predictions.json. They are read when they are asked for, so that memory holds none.

    Args:
        file: written with `prediction_file`.
        count: how many rows it has.
    """

    def __init__(self, file: str | Path, count: int):
        self.file, self._count = file, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with open(self.file, encoding="utf-8") as stream:
            for line in stream:
                if line.strip() not in ("[", "]", "[]"):
                    yield json.loads(line.strip().removesuffix(","))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, Rows)) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def save_drawing(picture: Image, path: Path) -> None:
    """Writes a drawn picture in the format of its ending, whole or not at all: .jpg in quality 90, or .png."""
    if path.suffix == ".png":
        save_png(picture, path)
        return
    with atomic_path(path, durable=False) as temporary:
        picture.save(temporary, format="JPEG", quality=90, subsampling=0)  # thin coloured lines stay sharp


def save_png(picture: Image, path: str | Path) -> None:
    """Writes a Pillow picture as PNG, whole or not at all. Packed lightly: half the time, 5 % more bytes."""
    with atomic_path(path, durable=False) as temporary:
        picture.save(temporary, format="PNG", compress_level=1)
