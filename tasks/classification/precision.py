"""Mixed precision: the number type of the network's arithmetic, and the scaling that keeps small gradients."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle


class Precision:
    """The mixed precision that a configuration asks for, as far as the device can do it. Prints what was chosen.

    Args:
        level: "O0" is float32. "O1" computes in 16 bits where that gains. "O2" computes all but batch norms in 16 bits
            and keeps float32 copies of the weights.
        dtype: "float16", with scaled losses; "bfloat16"; or "auto", which takes bfloat16 where the GPU has it.

    Attributes:
        level, dtype: what was chosen. On a CPU, where Paddle has no such kernels, "O0" and "float32".
    """

    def __init__(self, level: str, dtype: str = "auto"):
        self.level, self.dtype = "O0", "float32"
        if level == "O0":
            return
        on_cpu = paddle.get_device() == "cpu"
        if not on_cpu:
            bfloat16 = paddle.amp.is_bfloat16_supported()
            self.level, self.dtype = level, {"auto": "bfloat16" if bfloat16 else "float16"}.get(dtype, dtype)
        if paddle.distributed.get_rank() == 0:
            what = "is used on a GPU only; this trains in float32" if on_cpu else f"{self.level} in {self.dtype}"
            print(f"note: mixed precision {what}", file=sys.stderr)

    def context(self) -> AbstractContextManager:
        """The context in which the network runs forward."""
        return nullcontext() if self.level == "O0" else paddle.amp.auto_cast(level=self.level, dtype=self.dtype)

    def scaler(self) -> Any:
        """A `paddle.amp.GradScaler` for float16, else None."""
        return paddle.amp.GradScaler(init_loss_scaling=1024) if self.dtype == "float16" else None

    def decorate(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> None:
        """With O2, casts the model's parameters to 16 bits; the optimizer keeps float32 copies."""
        if self.level == "O2":
            paddle.amp.decorate(model, optimizer, level="O2", dtype=self.dtype, master_weight=True)


def full_state(model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> dict[str, paddle.Tensor]:
    """The model's state, name -> Tensor, with the optimizer's float32 copies where it keeps some."""
    masters = getattr(optimizer, "_master_weights", None) or {}
    return {name: masters.get(value.name, value) for name, value in model.state_dict().items()}
