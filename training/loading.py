"""Reading the batches of training and evaluation: in this process or in workers, and never without an end.

What cannot be read, and a worker that dies, is a UserError that names the picture.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import RawArray
from typing import Any

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import UserError
from ..pictures.reading import read_image
from ..system.memory import keep_freed
from ..system.processors import available_cpus
from ..system.signals import children_may_end, leave_to_parent

_ERROR = "error"
#: where workers leave their batches for this process, and the free bytes from which they do: a small one fills up
_SHARED, _LEAST_SHARED = "/dev/shm", 1 << 30


def usual_workers() -> int:
    """Processes that read pictures where nothing is said: none on two processors, which the network needs itself.

    On a GPU every processor but one, at most 8; else half of them but one, at most 4. None where shared memory is
    small, because batches then go through pipes.
    """
    processors = available_cpus()
    on_gpu = paddle.device.get_device().startswith("gpu")
    wanted = min(8, processors - 1) if on_gpu else min(4, processors // 2 - 1)
    return max(0, wanted) if _has_shared_memory() else 0


def load(
    dataset: Any,
    batches: Iterable[list[tuple[int, int]]],
    workers: int,
    collate: Callable[[list[Any]], dict[str, Any]] | None = None,
) -> Iterator[tuple[list[tuple[int, int]], dict[str, Any]]]:
    """Yields (batch, {name: Tensor with N in front}) for every batch of `batches`.

    Args:
        dataset: maps (epoch, number) to a dict of arrays, one of them `img`. For a bad picture it returns a UserError
            instead of raising it, because Paddle loses exceptions of workers. `files(number)` names a picture.
        batches: a `Batches`.
        workers: processes that load beside this one; with 0 this process loads.
        collate: makes the dict of arrays of a list of samples; None stacks the arrays of each name. A UserError that it
            raises ends the loading.

    Raises:
        UserError: a picture cannot be read or transformed, one batch has pictures of several sizes, or a worker died.
    """
    keep_freed()
    stack = partial(_stack, collate=collate or stacked)
    for batch, data in zip(batches, _loaded(dataset, batches, workers, stack)):
        if _ERROR in data:
            raise UserError(data[_ERROR])
        yield batch, data


class Loader:
    """Loads pictures for the toolkits' evaluations, in place of `paddle.io.DataLoader`.

    There, a picture that cannot be read ends a thread, and the program waits for ever. Here it is a UserError.

    Args:
        dataset: maps a number to a sample.
        batch_sampler: gives lists of numbers.
        collate_fn: see `load`; None stacks the arrays of each name.
        num_workers: see `load`.
        **_: options of Paddle's loader, of which none is needed.
    """

    def __init__(
        self,
        dataset: Any,
        batch_sampler: Any,
        collate_fn: Callable[..., Any] | None = None,
        num_workers: int = 0,
        **_: Any,
    ) -> None:
        self.dataset, self.sampler, self.collate, self.workers = _Plain(dataset), batch_sampler, collate_fn, num_workers

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = [[(0, number) for number in batch] for batch in self.sampler]
        for _, data in load(self.dataset, batches, self.workers, self.collate or default_collate_fn):
            yield data


@contextmanager
def safe_loading(module: Any) -> Iterator[None]:
    """Within this context a module's `DataLoader` is `Loader`."""
    before, module.DataLoader = module.DataLoader, Loader
    try:
        yield
    finally:
        module.DataLoader = before


class _Plain:
    """A data set of a toolkit, with (epoch, number) for keys and errors returned."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        try:
            return self.dataset[key[1]]
        except Exception as error:
            name = "EvalDataset" if hasattr(self.dataset, "roidbs") else "val_dataset"  # as the toolkit calls it
            return unprepared(name, self.files(key[1]), error)

    def files(self, number):
        return files_of(self.dataset, number)


def files_of(dataset: Any, number: int) -> str:
    """The names of a picture's files in a data set of PaddleSeg or PaddleDetection, for messages."""
    if listed := getattr(dataset, "file_list", None):
        return " and ".join(map(str, listed[number]))
    if records := getattr(dataset, "roidbs", None):
        return str(records[number % len(records)].get("im_file", f"picture {number}"))
    return f"picture {number}"


