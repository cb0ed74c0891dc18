"""Training a detector of PaddleDetection: whole checkpoints, exact resuming, history and curves.

Detector, pictures, losses, optimizer and evaluation are PaddleDetection's. The loop is `training.loop`: a run that
PaddleDetection's resumes begins the epoch anew, and sees other pictures than an uninterrupted one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import paddle
from ppdet.core.workspace import create
from ppdet.engine.callbacks import Callback
from ppdet.engine.trainer import MOT_ARCH
from ppdet.utils.checkpoint import is_url, load_pretrain_weight
from ppdet.utils.download import get_weights_path

from ...backbones.pruning import set_progress
from ...errors import UserError
from ...training import loop, processes
from ...training.finite import bad_weight
from ...weights.loader import load_weights
from ...weights.reader import read_arrays, read_pickle
from ..training import begin, only_one
from .averaging import Average
from .batches import Samples
from .data import class_names, using
from .evaluation import evaluator, run_evaluation
from .job import Job
from .scoring import fast_scores
from .settings import describe, limit_warmup


def train(
    job: Job, resume: str | None = None, evaluate: bool = False, amp: bool = False, loggers: Sequence[str] = (),
    seed: int | None = None, overwrite: bool = False, patience: int | None = None,
) -> Path:  # fmt: skip
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives the same result as an uninterrupted one.

    The arguments are those of `tasks.training`. Mixed precision is off on a CPU.

    Returns:
        The folder of the run.

    Raises:
        UserError: as `tasks.training.begin`; fewer pictures than one batch; a checkpoint of another network; a loss
            that is not finite; another process of the run that is gone; what PaddleDetection trains by other means.
    """
    cfg = job.cfg
    _check_kind(cfg)
    amp = bool(amp or cfg.get("amp"))
    if amp and not cfg.use_gpu:
        amp = False
        print("note: PaddleDetection uses mixed precision on a GPU only; this trains in float32", file=sys.stderr)
    loggers = [*loggers, *(["vdl"] if cfg.get("use_vdl") else [])]
    cfg.setdefault("output_eval", str(job.folder))  # else PaddleDetection writes bbox.json into the current folder
    processes.start()
    with only_one(job):
        checkpoint, about = begin(job, resume, evaluate, seed, overwrite, loggers, patience)
        with using(job, *("train", "val")[: 1 + evaluate]), fast_scores():
            return loop.train(
                lambda seed: Run(job, seed, evaluate, amp), job.folder, checkpoint, about, loggers, seed, patience
            )


def _check_kind(cfg):
    """Refuses settings without a meaning, and what PaddleDetection trains by means that are not here."""
    for key in ("unstructured_prune", "slim", "use_wandb", "wandb", "save_proposals"):
        if cfg.get(key):
            raise UserError(
                f"{key} is set, which densebone train does not do; leave it out, or train with PaddleDetection's own "
                f"script: densebone run tools/train.py"
            )
    every = cfg.snapshot_epoch
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not every > 0:
        raise UserError(f"snapshot_epoch is {every!r}; give epochs between two snapshots, such as 1, or 0.25")
    if cfg.architecture in MOT_ARCH:
        raise UserError(
            f"densebone train trains detectors, and {cfg.architecture} is a tracker; train it with PaddleDetection's "
            f"own script: densebone run tools/train.py"
        )


