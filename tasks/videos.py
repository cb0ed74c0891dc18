"""Predicting on videos and cameras: a row for each frame in NAME.jsonl, and the frames drawn in NAME.mp4.

The rows are the truth. A killed run goes on behind the last row; of the drawn frames it takes up whole parts, and draws
the few frames after them anew from their rows.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..pictures.finding import is_live, output_names
from ..pictures.video import USUAL_RATE, DrawnVideo, Frame, Video
from ..system.ahead import ahead
from ..system.progress import Progress
from ..system.timings import stage
from .journal import Journal, key_in
from .prediction import Run, reason_of, save_drawing

#: how much the time between frames may vary in a video of one rate
_STEADY = 0.1


@dataclass
class FrameWork:
    """What a task does with a frame; several threads call it.

    Attributes:
        find: (frame, place) -> what its row holds besides file_name, frame and time. `place` is the path of the video's
            results without ending, for files of single frames.
        draw: (frame, what `find` returned, place) -> uint8 (H, W, 3), the drawn frame; always of one size for frames of
            one size.
        count: what `find` returned -> what to count of it, such as drawn boxes.
        threads: how many.
    """

    find: Callable[[Frame, Path], dict[str, Any]]
    draw: Callable[[Frame, Mapping[str, Any], Path], np.ndarray]
    count: Callable[[Mapping[str, Any]], int]
    threads: int


def predict_videos(run: Run, work: FrameWork) -> list[dict[str, Any]]:
    """Predicts on the videos of a run, one after the other.

    Returns:
        Of each {source, frames (how many), seconds (of the last frame), counted, file (NAME.jsonl), video (the drawn
        one, or None)}. A video that fails goes to the run's `skipped`; what was found of it stays.
    """
    results = []
    for source, target in zip(run.videos, _places(run)):
        try:
            result, fault = _predict_video(run, source, target, work)
        except UserError as error:
            run.skipped.append((shown(source), reason_of(error, source)))
            continue
        if result["frames"]:
            results.append(result)
        if fault:
            run.skipped.append((shown(source), fault))
    return results


def frame_file(place: Path, number: int, ending: str) -> Path:
    """The file of a frame: PLACE/00000012.jpg."""
    return place / f"{number:08}{ending}"


def frames_folder(place: Path) -> Path:
    """The folder in which the frames of a video are kept as pictures, for annotations."""
    return place.with_name(f"{place.name}_frames")


def shown(source: str) -> str:
    """What a video is called in results and messages: its name; an address without user and password."""
    return re.sub(r"//[^/@]*@", "//", source) if is_live(source) else source


def _places(run):
    """The drawn video of each source, OUTPUT/NAME.mp4; a camera's has the time of its start in its name."""
    files = [Path(source) for source in run.videos if not is_live(source)]
    names = iter(output_names(files, run.output, ".mp4") if files else [])
    now = time.strftime("%Y%m%d-%H%M%S")
    for source in run.videos:
        if is_live(source):
            name = re.sub(r"[^A-Za-z0-9]+", "-", shown(source)).strip("-")[:80]
            _complete(run, name)
            yield run.output / f"{name}-{now}.mp4"
        else:
            yield next(names)


def _complete(run, name):
    """Completes what a killed run left of a camera: all rows, and the frames in whole parts. It cannot go on."""
    for part in sorted(run.output.glob(f"{name}-????????-??????.jsonl.part")):
        file = part.with_suffix("")
        rows = Journal(file, key_in(part), what=f"frames of {file.stem}")
        if rows.images and not rows.result:
            drawn = DrawnVideo(file.with_suffix(".mp4"))
            _finish(file.stem, USUAL_RATE, None, rows, drawn if drawn.written else None, _Pace())
            print(f"note: {file} is complete; an earlier run was ended before it was", file=sys.stderr)
        rows.close()
        part.unlink(missing_ok=True)


