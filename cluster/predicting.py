"""`densebone predict` on a cluster: every worker takes some pictures at a time; the journal is the driver's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..pictures import remote
from ..pictures.reading import read_picture
from ..system.progress import Progress
from ..tasks.prediction import Entry, Picture, Skipped, Work
from .hands import answers, crew
from .where import Where
from .worker import Order

#: pictures that a worker takes at a time
CHUNK = 32
#: threads, the folder for files, a sample picture or None, the folder of the exported model or None -> what works there
Openers = Callable[[int, Path, "Path | None", "str | None"], Work]


def hands(ray: Any, where: Where, openers: Openers, output: str | Path, model: str | None = None) -> Work:
    """What the tasks' `predict` takes to compute on a cluster.

    Args:
        ray: of `connecting.connected`.
        where: which cluster, how many workers.
        openers: opens the model on a worker; it is pickled, so it must be importable there.
        output: the folder for the results.
        model: the folder of an exported model, which is sent to workers that do not see it.
    """
    files = {} if model is None else {path.name: path.read_bytes() for path in Path(model).iterdir() if path.is_file()}

    def work(pictures: Iterator[Picture], total: int, skipped: list[Skipped], done: int) -> Iterator[list[Entry]]:
        first = [*islice(pictures, CHUNK)]
        if not first:
            return
        chunks = iter(lambda: [*islice(pictures, CHUNK)], [])
        orders = (_order(chunk) for each in ([first], chunks) for chunk in each)
        opener = partial(_open, openers, os.getcwd(), _sample(first), model, [ray.put(files)])
        left_out: dict[int, list[Skipped]] = {}
        bar = Progress(total=total + done, initial=done, desc="predicting", unit="picture")
        with bar, crew(ray, where, opener, Path(output)) as workers:
            for order, (entries, missing) in answers(workers, orders, Path(output)):
                yield from entries
                left_out[order.what[0].number] = missing
                bar.update(len(order.what))
        for number in sorted(left_out):
            skipped += left_out[number]

    return work


def _order(chunk):
    return Order(f"pictures {chunk[0].number} to {chunk[-1].number}", chunk, [str(one.path) for one in chunk])


def _sample(pictures):
    """(path, content) of the first picture that can be read, or None."""
    for picture in pictures:
        try:
            read_picture(picture.path)
        except remote.Unreachable:
            raise
        except UserError:
            continue
        content = remote.bytes_of(picture.path)
        return picture.path, picture.path.read_bytes() if content is None else content
    return None


def _open(openers, folder, sample, model, files, threads, output):
    import ray

    try:
        os.chdir(folder)  # where the names that the user gave lead from
    except OSError:
        os.chdir(tempfile.mkdtemp(prefix="densebone-"))
    if model is not None:
        model = _model_here(model, ray.get(files[0]))
    path, content = sample or (None, None)
    with remote.given({str(path): lambda: content} if path else {}):
        work = openers(threads, output, path, model)

    def compute(pictures):
        skipped: list[Skipped] = []
        return [*work(iter(pictures), len(pictures), skipped, 0)], skipped

    return compute


def _model_here(model, files):
    """The folder of the model where this machine sees it, or else a copy."""
    card = Path(model, "model_card.json")
    if card.is_file() and card.read_bytes() == files.get(card.name):
        return model
    folder = Path(tempfile.mkdtemp(prefix="densebone-"), Path(model).name)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder)
