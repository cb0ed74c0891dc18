"""Training a classifier: a plain loop with whole checkpoints and exact resume, on one process or several."""

import sys
from contextlib import nullcontext

import numpy as np
import paddle
import paddle.nn.functional as F

from ...backbones.pruning import lasso_loss
from ...registry import create_model
from ...training import checkpoints, loop
from ...training.batches import EpochSampler
from ...weights.loader import load_weights
from ...weights.reader import read_pickle
from .data import TrainSamples, check_pictures, class_names, open_set
from .ema import MovingAverage
from .evaluation import score
from .mixing import mix, soft_labels
from .optimizers import build_optimizer
from .precision import Precision, full_state
from .schedules import Schedule


def train(job, resume=None, evaluate=False, amp=False, vdl=False, seed=None, overwrite=False):
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives what it would have given had it not been stopped.

    Args:
        job: from `classification.config.load`.
        resume (str | None): "auto" goes on from the last whole checkpoint of the folder, or starts when there is none;
            a path names the checkpoint. Default None: start anew.
        evaluate (bool): evaluate after every snapshot, and keep the best as best_model.
        amp (bool): mixed precision, on a GPU: the configuration's `amp`, or O1 where that is O0.
        vdl (bool): log to VisualDL, into save_dir/NAME/vdl.
        seed (int | None): of the weights, the augmentation and the network's own randomness, 0 to 2^32 - 1. Default
            None: the checkpoint's when resuming, else any.
        overwrite (bool): delete an earlier run's checkpoints in the folder instead of refusing to start.

    Returns:
        Path of the folder.

    Raises:
        UserError: data that cannot be trained on; a checkpoint that is missing, half written or of another network; a
            folder that holds another run or cannot be written to; a loss that is not finite; another process of the
            run that is gone.
    """
    if amp and job.amp == "O0":
        job.amp = "O1"
    if job.sync_bn and paddle.get_device() == "cpu" and paddle.distributed.get_world_size() > 1:
        print("note: sync_bn is for GPUs; here each process's batch norms see its own pictures", file=sys.stderr)

    def check():
        for part in ("train", "val")[: 1 + evaluate]:
            check_pictures(open_set(job, part))
        return ()

    return loop.train(lambda seed: Run(job, seed, evaluate), job.folder, resume, vdl, seed, overwrite, check)


class Run(loop.Run):
    """The training run of a classification job.

    Args:
        job: from `classification.config.load`.
        seed (int): see `train`.
        evaluates (bool): evaluate after every snapshot.
    """

    best_score = "top1"

    def __init__(self, job, seed, evaluates=False):
        super().__init__(job, seed, job.batch_size, evaluates, job.accumulate)

    def open_data(self):
        """The training pictures, of which each process takes its share."""
        self.dataset = TrainSamples(self.job, open_set(self.job, "train"), self.seed)
        self.sampler = EpochSampler(len(self.dataset), self.batch_size, self.seed, self.rank, self.ranks)

    def build(self):
        """The network, its optimizer and moving average."""
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

    def start(self, checkpoint, about, vdl):
        """See `loop.Run`."""
        super().start(checkpoint, about, vdl)
        self.mixed.decorate(self.model, self.optimizer)

    def precision(self):
        """See `Precision`."""
        return self.mixed.context()

    def losses_of(self, data):
        """Cross-entropy, and the group lasso of a learned CondenseNetV2 where it has a weight."""
        job, images, labels = self.job, data["img"], data["label"]
        if mixes := job.label_smoothing or job.mixup or job.cutmix:
            labels = soft_labels(labels, job.num_classes, job.label_smoothing)
            images, labels = mix(images, labels, np.random, job.mixup, job.cutmix)
        logits = self.model(images).astype("float32")
        losses = [F.cross_entropy(logits, labels, soft_label=bool(mixes))]
        return [*losses, job.lasso * lasso_loss(self.model)] if job.lasso and self.is_learned else losses

    def after_update(self):
        """Moves the average."""
        if self.average:
            self.average.update(full_state(self.model, self.optimizer))

    def score(self):
        """top1 and top5 on val_dataset, with the moving average where there is one."""
        with self.average.applied(self.model) if self.average else nullcontext():
            result = score(self.model, self.job)
        return {"top1": result["top1"], "top5": result["top5"]}

    def facts(self):
        """How the weights want their pictures, and what the classes are called."""
        return {**self.job.checkpoint_facts(), "classes": class_names(self.job, self.dataset.pictures)}

    def shared(self):
        """See `loop.Run`."""
        return [*super().shared(), *(self.average.average.values() if self.average else ())]

    def states(self):
        """.pdparams has what evaluation uses. With a moving average that is the average, and .pdema has the weights
        that are trained, as PaddleDetection has it."""
        trained, states = full_state(self.model, self.optimizer), super().states()
        if not self.average:
            return {**states, ".pdparams": trained}
        return {**states, ".pdparams": self.average.average, ".pdema": trained}

    def load_weights(self, checkpoint):
        """See `states`."""
        super().load_weights(checkpoint)
        trained = checkpoint.with_name(checkpoint.name + ".pdema")
        if self.average:
            updates = (checkpoints.info(checkpoint) or {}).get("iteration", 0)
            self.average = MovingAverage(self.model.state_dict(), self.job.ema, updates)
        if trained.is_file():
            arrays = {name: value for name, value in read_pickle(trained).items() if isinstance(value, np.ndarray)}
            load_weights(self.model, arrays)