def _predict_video(run, source, target, work):
    """(the result, what is wrong with the video or None)."""
    file = target.with_suffix(".jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    with Video(source) as clip, run.journal(file, shown(source)) as rows:
        if rows.result:
            return rows.result
        drawn = DrawnVideo(target, afresh=not rows.resumed) if run.drawing else None
        pace = _Pace()

        def finish():
            return _finish(shown(source), clip.rate / run.extras.every, clip.shortfall(), rows, drawn, pace)

        try:
            _go_through(clip, rows, drawn, work, run, target.with_suffix(""), pace)
            return finish()
        except KeyboardInterrupt:
            if not clip.live:  # a camera has no other end
                raise
            clip.stopped = True
            return finish()
        finally:
            if drawn:
                drawn.close()


def _go_through(clip, rows, drawn, work, run, place, pace):
    """Finds and draws all frames that are not done yet."""
    every = run.extras.every
    if drawn:
        drawn.keep(rows.images)
    first = (drawn.written if drawn else rows.images) * every

    def turn(frame):
        known = rows.rows_of(frame.number)[0] if frame.number in rows else None
        found = work.find(frame, place) if known is None else known
        picture = None
        if drawn:
            with stage("draw"):
                picture = work.draw(frame, found, place)
        if known is None and run.extras.save_as:
            save_drawing(Image.fromarray(frame.image), frame_file(frames_folder(place), frame.number, ".jpg"))
        return found, picture, known is None

    total = None if clip.count is None else math.ceil(clip.count / every)
    frames = ahead(turn, clip.frames(first, every), work.threads, 2 * work.threads + 1)
    with Progress(desc="predicting", unit="frame", total=total, initial=first // every) as bar:
        for frame, future in frames:
            found, picture, is_new = future.result()
            if is_new:
                head = {"file_name": shown(clip.source), "frame": frame.number, "time": round(frame.time, 6)}
                rows.add([(frame.number, [{**head, **found}], work.count(found))])
            if drawn:
                with stage("write video"):
                    drawn.add(picture)
            pace.see(frame.time)
            bar.update()


class _Pace:
    """The times between frames."""

    def __init__(self):
        self.last, self.least, self.most = None, math.inf, 0.0

    def see(self, now: float) -> None:
        """Takes the time of the next frame, in seconds."""
        if self.last is not None:
            self.least, self.most = min(self.least, now - self.last), max(self.most, now - self.last)
        self.last = now

    @property
    def varies(self) -> bool:
        """Whether the frames have no one rate."""
        return self.most > 0 and self.most - self.least > _STEADY * self.most


def _finish(source, rate, fault, rows, drawn, pace):
    """Writes NAME.jsonl and joins the drawn frames; returns what `_predict_video` returns."""
    numbers = rows.numbers()
    result = {"source": source, "frames": rows.images, "counted": rows.counted, "file": str(rows.file), "video": None}
    if not rows.images:
        return result, fault
    begin, end = (rows.rows_of(number)[0]["time"] for number in (numbers[0], numbers[-1]))
    rate = _rate(rate, rows.images, end - begin)
    if drawn:
        if pace.varies:
            print(
                f"note: the frames of {source} have no steady rate; the drawn video has {rate:.5g} a second, and "
                f"{rows.file} has the time of each",
                file=sys.stderr,
            )
        result["video"] = str(drawn.finish(rate))
    result["seconds"] = end
    rows.finish(as_list=False, result=[result, fault])
    return result, fault


def _rate(given, frames, seconds):
    """Frames a second of the drawn video: the given number, unless the times say another."""
    if frames < 2 or seconds <= 0:
        return given
    found = (frames - 1) / seconds
    return given if abs(found - given) < 0.005 * given else found


def describe_videos(results: Iterable[Mapping[str, Any]], counted: str = "") -> list[str]:
    """The lines that the command prints of videos.

    Args:
        results: of `predict_videos`.
        counted: what was counted, such as "boxes"; "" for nothing.
    """
    return [
        f"{one['source']}: {one['frames']} frames, {one['seconds']:.6g} s"
        + (f", {one['counted']} {counted}" if counted else "")
        + (f"; drawn in {one['video']}" if one["video"] else "")
        + f"; each frame in {one['file']}"
        for one in results
    ]
