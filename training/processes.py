"""What the processes of one training run do together: one seed, equal weights, averaged gradients."""

import random
from contextlib import contextmanager

import paddle
from paddle import distributed

from ..errors import UserError


def start():
    """Joins the other processes that `paddle.distributed.launch` started, if there are any."""
    if distributed.get_world_size() > 1 and not distributed.is_initialized():
        with together():
            distributed.init_parallel_env()


def agree(seed):
    """The seed, or a random one for None; that of the first process where there are several."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    if distributed.get_world_size() > 1:
        shared = paddle.to_tensor([seed], "int64")
        with together():
            distributed.broadcast(shared, 0)
        seed = int(shared)
    return seed


def share(tensors):
    """Fills the tensors of every process with what the first one has."""
    if distributed.get_world_size() > 1:
        with together():
            for value in tensors:
                distributed.broadcast(value, 0)


@paddle.no_grad()
def average_gradients(parameters):
    """Replaces the gradient of every parameter by its mean over the processes.

    Not by `paddle.DataParallel`: its hooks run within `backward`, where they do not go together with recomputation and
    accumulation, and where Paddle aborts when another process is gone. Parameters without a gradient are passed over;
    they have to be the same in every process.
    """
    ranks = distributed.get_world_size()
    if ranks == 1:
        return
    kinds = {}
    for parameter in parameters:
        if parameter.grad is not None:
            kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in kinds.values():
        flat = paddle.concat([gradient.flatten() for gradient in gradients])
        with together():
            distributed.all_reduce(flat)
        flat /= ranks
        start = 0
        for gradient in gradients:
            gradient.set_value(flat[start : start + gradient.size].reshape(gradient.shape))
            start += gradient.size


@contextmanager
def together():
    """Says in one line that another process is gone, which a collective operation only shows as a broken connection."""
    try:
        yield
    except RuntimeError as error:
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
        *_, reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"process {rank + 1} of {ranks} lost the others ({reason.strip()}); see why they ended in the logs of "
            f"paddle.distributed.launch, and go on with -r"
        ) from error
