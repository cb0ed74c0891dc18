"""Training a classifier: whole checkpoints and exact resuming, in one process or several."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ...backbones.pruning import lasso_loss
from ...datasets.labelled import PictureSet
from ...registry import create_model
from ...training import checkpoints, loop, processes
from ...training.batches import EpochSampler
from ...weights.loader import load_weights
from ...weights.reader import read_pickle
from ..training import begin, only_one
from .data import TrainSamples, class_names, normalized, open_set
from .ema import MovingAverage
from .evaluation import score
from .job import Job
from .mixing import mix, soft_labels
from .optimizers import build_optimizer
from .precision import Precision, full_state
from .schedules import Schedule
from .settings import describe


def train(
    job: Job, resume: str | None = None, evaluate: bool = False, amp: bool = False, loggers: Sequence[str] = (),
    seed: int | None = None, overwrite: bool = False, patience: int | None = None,
) -> Path:  # fmt: skip
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives the same result as an uninterrupted one.

    The arguments are those of `tasks.training`. `amp` takes the configuration's level, or O1 where that is O0.

    Returns:
        The folder of the run.

    Raises:
        UserError: as `tasks.training.begin`; a checkpoint of another network; a loss that is not finite; another
            process of the run that is gone.
    """
    if amp and job.amp == "O0":
        job.amp = "O1"
    if job.sync_bn and paddle.get_device() == "cpu" and paddle.distributed.get_world_size() > 1:
        print("note: sync_bn is for GPUs; here each process's batch norms see its own pictures", file=sys.stderr)
    processes.start()
    with only_one(job):
        checkpoint, about = begin(job, resume, evaluate, seed, overwrite, loggers, patience)
        return loop.train(lambda seed: Run(job, seed, evaluate), job.folder, checkpoint, about, loggers, seed, patience)


class Run(loop.Run):
    """The training run of a classification job.

    Args:
        job: from `classification.config.load`.
        seed: see `train`.
        evaluates: evaluate after every snapshot.
    """

    best_score = "top1"

    def __init__(self, job: Job, seed: int, evaluates: bool = False):
        super().__init__(job, seed, job.batch_size, evaluates, job.accumulate)

    def open_data(self) -> None:
        """Opens the training pictures. Each process takes its share."""
        on_device = paddle.get_device() != "cpu"
        self.dataset = TrainSamples(self.job, open_set(self.job, "train"), self.seed, raw=on_device)
        self.sampler = EpochSampler(len(self.dataset), self.batch_size, self.seed, self.rank, self.ranks)

    def build(self) -> None:
        """Builds the network, its optimizer and the moving average."""
        job = self.job
        self.iters = job.epochs * self.per_epoch
        self.save_interval = max(1, round(job.save_interval * self.per_epoch))
        self.model = create_model(job.model.name, job.model.pretrained, job.num_classes, **job.model.options)
        if job.sync_bn and self.ranks > 1 and paddle.get_device() != "cpu":
            self.model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.mixed = Precision(job.amp, job.amp_dtype)
        self.scaler = self.mixed.scaler()
        schedule = Schedule(job.lr_scheduler, self.per_epoch, self.iters)
        self.optimizer = build_optimizer(
            job.optimizer, schedule, self.model, job.clip_norm, multi_precision=self.mixed.level == "O2"
        )
        self.average = None if job.ema is None else MovingAverage(self.model.state_dict(), job.ema)

    def start(self, checkpoint: Path | None, about: Mapping[str, Any], loggers: Sequence[str] = ()) -> None:
        """See `loop.Run`."""
        super().start(checkpoint, about, loggers)
        self.mixed.decorate(self.model, self.optimizer)

    def precision(self) -> AbstractContextManager:
        """See `Precision`."""
        return self.mixed.context()

    def losses_of(self, data: Mapping[str, paddle.Tensor]) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """Cross-entropy, and the group lasso of a learned CondenseNetV2 when its weight is not 0."""
        job, images, labels = self.job, normalized(data["img"], self.job.preprocessing), data["label"]
        if mixes := job.label_smoothing or job.mixup or job.cutmix:
            labels = soft_labels(labels, job.num_classes, job.label_smoothing)
            images, labels = mix(images, labels, np.random, job.mixup, job.cutmix)
        logits = self.model(images).astype("float32")
        losses = [F.cross_entropy(logits, labels, soft_label=bool(mixes))]
        return loop.summed([*losses, job.lasso * lasso_loss(self.model)] if job.lasso and self.is_learned else losses)

    def after_update(self) -> None:
        """Updates the moving average."""
        if self.average:
            self.average.update(full_state(self.model, self.optimizer))

    def score(self) -> dict[str, float]:
        """top1 and top5 on val_dataset, with the moving average when there is one."""
        with self.average.applied(self.model) if self.average else nullcontext():
            result = score(self.model, self.job)
        return {"top1": result["top1"], "top5": result["top5"]}

    def settings(self) -> dict[str, str]:
        """See `loop.Run`."""
        return describe(self.job, self.evaluates)

    def facts(self) -> dict[str, Any]:
        """See `checkpoint_facts`."""
        return checkpoint_facts(self.job, self.dataset.pictures)

    def shared(self) -> list[paddle.Tensor]:
        """See `loop.Run`."""
        return [*super().shared(), *(self.average.average.values() if self.average else ())]

    def states(self) -> dict[str, Any]:
        """What a checkpoint holds.

        .pdparams has the weights that evaluation uses. With a moving average that is the average, and .pdema has the
        trained weights, as in PaddleDetection.
        """
        trained, states = full_state(self.model, self.optimizer), super().states()
        if not self.average:
            return {**states, ".pdparams": trained}
        return {**states, ".pdparams": self.average.average, ".pdema": trained}

    def load_weights(self, checkpoint: Path) -> None:
        """See `states`."""
        super().load_weights(checkpoint)
        trained = checkpoint.with_name(checkpoint.name + ".pdema")
        if self.average:
            updates = (checkpoints.info(checkpoint) or {}).get("iteration", 0)
            self.average = MovingAverage(self.model.state_dict(), self.job.ema, updates)
        if trained.is_file():
            arrays = {name: value for name, value in read_pickle(trained).items() if isinstance(value, np.ndarray)}
            load_weights(self.model, arrays)


def checkpoint_facts(job: Job, pictures: PictureSet | None = None) -> dict[str, Any]:
    """What is kept with each checkpoint, so that its weights are used as they were trained.

    Args:
        job: from `classification.config.load`.
        pictures: the training data, which may name the classes; None opens it.

    Returns:
        model, num_classes, classes, folders (the class folders, or None), preprocessing: values for JSON.
    """
    folders = job.trained_folders if pictures is None else pictures.folders
    return {
        "model": job.model.name,
        "num_classes": job.num_classes,
        "classes": class_names(job, pictures),
        "folders": folders and list(folders),
        "preprocessing": asdict(job.preprocessing),
    }