class Run(loop.Run):
    """The training run of a detection job.

    Args:
        job: from `detection.config.load`.
        seed: see `train`.
        evaluates: evaluate after every snapshot.
        amp: automatic mixed precision.
    """

    best_score = "AP"
    toolkit_loggers = ("ppdet",)
    data_key, batch_key, rate_key = "TrainDataset", "TrainReader.batch_size", "LearningRate.base_lr"

    def __init__(self, job: Job, seed: int, evaluates: bool = False, amp: bool = False):
        self.cfg, self.amp = job.cfg, amp
        self.evaluator: Any = None
        super().__init__(job, seed, job.cfg.TrainReader["batch_size"], evaluates)

    def open_data(self) -> None:
        """Opens TrainDataset, in PaddleDetection's order."""
        self.dataset = Samples(self.seed)
        self.sampler = self.dataset.sampler

    def build(self) -> None:
        """Builds the detector, its optimizer and its moving average as PaddleDetection's trainer does."""
        cfg = self.cfg
        self.iters = cfg.epoch * self.per_epoch
        self.save_interval = max(1, round(cfg.snapshot_epoch * self.per_epoch))
        self.model = create(cfg.architecture)
        if cfg.architecture == "YOLOX":
            for layer in self.model.sublayers():
                if isinstance(layer, paddle.nn.BatchNorm2D):
                    layer._epsilon, layer._momentum = 1e-3, 0.97
        self.model.load_meanstd(cfg.TestReader["sample_transforms"])
        schedule = create("LearningRate")
        if self.job.short_warmup:
            limit_warmup(schedule, self.iters // 10, self.per_epoch)
        self.optimizer = create("OptimizerBuilder")(schedule(self.per_epoch), self.model)
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=cfg.get("init_loss_scaling", 1024)) if self.amp else None
        if self.amp and cfg.get("amp_level") == "O2":
            self.model, self.optimizer = paddle.amp.decorate(models=self.model, optimizers=self.optimizer, level="O2")
        self.average = Average(cfg, self.model) if cfg.get("use_ema") else None
        self.network = self.model

    def start(self, checkpoint: Path | None, about: Mapping[str, Any], loggers: Sequence[str] = ()) -> None:
        """See `loop.Run`."""
        if checkpoint is None and self.cfg.get("pretrain_weights"):
            _load_pretrained(self.model, self.cfg.pretrain_weights)
        super().start(checkpoint, about, loggers)
        if self.average and checkpoint is not None:
            self._resume_average(checkpoint, about)
        if self.ranks > 1 and self.cfg.use_gpu and self.cfg.get("norm_type") == "sync_bn":
            self.model = self.network = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if self.cfg.get("to_static"):
            self.network = paddle.jit.to_static(self.model)

    def collate(self, samples: list[Any]) -> dict[str, Any]:
        """See `Samples`."""
        return self.dataset.collate(samples)

    def precision(self) -> AbstractContextManager:
        """PaddleDetection's mixed precision."""
        if not self.amp:
            return nullcontext()
        return paddle.amp.auto_cast(
            custom_white_list=self.cfg.get("custom_white_list"),
            custom_black_list=self.cfg.get("custom_black_list"),
            level=self.cfg.get("amp_level", "O1"),
        )

    def losses_of(self, data: dict[str, Any]) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """The detector's loss and its parts."""
        try:
            losses = dict(self.network({**data, "epoch_id": self.iteration // self.per_epoch}))
        except Exception as error:  # some losses of PaddleDetection fail on values that are not finite
            if weight := bad_weight(self.model):
                raise UserError(
                    f"iteration {self.iteration + 1}: {weight} is not finite any more, and nothing is saved of it; "
                    f"lower {self.rate_key} and go on from the last checkpoint with -r"
                ) from error
            raise
        total = losses.pop("loss")
        if self.ranks > 1:  # a batch without boxes leaves parts of a head out, and gradients are averaged over all
            total = total + 0.0 * sum(p.sum() for p in self.model.parameters() if not p.stop_gradient)
        return total, losses

    def after_update(self) -> None:
        """Updates the moving average."""
        if self.average:
            self.average.update()

    def after_snapshot(self) -> None:
        """Counts the snapshot for the moving average."""
        if self.average:
            self.average.end_snapshot()

    def score(self) -> dict[str, float]:
        """AP and AP50 on EvalDataset, with the moving average when there is one. The first process evaluates."""
        if self.rank:
            return {}
        if self.evaluator is None:
            self.evaluator = evaluator(self.cfg, self.model)
        with self.average.applied() if self.average else nullcontext():
            return dict(run_evaluation(self.evaluator).values)

    def settings(self) -> dict[str, str]:
        """See `loop.Run`."""
        return describe(self.job, self.evaluates)

    def facts(self) -> dict[str, Any]:
        """Classes and preparation, so that the weights are used as they were trained; how far the average is."""
        facts = {"classes": class_names(self.job), "preprocessing": preprocessing(self.cfg)}
        return facts | ({"ema": self.average.counts()} if self.average else {})

    def snapshot_name(self) -> str:
        """The number of the epoch, counted from 0, as PaddleDetection's; within an epoch that of the iteration."""
        epoch, rest = divmod(self.iteration, self.per_epoch)
        return f"iteration_{self.iteration}" if rest else str(epoch - 1)

    def states(self) -> dict[str, Any]:
        """What a checkpoint holds.

        As in PaddleDetection, .pdparams has the averaged weights where there is a moving average, and .pdema the
        trained ones. .pdavg has the average's running sums, which PaddleDetection does not save.
        """
        states = super().states()
        states[".pdopt"] = {**states[".pdopt"], "last_epoch": self.iteration // self.per_epoch}
        if self.average:
            states |= {".pdparams": self.average.values(), ".pdema": self.model.state_dict()}
            if sums := self.average.sums():
                states[".pdavg"] = sums
        return states

    def load_weights(self, checkpoint: Path) -> None:
        """See `states`."""
        trained = checkpoint.with_name(checkpoint.name + ".pdema")
        averaged = checkpoint.with_name(checkpoint.name + ".pdparams")
        load_weights(self.model, trained if self.average and trained.is_file() else averaged)

    def _resume_average(self, checkpoint, about):
        sums = checkpoint.with_name(checkpoint.name + ".pdavg")
        sums = sums if sums.is_file() else checkpoint.with_name(checkpoint.name + ".pdparams")
        self.average.resume(read_arrays(sums), about.get("ema", {"step": self.iteration}))


def preprocessing(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """How TestReader prepares a picture, as the fields of `pictures.preparing.Preprocessing`.

    None where it does something that these do not hold. Where the size depends on the picture, it is not resized.
    """
    listed = [item for step in cfg["TestReader"]["sample_transforms"] for item in step.items()]
    steps = {name: arguments or {} for name, arguments in listed}
    known = {"Decode", "Resize", "NormalizeImage", "Permute"}
    normal, resize = steps.get("NormalizeImage"), steps.get("Resize", {})
    if normal is None or set(steps) - known or normal.get("norm_type", "mean_std") != "mean_std":
        return None
    if not normal.get("is_scale", True):
        return None
    size = None if resize.get("keep_ratio", True) else resize.get("target_size")
    interpolation = {1: "bilinear", 2: "bicubic"}.get(resize.get("interp", 1))
    if size is not None and interpolation is None:
        return None
    return {
        "resize": None if size is None else [size[1], size[0]],
        "crop": None,
        "interpolation": interpolation if size is not None else None,
        "backend": "opencv",
        "channels": "rgb",
        "mean": list(normal.get("mean", [0.485, 0.456, 0.406])),
        "std": list(normal.get("std", [0.229, 0.224, 0.225])),
    }


def _load_pretrained(model, source):
    """Checks that the configuration's `pretrain_weights` are weights, then loads them with PaddleDetection's loader."""
    path = Path(get_weights_path(source) if is_url(source) else source)
    file = path if path.suffix == ".pdparams" else path.with_name(path.name + ".pdparams")
    if not file.is_file():
        raise UserError(f"pretrain_weights {source} do not exist ({file}); give a .pdparams file or its URL")
    check_pretrained(read_pickle(file), source)
    load_pretrain_weight(model, str(file))


def check_pretrained(content: Any, source: str) -> None:
    """Refuses weights of which PaddleDetection's loader would silently take a part and make a wrong network.

    The loader passes over every tensor of another shape. So it would drop CondenseNetV2's channel numbers where a file
    keeps them as matrices.

    Args:
        content: what the file holds: key -> array.
        source: the file, for the message.

    Raises:
        UserError: the file keeps channel numbers as matrices.
    """
    for key, value in content.items() if isinstance(content, dict) else ():
        value = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if str(key).endswith(".sfr.index") and getattr(value, "ndim", 1) == 2:
            raise UserError(
                f"pretrain_weights {source} has {key} as a matrix, which PaddleDetection's loader passes over, so that "
                f"the network would use other channels; give the file as pretrained: in the backbone's block instead"
            )


class PruningProgress(Callback):
    """Tells a CondenseNetV2 in the learned form at every step how far training is, so that it prunes in time.

    In your own script, `trainer.register_callbacks([PruningProgress(trainer)])` on PaddleDetection's `Trainer`.
    """

    def on_step_begin(self, status: Mapping[str, Any]) -> None:
        """Prunes when it is due."""
        if status["mode"] == "train":
            epochs_done = status["epoch_id"] + status["step_id"] / status["steps_per_epoch"]
            set_progress(self.model.model, epochs_done / self.model.cfg.epoch)
