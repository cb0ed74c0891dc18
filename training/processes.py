"""What the processes of one training run do together: agree on a seed, share weights, average gradients."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import distributed
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients

from ..errors import UserError


def start() -> None:
    """Joins the other processes that `paddle.distributed.launch` started, if there are any."""
    if distributed.get_world_size() > 1 and not distributed.is_initialized():
        with together():
            distributed.init_parallel_env()


def agree(seed: int | None) -> int:
    """The given seed, or a random one for None. All processes get the seed of the first one."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    if distributed.get_world_size() > 1:
        shared = paddle.to_tensor([seed], "int64")
        with together():
            distributed.broadcast(shared, 0)
        seed = int(shared)
    return seed


def share(tensors: Iterable[paddle.Tensor]) -> None:
    """Copies the values of the first process's tensors into those of every other process."""
    if distributed.get_world_size() > 1:
        with together():
            for value in tensors:
                distributed.broadcast(value, 0)


def average_gradients(parameters: Iterable[paddle.Tensor]) -> None:
    """Replaces the gradient of every parameter by its mean over the processes.

    `paddle.DataParallel` is not used: its hooks run within `backward`, where they clash with recomputation, and where
    Paddle aborts when another process is gone; benchmarks/data_parallel.py measures both. Parameters without a gradient
    are skipped; they must be the same in every process.
    """
    if distributed.get_world_size() == 1:
        return
    kinds: dict[Any, list[paddle.Tensor]] = {}  # it begins another array wherever the type changes
    for parameter in parameters:
        if parameter.grad is not None:
            kinds.setdefault(parameter.grad.dtype, []).append(parameter)
    with together():
        for alike in kinds.values():
            fused_allreduce_gradients(alike, None)


@contextmanager
def together() -> Iterator[None]:
    """Turns the broken connection that a collective operation reports into one line: another process is gone."""
    try:
        yield
    except RuntimeError as error:
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
        *_, reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"process {rank + 1} of {ranks} lost the others ({reason.strip()}); see why they ended in the logs of "
            f"paddle.distributed.launch, and go on with -r"
        ) from error
