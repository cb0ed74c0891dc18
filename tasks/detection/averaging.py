"""PaddleDetection's moving average of a detector's weights, as checkpoints and evaluations use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import paddle
from ppdet.optimizer import ModelEMA


class Average:
    """A `ModelEMA` that can be saved and resumed to the last bit, and looked at without side effects.

    Args:
        cfg: has ema_decay, ema_decay_type, cycle_epoch, ema_black_list and ema_filter_no_grad, or not.
        model: whose weights are averaged.
    """

    def __init__(self, cfg: Mapping[str, Any], model: paddle.nn.Layer):
        self.model = model
        self.ema = ModelEMA(
            model,
            decay=cfg.get("ema_decay", 0.9998),
            ema_decay_type=cfg.get("ema_decay_type", "threshold"),
            cycle_epoch=cfg.get("cycle_epoch", -1),
            ema_black_list=cfg.get("ema_black_list"),
            ema_filter_no_grad=cfg.get("ema_filter_no_grad", False),
        )

    def update(self) -> None:
        """Takes the model's weights in, after a step of the optimizer."""
        self.ema.update()

    def values(self) -> dict[str, paddle.Tensor]:
        """The averaged weights. PaddleDetection divides the running sum by the share that its start lacks."""
        ema = self.ema
        kept = ema.epoch, ema.step, ema.state_dict
        ema.state_dict = dict(ema.state_dict)
        result = ema.apply()  # counts, and may begin a new cycle
        ema.epoch, ema.step, ema.state_dict = kept
        return result

    def end_snapshot(self) -> None:
        """Counts a snapshot: after `cycle_epoch` of them the average begins anew."""
        self.ema.apply()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context the model has the averaged weights."""
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.set_state_dict(self.values())
        try:
            yield
        finally:
            self.model.set_state_dict(trained)

    def sums(self) -> dict[str, paddle.Tensor] | None:
        """The running sums, or None where they are what `values` gives."""
        return None if self.ema.ema_decay_type == "exponential" else self.ema.state_dict

    def counts(self) -> dict[str, int]:
        """What `resume` needs besides arrays."""
        return {"step": self.ema.step, "epoch": self.ema.epoch}

    def resume(self, arrays: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        """Goes on from saved sums, by name, and from `counts`."""
        ema = self.ema
        for name in ema.state_dict:
            if name in arrays and name not in ema.ema_black_list:  # those stay the model's own tensors
                ema.state_dict[name] = paddle.to_tensor(arrays[name], ema.state_dict[name].dtype)
        ema.step, ema.epoch = counts["step"], counts.get("epoch", 0)
        # which only an update sets
        ema._decay = min(ema.decay, ema.step / (9 + ema.step)) if ema.ema_decay_type == "threshold" else ema.decay
