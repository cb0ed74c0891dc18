"""Mixed precision: which type of number a network computes with, and what keeps small gradients from vanishing."""

import sys
from contextlib import nullcontext

import paddle


class Precision:
    """Mixed precision as a configuration asks for it, as far as the device has it; says what was chosen.

    Args:
        level (str): "O0", float32; "O1", what gains by it in fewer bits; "O2", all but batch norms in fewer bits, and
            float32 copies of the weights.
        dtype (str): "float16", with scaled losses; "bfloat16"; "auto": the latter where the GPU has it.

    Attributes:
        level, dtype (str): what was chosen; on a CPU, for which Paddle has no such kernels, "O0" and "float32".
    """

    def __init__(self, level, dtype="auto"):
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

    def context(self):
        """In which the network runs forward."""
        return nullcontext() if self.level == "O0" else paddle.amp.auto_cast(level=self.level, dtype=self.dtype)

    def scaler(self):
        """What scales losses, or None."""
        return paddle.amp.GradScaler(init_loss_scaling=1024) if self.dtype == "float16" else None

    def decorate(self, model, optimizer):
        """Turns the model's parameters into the type, with O2; the optimizer keeps float32 copies."""
        if self.level == "O2":
            paddle.amp.decorate(model, optimizer, level="O2", dtype=self.dtype, master_weight=True)


def full_state(model, optimizer):
    """name -> Tensor of a model, where the optimizer has float32 copies of parameters those."""
    masters = getattr(optimizer, "_master_weights", None) or {}
    return {name: masters.get(value.name, value) for name, value in model.state_dict().items()}
