"""The learning rate of every iteration."""

import math
from typing import Any

from paddle.optimizer.lr import LRScheduler

from .job import Cosine, Step


def rate_at(settings: Any, iteration: int, per_epoch: int, iters: int) -> float:
    """The learning rate of one iteration.

    Args:
        settings: the block `lr_scheduler`: a `Constant`, `Cosine` or `Step` of `classification.job`.
        iteration: counted from 0.
        per_epoch: iterations of an epoch.
        iters: iterations of the whole training.
    """
    warmup = settings.warmup_epochs * per_epoch
    if iteration < warmup:
        share = iteration / warmup if settings.warmup == "linear" else 0.0
        return settings.warmup_start_lr + share * (settings.learning_rate - settings.warmup_start_lr)
    if isinstance(settings, Cosine):
        share = min(1.0, (iteration - warmup) / max(1, iters - warmup))
        return settings.end_lr + (settings.learning_rate - settings.end_lr) * (1 + math.cos(math.pi * share)) / 2
    passed = sum(iteration >= epoch * per_epoch for epoch in settings.milestones) if isinstance(settings, Step) else 0
    return settings.learning_rate * settings.gamma**passed if passed else settings.learning_rate


class Schedule(LRScheduler):
    """`rate_at` as a scheduler of Paddle. Its state is the iteration.

    Args:
        settings, per_epoch, iters: see `rate_at`.
    """

    def __init__(self, settings: Any, per_epoch: int, iters: int):
        self.settings, self.per_epoch, self.iters = settings, per_epoch, iters
        super().__init__(settings.learning_rate)

    def get_lr(self) -> float:
        """The learning rate of the current iteration."""
        return rate_at(self.settings, self.last_epoch, self.per_epoch, self.iters)