def unprepared(name: str, files: str, error: Exception) -> UserError:
    """What to say when a data set's transforms fail on files: the fault of a file, if it has one, else the error."""
    for file in files.split(" and "):
        try:
            read_image(file, min_side=1)
        except UserError as fault:
            return UserError(f"{name}: {fault}")
    return UserError(f"{name}: cannot prepare {files}: {' '.join(str(error).split()) or type(error).__name__}")


def _loaded(dataset, batches, workers, stack):
    if not workers:
        # no DataLoader here: its thread would draw from the same random generators while the network draws from them
        return (_tensors(stack([dataset[key] for key in batch])) for batch in batches)
    watched = _Watched(dataset, workers)
    loader = paddle.io.DataLoader(
        watched,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=stack,
        worker_init_fn=partial(_start_worker, os.getpid()),
        return_list=True,
        use_shared_memory=_has_shared_memory(),
    )
    return _until_a_worker_dies(loader, watched)


def _until_a_worker_dies(loader, watched):
    """The loader's batches. UserError in place of what Paddle raises when the system ends a worker."""
    iterator = iter(loader)
    # Paddle's handler would raise in the midst of a training step; its reader thread notices within 5 seconds
    children_may_end()
    try:
        yield from iterator
    except (RuntimeError, SystemError) as error:
        if not any(word in str(error) for word in ("worker", "DataLoader", "Blocking queue")):
            raise
        pictures = watched.pictures()
        raise UserError(
            f"a process that reads pictures was ended by the system{f' at {pictures}' if pictures else ''}; mostly it "
            f"had not enough memory, or {_SHARED} was full: use fewer or no workers (worker_num or num_workers), or a "
            f"smaller batch"
        ) from error


class _Watched(paddle.io.Dataset):
    """A data set that knows which picture each worker has in hand."""

    def __init__(self, dataset, workers):
        super().__init__()
        self.dataset = dataset
        self.numbers = RawArray("q", [-1] * workers)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        worker = paddle.io.get_worker_info()
        if worker is None:
            return self.dataset[key]
        self.numbers[worker.id] = key[1]
        sample = self.dataset[key]
        self.numbers[worker.id] = -1
        return sample

    def pictures(self):
        """The names of the pictures in hand."""
        return ", ".join(self.dataset.files(number) for number in self.numbers if number >= 0)


def _has_shared_memory():
    """Whether workers can leave batches in shared memory. Where it is small they send them through pipes."""
    try:
        return shutil.disk_usage(_SHARED).free >= _LEAST_SHARED
    except OSError:
        return False


def _start_worker(parent, _):
    """Leaves signals to the parent, and ends this worker when the parent is gone, even by SIGKILL.

    Paddle's own check waits for a batch first.
    """
    leave_to_parent()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stack(samples, collate):
    """The samples of one batch as a dict of arrays, or a dict with the text of the first error."""
    errors = [str(sample) for sample in samples if isinstance(sample, UserError)]
    if not errors:
        try:
            return collate(samples)
        except UserError as error:
            errors = [str(error)]
    return {_ERROR: errors[0], "img": np.zeros(1, "float32")}  # the loader drops a batch that holds no array


def stacked(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The arrays of each name with N in front. UserError where the pictures differ in size."""
    shapes = {np.shape(sample["img"]) for sample in samples}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(f"{shape[-1]} x {shape[-2]}" for shape in shapes))
        raise UserError(
            f"train_dataset gives pictures of different sizes for one batch ({sizes}); let its transforms end at one "
            f"size (Resize, RandomPaddingCrop of a segmenter, RandomResizedCrop of a classifier), or set batch_size=1"
        )
    return default_collate_fn(samples)


def _tensors(value):
    """Arrays as tensors and tuples as lists, as Paddle's loader returns them; all else as it is."""
    if isinstance(value, np.ndarray):
        return paddle.to_tensor(value)
    if isinstance(value, dict):
        return {key: _tensors(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(part) for part in value]
    return value
