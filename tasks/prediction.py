"""What every prediction does alike: finding the pictures, naming the skipped ones, working in threads, drawings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from PIL.Image import Image

from ..errors import UserError
from ..pictures import video
from ..pictures.finding import find_inputs, is_live
from ..pictures.reading import read_picture, turn_of
from ..pictures.remote import Unreachable, is_address, path_of
from ..system.ahead import ahead
from ..system.files import atomic_path, check_writable
from ..system.memory import keep_freed
from ..system.progress import Progress
from ..system.timings import stage
from .extras import Extras
from .journal import Journal, key_of, stamp_of

#: (path, why it was left out)
Skipped = tuple[Path | str, str]

#: kinds of drawn pictures; JPEG takes a twentieth of PNG's time, and a sixth of its bytes
DRAWINGS = ("jpg", "png")
#: pictures that a worker counts on, which does not know how many come
MANY = 10**6
Item = TypeVar("Item")
Result = TypeVar("Result")
#: what `Journal.add` takes of a picture: its number, its rows, what to count
Entry = tuple[int, list[dict[str, Any]], int]


@dataclass(frozen=True)
class Picture:
    """A picture of a run, with all that a worker elsewhere must know of it.

    Attributes:
        number: its place among the run's pictures.
        path: of the file, or its address.
        place: below the output folder, of the files that are named after it.
        image_id: for predictions.json.
    """

    number: int
    path: Path
    place: Path
    image_id: Any = None


#: (pictures, how many they are, list for what is left out, how many are done already) -> lists of what `Journal.add`
#: takes together, in any order
Work = Callable[[Iterator[Picture], int, list[Skipped], int], Iterator[list[Entry]]]


@dataclass
class Run:
    """One prediction: what it reads, where it writes, and what it does besides.

    Attributes:
        pictures, videos: as `inputs_to_predict` finds them.
        output: the folder for the results.
        drawing: one of `DRAWINGS`, or None for no drawing.
        extras: what is done besides.
        key: of `journal.key_of`: what the results depend on. `know` sets it.
        skipped: (path, reason) of what was left out, filled meanwhile.
        hands: predicts on the pictures elsewhere; None does it here.
    """

    pictures: list[Path]
    videos: list[str]
    output: Path
    drawing: str | None
    extras: Extras
    key: str = ""
    skipped: list[Skipped] = field(default_factory=list)
    hands: Work | None = None
    _parts: list[Path] = field(default_factory=list)

    def know(self, **facts: Any) -> None:
        """Makes the key of these facts: the model, its settings, its engine."""
        options = {"drawing": self.drawing, **self.extras.facts()}
        self.key = key_of(**facts, options=options)

    def read(self, path: Path, min_side: int = 32) -> Image:
        """Reads a picture; UserError as `pictures.reading.read_picture`."""
        return read_picture(path, min_side, most=self.extras.most_pixels())

    @property
    def ending(self) -> str:
        """Of the files that are named after a picture, also where none is drawn."""
        return f".{self.drawing or 'png'}"

    @contextmanager
    def journal(self, file: Path | None = None, source: str = "") -> Iterator[Journal]:
        """Yields the journal of the pictures, which becomes predictions.json, or of a video, which becomes `file`.

        What it writes stays until `end`, so that a run of many videos does none of them again.
        """
        if file is None:
            key = key_of(run=self.key, pictures=[str(path) for path in self.pictures])
            found = Journal(self.output / "predictions.json", key, lambda number: stamp_of(self.pictures[number]))
        else:
            key = key_of(run=self.key, video=source, stamp=stamp_of(source))
            found = Journal(file, key, what=f"frames of {source}")
        self._parts.append(found.part)
        try:
            yield found
        finally:
            found.close()

    def entries(
        self, rows: Journal, work: Work | None, places: Sequence[Path], ids: Sequence[Any] | None = None
    ) -> Iterator[list[Entry]]:
        """Yields what `rows` takes of the pictures that it lacks.

        Args:
            rows: the journal.
            work: predicts here; not needed where the run has `hands`.
            places: below the output, of each picture's files.
            ids: of the pictures, for predictions.json.
        """
        left = (
            Picture(number, self.pictures[number], places[number], ids[number] if ids else None)
            for number in range(len(self.pictures))
            if number not in rows
        )
        chosen = self.hands or work
        assert chosen is not None
        return chosen(left, len(self.pictures) - rows.images, self.skipped, rows.images)

    def end(self) -> None:
        """All is done: the journals go."""
        for part in self._parts:
            part.unlink(missing_ok=True)

    def result(self, images: int = 0, **more: Any) -> dict[str, Any]:
        """What `predict` returns of the pictures."""
        file = str(self.output / "predictions.json") if self.pictures else None
        common = {"images": images, "skipped": self.skipped, "file": file, "output": str(self.output)}
        return {**common, "drawing": self.drawing, "videos": [], **more}


def begin(
    paths: Iterable[str], output: str | Path, drawing: str | None, extras: Extras | None, task: str,
    hands: Work | None = None,
) -> Run:  # fmt: skip
    """The run that the arguments of a `predict` describe. UserError as `inputs_to_predict`; drawing; extras; videos."""
    check_drawing(drawing)
    extras = extras or Extras()
    extras.check(task)
    run = Run(*inputs_to_predict(paths, output, extras.most_pixels()), Path(output), drawing, extras, hands=hands)
    check_pictures(run)
    return run


def check_pictures(run: Run) -> None:
    """Raises UserError for videos where workers elsewhere are to predict, and for links to what is no file."""
    if run.hands and run.videos:
        raise UserError(f"{run.videos[0]} is a video or a camera, and --ray is for pictures; leave one of the two out")
    if run.extras.save_as and any(is_address(path) for path in run.pictures):
        raise UserError("--save-as links to the pictures, and some are at an address; fetch them, or leave it out")


def inputs_to_predict(
    paths: Iterable[str], output: str | Path, most: int | None = None
) -> tuple[list[Path], list[str]]:
    """The pictures and videos to predict on, of which one at least can be read. So a wrong path costs no time.

    Args:
        paths: files, folders (with their sub-folders), glob patterns, and cameras; see `pictures.finding.find_inputs`.
        output: the folder for the results; created where it is missing.
        most: pixels of a picture, as `pictures.reading.read_picture` takes it.

    Raises:
        UserError: no picture is found or none can be read; the folder cannot be written to.
    """
    check_writable(output)
    keep_freed()
    pictures, videos = find_inputs(paths)
    skipped: list[Skipped] = []
    sources: list[Path | str] = [*pictures, *videos]
    for source in sources:
        try:
            _try(source, most)
        except Unreachable:
            raise
        except UserError as error:
            skipped.append((path_of(source), reason_of(error, source)))
        else:
            return pictures, videos
    raise none_usable(skipped, "read")


def _try(source, most):
    if isinstance(source, Path):
        read_picture(source, most=most)
    elif not is_live(source):
        video.first_frame(source)


def reason_of(error: Exception, path: str | Path) -> str:
    """What an error says of a picture, without its name."""
    return str(error).removeprefix(f"{path}: ")


def check_drawing(drawing: str | None) -> None:
    """Raises UserError unless it is one of `DRAWINGS`, or None for no drawing."""
    if drawing is not None and drawing not in DRAWINGS:
        raise UserError(f"drawing is {drawing!r}; give {' or '.join(DRAWINGS)}, or None for none")


def work_of(run: Run, finish: Callable[[Picture, Image], Entry], threads: int) -> Work:
    """What decodes pictures and finishes each, several at a time.

    Args:
        run: how pictures are read.
        finish: picture, decoded -> what `Journal.add` takes of it; called by all the threads.
        threads: how many.
    """

    def work(picture):
        with stage("decode"):
            image = run.read(picture.path)
        return [finish(picture, image)]

    def of_all(pictures, total, skipped, done):
        return in_threads(work, pictures, total, threads, lambda picture: picture.path, skipped, done)

    return of_all


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    total: int,
    threads: int,
    path_of: Callable[[Item], Path],
    skipped: list[Skipped],
    done: int = 0,
) -> Iterator[Result]:
    """Yields work(item) for a stream of items, in order, worked on in threads, with a progress bar.

    Args:
        work: may raise UserError for a picture that cannot be used; it goes to `skipped`. `Unreachable` ends all.
        items: the stream; its own work is done in the caller's thread.
        total: how many items there are at most.
        threads: at least 1. Up to three results a thread wait to be taken.
        path_of: item -> its picture.
        skipped: (path, reason) of the pictures that are left out are added.
        done: how many an earlier run has done, for the progress bar.
    """

    def turn(item):
        with turn_of(path_of(item)):
            return work(item)

    finished = ahead(turn, items, threads, 3 * threads)
    for item, future in Progress(finished, total=total + done, initial=done, desc="predicting", unit="picture"):
        try:
            result = future.result()
        except Unreachable:
            raise
        except UserError as error:
            skipped.append((path_of(item), reason_of(error, path_of(item))))
        else:
            yield result


def none_usable(skipped: list[Skipped], verb: str) -> UserError:
    """The error for a prediction that has no picture left; `verb` is "read" or "used"."""
    names = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
    return UserError(f"none of the {len(skipped)} pictures can be {verb} ({names})")


class Rows(Sequence):
    """The rows of a predictions.json. They are read when they are asked for, so that memory holds none.

    Args:
        file: written by a `journal.Journal`.
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
