"""Training a detector with PaddleDetection's trainer: whole checkpoints, resuming, history and curves."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paddle
from ppdet.engine import Trainer, init_parallel_env, set_random_seed
from ppdet.engine.callbacks import Callback, Checkpointer
from ppdet.utils.checkpoint import is_url
from ppdet.utils.download import get_weights_path

from ...backbones.pruning import learned_convs, set_progress
from ...errors import UserError
from ...training import checkpoints
from ...training.finite import bad_weight
from ...training.history import History
from ...weights.reader import read_pickle
from ..training import begin, only_one
from .data import class_names, using
from .evaluation import metric_values
from .job import Job
from .scoring import fast_scores


def train(
    job: Job, resume: str | None = None, evaluate: bool = False, amp: bool = False, vdl: bool = False,
    seed: int | None = None, overwrite: bool = False,
) -> Path:  # fmt: skip
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    The arguments are those of `tasks.training`. PaddleDetection leaves mixed precision off on a CPU.

    Returns:
        The folder of the run.

    Raises:
        UserError: as `tasks.training.begin`; fewer pictures than one batch.
    """
    if paddle.distributed.get_world_size() > 1:
        init_parallel_env()
    with only_one(job):
        checkpoint, about = begin(job, resume, evaluate, seed, overwrite)
        _configure(job, amp, vdl, seed)
        with using(job, *("train", "val")[: 1 + evaluate]), fast_scores():
            _run(job, checkpoint, about, evaluate)
    return job.folder


def _configure(job, amp, vdl, seed):
    cfg, folder = job.cfg, job.folder
    if seed is not None:
        set_random_seed(seed)
    cfg.setdefault("output_eval", str(folder))  # else PaddleDetection writes bbox.json into the current folder
    cfg.amp = amp
    if amp and not cfg.use_gpu:
        print("note: PaddleDetection uses mixed precision on a GPU only; this trains in float32", file=sys.stderr)
    if vdl:
        cfg.use_vdl, cfg.vdl_log_dir = True, str(folder / "vdl")


def _run(job, checkpoint, about, evaluate):
    cfg = job.cfg
    trainer = Trainer(cfg, mode="train")
    if len(trainer.loader) < 1:
        raise UserError(
            f"TrainDataset has {len(trainer.dataset)} pictures, fewer than one batch of "
            f"{cfg.TrainReader['batch_size']}; set a smaller TrainReader.batch_size"
        )
    if checkpoint is not None:
        _resume(trainer, checkpoint)
        if trainer.start_epoch >= cfg.epoch:
            print(f"training is complete: {checkpoint} is at epoch {trainer.start_epoch} of {cfg.epoch}")
            return
    elif cfg.get("pretrain_weights"):
        _load_pretrained(trainer, cfg.pretrain_weights)
    _replace_callbacks(trainer, job, about.get("best_ap"))
    try:
        trainer.train(evaluate)
    except UserError:
        raise
    except Exception as error:  # some losses of PaddleDetection fail on values that are not finite
        if weight := bad_weight(trainer.model):
            raise UserError(_spoilt(f"epoch {trainer.status['epoch_id']}", weight)) from error
        raise


def _spoilt(when, what):
    return (
        f"{when}: {what} is not finite any more, and nothing is saved of it; lower LearningRate.base_lr and go on from "
        f"the last checkpoint with -r"
    )


def _replace_callbacks(trainer, job, best_ap):
    """Replaces PaddleDetection's checkpoints by whole ones, and adds history and pruning."""
    kept = [callback for callback in trainer._callbacks if not isinstance(callback, Checkpointer)]
    pruning = [PruningProgress(trainer)] if learned_convs(trainer.model) else []
    history = HistoryKeeper(trainer, job.folder, trainer.start_epoch * len(trainer.loader))
    saving = WholeCheckpoints(trainer, job.folder, best_ap, class_names(job))
    trainer._callbacks = []
    trainer.register_callbacks([*kept, *pruning, history, saving])


def _resume(trainer, checkpoint):
    for suffix in checkpoints.SUFFIXES:
        file = checkpoint.with_name(checkpoint.name + suffix)
        if file.is_file():
            read_pickle(file)  # refuses a file that holds code, before PaddleDetection unpickles it
    trainer.resume_weights(str(checkpoint))
    # the pictures come in the order of this epoch, not in that of the first epoch again
    trainer.loader._batch_sampler.set_epoch(trainer.start_epoch)
    trainer.loader.loader = iter(trainer.loader.dataloader)
    print(f"resuming from {checkpoint}: epoch {trainer.start_epoch} of {trainer.cfg.epoch}", flush=True)


