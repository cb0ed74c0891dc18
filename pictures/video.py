"""Videos and cameras: frames with their times, and drawn frames written as a video, part by part. By OpenCV.

A video file is whole only when it is closed. So drawn frames go into parts of some seconds first, in a folder beside
the video, and the parts become the video at the end. What a killed process leaves is the parts that it closed.
"""

from __future__ import annotations

import importlib
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path
from .finding import is_live

#: frames in a part
PART = 200
#: frames a second where a video does not say
USUAL_RATE = 25.0
#: frames that a container may announce and not have, at least and as a share
_MISSING = (2, 0.02)
_MOST_RATE = 1000.0


@dataclass
class Frame:
    """A frame of a video.

    Attributes:
        number: from 0 on.
        time: seconds, as the container has it; of a camera, since its first frame.
        image: uint8 (H, W, 3) in RGB.
    """

    number: int
    time: float
    image: np.ndarray


def opencv() -> Any:
    """OpenCV; UserError that says what to install where it is not."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise UserError(
            f"videos and cameras need OpenCV, which cannot be imported ({error}); pip install 'densebone[video]'"
        ) from error


class Video:
    """A video file or a camera, opened.

    Args:
        source: a path, "camera:N", or the address of a camera in the network.

    Attributes:
        live: it is a camera.
        rate: frames a second, as the container says; `USUAL_RATE` where it does not.
        count: frames that the container announces; None where it does not, and of a camera.
        read: how many frames `frames` came past.
        stopped: set to True by who stops a camera, which is then not missed.

    Raises:
        UserError: no such file or camera, one that cannot be decoded, or no OpenCV.
    """

    def __init__(self, source: str | Path):
        self.source, self.live, self.read, self.stopped = str(source), is_live(str(source)), 0, False
        cv2 = self._cv2 = opencv()
        if not self.live:
            _check_file(Path(source))
        given = int(self.source.partition(":")[2]) if self.source.startswith("camera:") else self.source
        try:
            self._capture = cv2.VideoCapture(given, cv2.CAP_FFMPEG if isinstance(given, str) else cv2.CAP_ANY)
        except cv2.error as error:
            raise UserError(f"{self.source}: {_words(error)}") from error
        if not self._capture.isOpened():
            raise UserError(f"{self.source}: {self._why_closed()}")
        rate, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= _MOST_RATE else USUAL_RATE
        self.count = int(count) if math.isfinite(count) and 0 < count < 2**40 else None

    def _why_closed(self):
        if self.live:
            return "there is no such camera, or another program has it; look at its number or address"
        return "is no video that OpenCV can read, or is damaged; write it as H.264 in mp4, or fetch it again"

    def frames(self, start: int = 0, every: int = 1) -> Iterator[Frame]:
        """Yields the frames from a number on.

        Args:
            start: frames before it are passed over, for which they must be decoded.
            every: only frames whose number is a multiple of this.
        """
        began, last = None, -math.inf
        while self._grab():
            number, self.read = self.read, self.read + 1
            if self.live:
                now = time.monotonic()
                began = now if began is None else began
                now -= began
            else:
                now = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1e3
            if not math.isfinite(now) or now <= last:  # a container without times
                now = 0.0 if number == 0 else last + 1 / self.rate
            last = now
            if number < start or number % every:
                continue
            whole, pixels = self._retrieve()
            if not whole:
                return
            yield Frame(number, now, self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))

    def _grab(self):
        try:
            return self._capture.grab()
        except self._cv2.error as error:
            raise UserError(f"{self.source}: frame {self.read} cannot be decoded ({_words(error)})") from error

    def _retrieve(self):
        try:
            whole, pixels = self._capture.retrieve()
        except self._cv2.error as error:
            raise UserError(f"{self.source}: frame {self.read} cannot be decoded ({_words(error)})") from error
        return whole and pixels is not None and pixels.size > 0, pixels

    def shortfall(self) -> str | None:
        """After the last frame: what to say where frames are missing, else None."""
        if self.stopped:
            return None
        if self.live and not self.count:
            return f"gives no more frames after {self.read}; what it gave is kept"
        if self.read == 0:
            return "has no frame that can be decoded; it is empty or damaged"
        if self.count and self.count - self.read > max(_MISSING[0], _MISSING[1] * self.count):
            return (
                f"ends after frame {self.read - 1}, and announces {self.count}: it is truncated or damaged; the frames "
                f"before are kept"
            )
        return None

    def close(self) -> None:
        """Gives the file or the camera back."""
        self._capture.release()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_file(path):
    if not path.exists():
        raise UserError(f"{path}: does not exist; give a video file")
    if not path.is_file():
        raise UserError(f"{path}: is a folder, a pipe or the like; give a video file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty; fetch it again")


def _words(error):
    return " ".join(str(error).split())[:200]


class DrawnVideo:
    """A video that is written part by part; its parts are in FILE.parts until it is whole.

    All frames get the size of the first one: a frame of another size is scaled into it, with black beside.

    Args:
        file: the video, NAME.mp4. Where OpenCV has no MPEG-4, it becomes NAME.mjpeg.avi.
        afresh: parts that are there are of other frames, and deleted.

    Attributes:
        written: how many frames are in whole parts.
    """

    def __init__(self, file: Path, afresh: bool = False):
        self.file, self.folder = file, file.with_name(f"{file.name}.parts")
        self._stack, self._inside = ExitStack(), 0
        self._writer: Any = None
        self._size: tuple[int, int] | None = None
        if afresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._whole = 0
        while self._part(self._whole).is_file():
            self._whole += 1

    @property
    def written(self) -> int:
        """How many frames are in whole parts."""
        return self._whole * PART

    def keep(self, frames: int) -> None:
        """Keeps only the parts that lie in the first `frames` frames."""
        while self.written > frames:
            self._whole -= 1
            self._part(self._whole).unlink()

    def _part(self, number):
        return self.folder / f"{number:06}.avi"

    def add(self, image: np.ndarray) -> None:
        """Writes a frame, uint8 (H, W, 3) in RGB.

        Raises:
            UserError: OpenCV cannot write a video here.
        """
        cv2 = opencv()
        if self._size is None:
            self._size = self._size_of_parts() or (image.shape[1], image.shape[0])
        if self._writer is None:
            place = self._stack.enter_context(atomic_path(self._part(self._whole), durable=False))
            self._writer = _writer(place, "MJPG", USUAL_RATE, self._size)
            if self._writer is None:
                self.close()
                raise UserError(f"{self.file}: OpenCV cannot write a video of {self._size} pixels; use --no-draw")
        self._writer.write(cv2.cvtColor(_fitted(image, self._size), cv2.COLOR_RGB2BGR))
        self._inside += 1
        if self._inside == PART:
            self._close_part()

    def _size_of_parts(self):
        for pixels in self._frames_of_parts():
            return pixels.shape[1], pixels.shape[0]
        return None

    def _close_part(self):
        if self._writer is not None:
            self._writer.release()
            self._writer, self._inside = None, 0
            self._stack.close()  # takes its name
            self._whole += 1

    def _frames_of_parts(self):
        for number in range(self._whole):
            with Video(self._part(number)) as part:
                for frame in part.frames():
                    yield frame.image

    def finish(self, rate: float) -> Path | None:
        """Makes the video of the parts, with so many frames a second; returns its file, None when there is no frame."""
        self._close_part()
        if not self._whole:
            return None
        size = self._size or self._size_of_parts()
        rate = min(max(rate, 0.1), _MOST_RATE)
        rate = round(rate, 3 if rate < 65 else 2 if rate < 650 else 1)  # MPEG-4 counts time in at most 65535 a second
        for file, code in ((self.file, "mp4v"), (self.file.with_suffix(".mjpeg.avi"), "MJPG")):
            try:
                self._join(file, code, rate, size)
            except _Left:
                continue
            shutil.rmtree(self.folder, ignore_errors=True)
            return file
        raise UserError(f"{self.file}: OpenCV has no codec to write it with; its parts are in {self.folder}")

    def _join(self, file, code, rate, size):
        with atomic_path(file, durable=False) as temporary:
            writer = _writer(temporary, code, rate, size)
            if writer is None:
                raise _Left
            for image in self._frames_of_parts():
                writer.write(opencv().cvtColor(image, opencv().COLOR_RGB2BGR))
            writer.release()

    def close(self) -> None:
        """Lets a part go that is not whole; the whole ones stay."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            with suppress(_Left):
                self._stack.__exit__(_Left, _Left(), None)


class _Left(Exception):
    """Ends the block in which a part is written, so that its file is deleted."""


def _writer(file, code, rate, size):
    """A `cv2.VideoWriter`, or None where there is none for this codec."""
    cv2 = opencv()
    api = cv2.CAP_OPENCV_MJPEG if code == "MJPG" else cv2.CAP_FFMPEG
    try:
        found = cv2.VideoWriter(str(file), api, cv2.VideoWriter_fourcc(*code), rate, size)
    except cv2.error:
        return None
    return found if found.isOpened() else None


def _fitted(image, size):
    """The image in the middle of black pixels of a size (width, height), as large as it fits; itself where it does."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    factor = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    small = opencv().resize(image, inner, interpolation=opencv().INTER_AREA)
    canvas[top : top + inner[1], left : left + inner[0]] = small[: size[1], : size[0]]
    return canvas


def first_frame(source: str | Path) -> np.ndarray:
    """The first frame of a video, uint8 (H, W, 3) in RGB; UserError where there is none."""
    with Video(source) as clip:
        for frame in clip.frames():
            return frame.image
        raise UserError(f"{source}: {clip.shortfall()}")
