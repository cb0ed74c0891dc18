"""Training a segmentation model of PaddleSeg: whole checkpoints, exact resuming, history and curves.

Model, pictures, losses and optimizer are PaddleSeg's. The loop is `training.loop`: PaddleSeg's cannot save whole
checkpoints, and a run that it resumes sees other batches than an uninterrupted one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import paddle

from ...errors import UserError
from ...training import loop, processes
from ..training import begin, only_one
from .batches import SeededDataset, sampler
from .data import class_names, open_dataset
from .evaluation import score
from .job import Job
from .settings import describe, lengthen

# Operators that PaddleSeg treats specially in automatic mixed precision.
_FP16_TOO, _FP32_ONLY = ("elementwise_add", "batch_norm", "sync_batch_norm"), ("bilinear_interp_v2",)


def train(
    job: Job, resume: str | None = None, evaluate: bool = False, amp: bool = False, loggers: Sequence[str] = (),
    seed: int | None = None, overwrite: bool = False, patience: int | None = None,
) -> Path:  # fmt: skip
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives the same result as an uninterrupted one.

    The arguments are those of `tasks.training`.

    Returns:
        The folder of the run.

    Raises:
        UserError: as `tasks.training.begin`; a checkpoint of another network; a loss that is not finite; another
            process of the run that is gone.
    """
    if amp and paddle.get_device() == "cpu":
        amp = False
        print("note: mixed precision is used on a GPU only; this trains in float32", file=sys.stderr)
    processes.start()
    with only_one(job):
        checkpoint, about = begin(job, resume, evaluate, seed, overwrite, loggers, patience)
        return loop.train(
            lambda seed: Run(job, seed, evaluate, amp), job.folder, checkpoint, about, loggers, seed, patience
        )


class Run(loop.Run):
    """The training run of a segmentation job.

    Args:
        job: from `segmentation.config.load`.
        seed: see `train`.
        evaluates: evaluate after every snapshot.
        amp: automatic mixed precision.
    """

    best_score = "mIoU"

    def __init__(self, job: Job, seed: int, evaluates: bool, amp: bool):
        self.amp = amp
        super().__init__(job, seed, job.config.batch_size, evaluates)

    def open_data(self) -> None:
        """Opens PaddleSeg's data set, in its order."""
        self.dataset = SeededDataset(open_dataset(self.job, "train"), self.seed)
        self.sampler = sampler(self.dataset, self.batch_size)

    def build(self) -> None:
        """Takes the model and all that trains it from PaddleSeg's builder."""
        if self.job.epochs is not None:
            lengthen(self.job, self.job.epochs * self.per_epoch)
        builder = self.job.builder
        self.iters, self.save_interval = self.job.config.iters, self.job.save_interval
        self.model, self.optimizer, self.losses = builder.model, builder.optimizer, builder.loss
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if self.amp else None

    def start(self, checkpoint: Path | None, about: Mapping[str, Any], loggers: Sequence[str] = ()) -> None:
        """See `loop.Run`."""
        super().start(checkpoint, about, loggers)
        if self.ranks > 1 and paddle.get_device() != "cpu":
            self.model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if self.job.dic.get("to_static_training"):
            self.model = paddle.jit.to_static(self.model)

    def precision(self) -> AbstractContextManager:
        """PaddleSeg's mixed precision."""
        if not self.amp:
            return super().precision()
        return paddle.amp.auto_cast(level="O1", custom_white_list=set(_FP16_TOO), custom_black_list=set(_FP32_ONLY))

    def losses_of(self, data: Mapping[str, Any]) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """The loss of every output of the model, and their sum."""
        return loop.summed(self._losses(data))

    def _losses(self, data):
        outputs = self.model(data["img"])
        if hasattr(self.model, "loss_computation"):
            return self.model.loss_computation(outputs, self.losses, data)
        if len(outputs) != len(self.losses["types"]):
            raise UserError(
                f"{self.job.path}: the model has {len(outputs)} outputs in training, and loss has "
                f"{len(self.losses['types'])}; give loss.coef a number for each output"
            )
        labels = data["label"].astype("int64")
        edges = data["edge"].astype("int64") if "edge" in data else None
        # looked up at every step, so that a repair is used; `paddleseg.core.train` would be the function of that name
        compute = importlib.import_module("paddleseg.core.train").loss_computation
        return compute(logits_list=outputs, labels=labels, edges=edges, losses=self.losses)

    def settings(self) -> dict[str, str]:
        """See `loop.Run`."""
        return describe(self.job, self.evaluates)

    def facts(self) -> dict[str, Any]:
        """Classes and preparation, so that the weights are used as they were trained."""
        return {"classes": class_names(self.job), "preprocessing": _preprocessing(self.job)}

    def score(self) -> dict[str, float]:
        """mIoU and accuracy on val_dataset."""
        result = score(self.model, self.job)
        return {"mIoU": float(result["mIoU"]), "accuracy": float(result["accuracy"])}


def _preprocessing(job):
    """How val_dataset normalises a picture, as the fields of `pictures.preparing.Preprocessing`, of no fixed size."""
    steps = [step for step in job.dic["val_dataset"].get("transforms") or () if step["type"] == "Normalize"]
    if not steps:
        return None
    values = {}
    for key in ("mean", "std"):
        given = steps[-1].get(key, [0.5])
        values[key] = list(given) * (3 // len(given))
    rest = {"resize": None, "crop": None, "interpolation": None, "backend": "opencv", "channels": "rgb"}
    return {**rest, **values}