def _load_pretrained(trainer, source):
    """Checks that the configuration's `pretrain_weights` are weights, then loads them with PaddleDetection's loader."""
    path = Path(get_weights_path(source) if is_url(source) else source)
    file = path if path.suffix == ".pdparams" else path.with_name(path.name + ".pdparams")
    if not file.is_file():
        raise UserError(f"pretrain_weights {source} do not exist ({file}); give a .pdparams file or its URL")
    check_pretrained(read_pickle(file), source)
    trainer.load_weights(str(file))


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


class WholeCheckpoints(Callback):
    """Saves what PaddleDetection's `Checkpointer` saves, under the same names, as whole checkpoints.

    A snapshot is named after its epoch, the last one model_final, the best evaluated one best_model. The names of the
    classes are kept with each.
    """

    def __init__(self, trainer: Any, folder: Path, best_ap: float | None = None, classes: Sequence[str] | None = None):
        super().__init__(trainer)
        self.folder, self.classes = folder, classes
        self.best_ap = best_ap

    def on_epoch_end(self, status: Mapping[str, Any]) -> None:
        """After training, saves a snapshot when one is due. After evaluation, saves best_model if it is the best."""
        trainer = self.model
        if paddle.distributed.get_rank() != 0:
            return
        epoch = status["epoch_id"] + 1
        if status["mode"] == "train":
            if epoch % trainer.cfg.snapshot_epoch == 0 or epoch == trainer.cfg.epoch:
                self._save("model_final" if epoch == trainer.cfg.epoch else str(epoch - 1), epoch, status)
        elif status.get("save_best_model"):
            ap = metric_values(trainer._metrics)["AP"]
            if self.best_ap is None or ap >= self.best_ap:
                self.best_ap = ap
                self._save("best_model", epoch, status)

    def _save(self, name, epoch, status):
        trainer = self.model
        if weight := bad_weight(trainer.model):
            raise UserError(_spoilt(f"epoch {epoch}", weight))
        weights = trainer.model.state_dict()
        # with a moving average the model holds the averaged weights here, and `status` the trained ones
        states = {".pdparams": weights}
        if trainer.use_ema:
            states[".pdema"] = status["weight"]
        states[".pdopt"] = {**trainer.optimizer.state_dict(), "last_epoch": epoch}
        about = {
            "config": trainer.cfg.filename,
            "epoch": epoch,
            "iteration": epoch * status["steps_per_epoch"],
            "best_ap": self.best_ap,
            "classes": self.classes,
        }
        checkpoints.save(self.folder, name, states, about)
        print(f"saved {self.folder / name}", flush=True)


class HistoryKeeper(Callback):
    """Records the losses every log_iter iterations and AP at every evaluation, and draws the curves."""

    def __init__(self, trainer: Any, folder: Path, iteration: int):
        super().__init__(trainer)
        self.history = History(folder, iteration, write=paddle.distributed.get_rank() == 0)

    def on_step_end(self, status: Mapping[str, Any]) -> None:
        """Records the losses; UserError for one that is not finite."""
        steps = status["steps_per_epoch"]
        if status["mode"] == "train":
            self._check_losses(status)
        due = status["step_id"] % self.model.cfg.log_iter == 0 or status["step_id"] == steps - 1
        if status["mode"] != "train" or not due or paddle.distributed.get_rank() != 0:
            return
        losses = {name: float(value) for name, value in status["training_staus"].get().items()}
        self._add(status, {"kind": "train", "lr": float(status["learning_rate"]), **losses}, status["step_id"] + 1)

    def _check_losses(self, status):
        """PaddleDetection goes on with a loss that is not finite, and saves what became of the weights."""
        values = {name: float(meter.value) for name, meter in status["training_staus"].meters.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            parts = [name for name in bad if name != "loss"] or bad
            weight = bad_weight(self.model.model)
            what = f"{parts[0]} is {values[parts[0]]}, and {weight}" if weight else parts[0]
            raise UserError(_spoilt(f"epoch {status['epoch_id']}, iteration {status['step_id'] + 1}", what))

    def on_epoch_end(self, status: Mapping[str, Any]) -> None:
        """Records the evaluation and draws the curves."""
        if paddle.distributed.get_rank() != 0:
            return
        if status["mode"] == "eval":
            self._add(status, {"kind": "eval", **metric_values(self.model._metrics)}, status["steps_per_epoch"])
        self.history.draw()

    def _add(self, status, row, step):
        steps = status["steps_per_epoch"]
        iteration = status["epoch_id"] * steps + step
        self.history.add({"iteration": iteration, "epoch": round(iteration / steps, 4), **row})
