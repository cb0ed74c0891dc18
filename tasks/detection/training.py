"""Training a detector with PaddleDetection's trainer: whole checkpoints, resume, history and curves."""

import sys
from pathlib import Path

import paddle
from ppdet.engine import Trainer, init_parallel_env, set_random_seed
from ppdet.engine.callbacks import Callback, Checkpointer
from ppdet.utils.checkpoint import is_url
from ppdet.utils.download import get_weights_path

from ...backbones.pruning import learned_convs, set_progress
from ...errors import UserError
from ...training import checkpoints
from ...training.history import History
from ...weights.reader import read_pickle
from .data import check_dataset
from .results import metric_values


def train(cfg, resume=None, evaluate=False, amp=False, vdl=False, seed=None, overwrite=False):
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    Args:
        cfg: from `detection.config.load`.
        resume (str | None): "auto" goes on from the last whole checkpoint of the folder, or starts when there is none;
            a path names the checkpoint. Default None: start anew.
        evaluate (bool): evaluate after every snapshot, and keep the best as best_model.
        amp (bool): automatic mixed precision; PaddleDetection leaves it off on a CPU.
        vdl (bool): log to VisualDL, into save_dir/NAME/vdl.
        seed (int | None): for the generators of Python, NumPy and Paddle.
        overwrite (bool): delete an earlier run's checkpoints in the folder instead of refusing to start.

    Returns:
        Path of the folder.

    Raises:
        UserError: data that cannot be trained on; a checkpoint that is missing or half written; a folder that holds
            another run or cannot be written to.
    """
    if paddle.distributed.get_world_size() > 1:
        init_parallel_env()
    if seed is not None:
        set_random_seed(seed)
    folder = Path(cfg.save_dir) / cfg.filename
    _check_data(cfg, evaluate)
    checkpoint, about = checkpoints.starting_point(folder, resume, overwrite)
    cfg.setdefault("output_eval", str(folder))  # else PaddleDetection leaves its bbox.json where you stand
    cfg.amp = amp
    if amp and not cfg.use_gpu:
        print("note: PaddleDetection uses mixed precision on a GPU only; this trains in float32", file=sys.stderr)
    if vdl:
        cfg.use_vdl, cfg.vdl_log_dir = True, str(folder / "vdl")

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
            return folder
    elif cfg.get("pretrain_weights"):
        _load_pretrained(trainer, cfg.pretrain_weights)
    keeper = WholeCheckpoints(trainer, folder, about.get("best_ap"))
    history = HistoryKeeper(trainer, folder, trainer.start_epoch * len(trainer.loader))
    kept = [callback for callback in trainer._callbacks if not isinstance(callback, Checkpointer)]
    trainer._callbacks = []
    pruning = [PruningProgress(trainer)] if learned_convs(trainer.model) else []
    trainer.register_callbacks([*kept, *pruning, history, keeper])
    trainer.train(evaluate)
    return folder


def _check_data(cfg, evaluate):
    if paddle.distributed.get_rank() != 0:
        return
    notes = check_dataset(cfg.TrainDataset, "TrainDataset", cfg.num_classes)
    if evaluate:
        notes += check_dataset(cfg.EvalDataset, "EvalDataset", cfg.num_classes)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _resume(trainer, checkpoint):
    for suffix in checkpoints.SUFFIXES:
        file = checkpoint.with_name(checkpoint.name + suffix)
        if file.is_file():
            read_pickle(file)  # refuses what is more than weights, before PaddleDetection unpickles it
    trainer.resume_weights(str(checkpoint))
    # the pictures come in the order that this epoch would have had, not in that of the first epoch again
    trainer.loader._batch_sampler.set_epoch(trainer.start_epoch)
    trainer.loader.loader = iter(trainer.loader.dataloader)
    print(f"resuming from {checkpoint}: epoch {trainer.start_epoch} of {trainer.cfg.epoch}", flush=True)


def _load_pretrained(trainer, source):
    """Loads the configuration's `pretrain_weights` with PaddleDetection's loader, once they are known to be weights."""
    path = Path(get_weights_path(source) if is_url(source) else source)
    file = path if path.suffix == ".pdparams" else path.with_name(path.name + ".pdparams")
    if not file.is_file():
        raise UserError(f"pretrain_weights {source} do not exist ({file}); give a .pdparams file or its URL")
    check_pretrained(read_pickle(file), source)
    trainer.load_weights(str(file))


def check_pretrained(content, source):
    """Raises UserError for weights that PaddleDetection's loader would take in part and make a wrong network of.

    It passes over what has another shape, also the channel numbers of CondenseNetV2 where they are kept as matrices.
    """
    for key, value in content.items() if isinstance(content, dict) else ():
        value = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if str(key).endswith(".sfr.index") and getattr(value, "ndim", 1) == 2:
            raise UserError(
                f"pretrain_weights {source} has {key} as a matrix, which PaddleDetection's loader passes over, so that "
                f"the network would use other channels; give the file as pretrained: in the backbone's block instead"
            )


class PruningProgress(Callback):
    """Tells a CondenseNetV2 in the learned form, at every step, how far training is.

    In a script of your own, `trainer.register_callbacks([PruningProgress(trainer)])` on PaddleDetection's `Trainer`.
    """

    def on_step_begin(self, status):
        """Prunes when it is due."""
        if status["mode"] == "train":
            epochs_done = status["epoch_id"] + status["step_id"] / status["steps_per_epoch"]
            set_progress(self.model.model, epochs_done / self.model.cfg.epoch)


class WholeCheckpoints(Callback):
    """Saves what PaddleDetection's `Checkpointer` saves, under the same names, as whole checkpoints.

    Each snapshot goes by its epoch's number, the last is model_final, the best evaluated one best_model.
    """

    def __init__(self, trainer, folder, best_ap=None):
        super().__init__(trainer)
        self.folder = folder
        self.best_ap = best_ap

    def on_epoch_end(self, status):
        """After training: a snapshot when one is due. After evaluation: best_model when it is the best so far."""
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
        weights = trainer.model.state_dict()
        # with a moving average the model holds the averaged weights here, and status the trained ones
        states = {".pdparams": weights}
        if trainer.use_ema:
            states[".pdema"] = status["weight"]
        states[".pdopt"] = {**trainer.optimizer.state_dict(), "last_epoch": epoch}
        about = {
            "config": trainer.cfg.filename,
            "epoch": epoch,
            "iteration": epoch * status["steps_per_epoch"],
            "best_ap": self.best_ap,
        }
        checkpoints.save(self.folder, name, states, about)
        print(f"saved {self.folder / name}", flush=True)


class HistoryKeeper(Callback):
    """Notes the losses every log_iter iterations and AP at every evaluation, and draws the curves."""

    def __init__(self, trainer, folder, iteration):
        super().__init__(trainer)
        self.history = History(folder, iteration, write=paddle.distributed.get_rank() == 0)

    def on_step_end(self, status):
        """Notes the losses."""
        steps = status["steps_per_epoch"]
        due = status["step_id"] % self.model.cfg.log_iter == 0 or status["step_id"] == steps - 1
        if status["mode"] != "train" or not due or paddle.distributed.get_rank() != 0:
            return
        losses = {name: float(value) for name, value in status["training_staus"].get().items()}
        self._add(status, {"kind": "train", "lr": float(status["learning_rate"]), **losses}, status["step_id"] + 1)

    def on_epoch_end(self, status):
        """Notes the evaluation and draws the curves."""
        if paddle.distributed.get_rank() != 0:
            return
        if status["mode"] == "eval":
            self._add(status, {"kind": "eval", **metric_values(self.model._metrics)}, status["steps_per_epoch"])
        self.history.draw()

    def _add(self, status, row, step):
        steps = status["steps_per_epoch"]
        iteration = status["epoch_id"] * steps + step
        self.history.add({"iteration": iteration, "epoch": round(iteration / steps, 4), **row})
