"""Training a segmentation model of PaddleSeg: whole checkpoints, exact resume, history and curves.

The model, the pictures, the losses and the optimizer are PaddleSeg's. The loop is not: PaddleSeg's own cannot save
whole checkpoints, and a run that it resumes sees other batches than one that was never stopped.
"""

import importlib
import math
import random
import sys
import time
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import paddle
from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau
from paddle.utils import unique_name

from .. import checkpoints
from ..backbones.pruning import learned_convs, set_progress
from ..errors import UserError
from ..history import History
from ..weights.loader import load_weights
from ..weights.reader import read_pickle
from .batches import Batches, SeededDataset, load, seeds
from .data import check_dataset
from .evaluation import score

# Operators whose precision PaddleSeg sets apart in automatic mixed precision.
_FP16_TOO, _FP32_ONLY = ("elementwise_add", "batch_norm", "sync_batch_norm"), ("bilinear_interp_v2",)
# Entries of an optimizer's state that do not belong to one parameter.
_NOT_MOMENTS = ("LR_Scheduler", "master_weights")


def train(job, resume=None, evaluate=False, amp=False, vdl=False, seed=None, overwrite=False):
    """Trains what the configuration describes, into save_dir/NAME of the configuration.

    A run that was killed and resumed gives what it would have given had it not been stopped.

    Args:
        job: from `segmentation.config.load`.
        resume (str | None): "auto" goes on from the last whole checkpoint of the folder, or starts when there is none;
            a path names the checkpoint. Default None: start anew.
        evaluate (bool): evaluate after every snapshot, and keep the best as best_model.
        amp (bool): automatic mixed precision, on a GPU.
        vdl (bool): log to VisualDL, into save_dir/NAME/vdl.
        seed (int | None): of the weights, the augmentation and the network's own randomness, 0 to 2^32 - 1. Default
            None: the checkpoint's when resuming, else any.
        overwrite (bool): delete an earlier run's checkpoints in the folder instead of refusing to start.

    Returns:
        Path of the folder.

    Raises:
        UserError: data that cannot be trained on; a checkpoint that is missing, half written or of another network; a
            folder that holds another run or cannot be written to; a loss that is not finite.
    """
    if paddle.distributed.get_world_size() > 1:
        paddle.distributed.init_parallel_env()
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    _check_data(job, evaluate)
    checkpoint, about = checkpoints.starting_point(job.folder, resume, overwrite)
    seed = _agree(about.get("seed") if seed is None else seed)
    if amp and paddle.get_device() == "cpu":
        amp = False
        print("note: mixed precision is used on a GPU only; this trains in float32", file=sys.stderr)
    # Optimizer states go by the parameters' automatic names, which so begin anew, whatever was built before.
    with unique_name.guard():
        run = Run(job, seed, evaluate, amp)
        run.start(checkpoint, about, vdl)
        run.train()
    return job.folder


def _check_data(job, evaluate):
    if paddle.distributed.get_rank() != 0:
        return
    for part in ("train", "val") if evaluate else ("train",):
        for note in check_dataset(job, part):
            print(f"note: {note}", file=sys.stderr)


def _agree(seed):
    """The seed, or a random one for None; that of the first process where there are several."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    if paddle.distributed.get_world_size() > 1:
        shared = paddle.to_tensor([seed], "int64")
        paddle.distributed.broadcast(shared, 0)
        seed = int(shared)
    return seed


class Run:
    """One training run: what is trained, how far it is, and what is kept of it.

    Args:
        job: from `segmentation.config.load`.
        seed (int): see `train`.
        evaluates (bool): evaluate after every snapshot.
        amp (bool): automatic mixed precision.
    """

    def __init__(self, job, seed, evaluates, amp):
        self.job, self.folder, self.seed, self.evaluates = job, job.folder, seed, evaluates
        self.iters, self.batch_size = job.config.iters, job.config.batch_size
        self.iteration, self.best_miou = 0, None
        self.rank, self.ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
        self._seed_generators()
        self.dataset = SeededDataset(job.builder.train_dataset, seed)
        self.model, self.optimizer, self.losses = job.builder.model, job.builder.optimizer, job.builder.loss
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if amp else None
        self.per_epoch = Batches(self.dataset, self.batch_size, 0, 0).per_epoch
        if self.per_epoch < 1:
            raise UserError(
                f"train_dataset has {len(self.dataset)} pictures, fewer than one batch of {self.batch_size}"
                f"{f' in each of {self.ranks} processes' if self.ranks > 1 else ''}; set a smaller batch_size"
            )

    def start(self, checkpoint, about, vdl):
        """Goes to where the checkpoint stands, if any, and opens what is kept beside checkpoints."""
        if checkpoint is not None:
            self._resume(checkpoint, about)
        self.history = History(self.folder, self.iteration, write=self.rank == 0)
        scores = [row["mIoU"] for row in self.history.rows if row["kind"] == "eval"]
        self.best_miou = max(scores, default=about.get("best_miou"))
        if self.ranks > 1 and paddle.get_device() != "cpu":
            self.model = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if self.job.dic.get("to_static_training"):
            self.model = paddle.jit.to_static(self.model)
        # a backbone may have stages that no head takes
        self.network = paddle.DataParallel(self.model, find_unused_parameters=True) if self.ranks > 1 else self.model
        self.is_learned = bool(learned_convs(self.model))
        self.log = _visualdl(self.folder / "vdl") if vdl and self.rank == 0 else None

    def _resume(self, checkpoint, about):
        load_weights(self.model, checkpoint.with_name(checkpoint.name + ".pdparams"))
        self.iteration = self._load_optimizer(checkpoint, about)
        if self.scaler and about.get("scaler"):
            self.scaler.load_state_dict({**about["scaler"], "scale": np.array([about["scaler"]["scale"]], "float32")})
        self._seed_generators()
        if self.rank == 0 and self.iteration < self.iters:
            print(f"resuming from {checkpoint}: iteration {self.iteration} of {self.iters}", flush=True)
        elif self.rank == 0:
            print(f"training is complete: {checkpoint} is at iteration {self.iteration} of {self.iters}")

    def _load_optimizer(self, checkpoint, about):
        """Gives the optimizer and its schedule the state that they had; returns the iterations that were done."""
        file = checkpoint.with_name(checkpoint.name + ".pdopt")
        read_pickle(file)  # refuses what is more than weights, before Paddle unpickles it
        state = paddle.load(str(file))
        # a checkpoint that PaddleSeg wrote counts its iterations in the scheduler alone
        iteration = about.get("iteration", state.get("LR_Scheduler", {}).get("last_epoch"))
        parameters = tuple(f"{parameter.name}_" for parameter in self.model.parameters())
        foreign = [key for key in state if key not in _NOT_MOMENTS and not key.startswith(parameters)]
        if iteration is None or foreign:
            raise UserError(
                f"cannot resume from {checkpoint}: {file.name} is not the state of this network's optimizer "
                f"({f'it holds {foreign[0]}' if foreign else 'it holds no learning-rate schedule'}); start anew"
            )
        kind = type(self.optimizer).__name__
        if about.get("optimizer", kind) != kind:
            raise UserError(
                f"cannot resume from {checkpoint}: it was trained with the optimizer {about['optimizer']}, and the "
                f"configuration has {kind}; take the one that it was trained with, or start anew"
            )
        self.optimizer.set_state_dict(state)
        return iteration

    def train(self):
        """Trains from where it stands to the end."""
        scored = any(row["kind"] == "eval" and row["iteration"] == self.iteration for row in self.history.rows)
        if self.iteration and self.evaluates and not scored:  # killed after this snapshot and before its evaluation
            self._evaluate()
            self._seed_generators()
        meter = Meter()
        self.model.train()
        batches = Batches(self.dataset, self.batch_size, self.iteration, self.iters)
        for batch, data in load(self.dataset, batches, self.job.num_workers):
            if self.is_learned:
                set_progress(self.model, self.iteration / self.iters)
            rate = self.optimizer.get_lr()
            meter.add(self._step(batch, data))
            self.iteration += 1
            is_snapshot = self.iteration % self.job.save_interval == 0 or self.iteration == self.iters
            if is_snapshot or self.iteration % self.job.log_iters == 0:
                self._report(meter, rate)
            if is_snapshot:
                self._snapshot()
                meter = Meter()
        if self.log:
            self.log.close()

    def _step(self, batch, data):
        """One step of the optimizer; returns the losses as floats, their sum first."""
        with _mixed_precision() if self.scaler else nullcontext():
            losses = self.losses_of(self.network(data["img"]), data)
            total = sum(losses)
        values = [float(total), *map(float, losses)]
        if not math.isfinite(values[0]):
            raise UserError(
                f"iteration {self.iteration + 1}: the loss is {values[0]}, and nothing is saved of it; lower "
                f"lr_scheduler.learning_rate, or look at the batch: "
                f"{', '.join(self.dataset.files(index) for _, index in batch)}"
            )
        if self.scaler:
            self.scaler.scale(total).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            total.backward()
            self.optimizer.step()
        self.optimizer.clear_grad(set_to_zero=False)
        schedule = self.optimizer._learning_rate
        if isinstance(schedule, ReduceOnPlateau):
            schedule.step(total.detach())
        elif isinstance(schedule, LRScheduler):
            schedule.step()
        return values

    def losses_of(self, outputs, data):
        """The loss of every output of the model, a list of Tensors."""
        if hasattr(self.model, "loss_computation"):
            return self.model.loss_computation(outputs, self.losses, data)
        if len(outputs) != len(self.losses["types"]):
            raise UserError(
                f"{self.job.path}: the model has {len(outputs)} outputs in training, and loss has "
                f"{len(self.losses['types'])}; give loss.coef a number for each output"
            )
        labels = data["label"].astype("int64")
        edges = data["edge"].astype("int64") if "edge" in data else None
        # looked up at every step, so that a repaired one is used; `paddleseg.core.train` is the function of that name
        compute = importlib.import_module("paddleseg.core.train").loss_computation
        return compute(logits_list=outputs, labels=labels, edges=edges, losses=self.losses)

    def _report(self, meter, rate):
        """Prints and keeps the mean losses since the last report."""
        (total, *parts), seconds = meter.read()
        if self.rank != 0:
            return
        losses = {"loss": total, **({f"loss_{i}": part for i, part in enumerate(parts)} if len(parts) > 1 else {})}
        left = timedelta(seconds=round(seconds * (self.iters - self.iteration)))
        speed = self.batch_size * self.ranks / seconds
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        print(
            f"iteration {self.iteration}/{self.iters}: {shown}, learning rate {rate:.6g}, {speed:.1f} images/s, "
            f"{left} left",
            flush=True,
        )
        self._note("train", {"lr": float(rate), **losses})

    def _note(self, kind, values):
        epoch = round(self.iteration / self.per_epoch, 4)
        self.history.add({"kind": kind, "iteration": self.iteration, "epoch": epoch, **values})
        for name, value in values.items() if self.log else ():
            self.log.add_scalar(f"{kind}/{name}", value, self.iteration)

    def _snapshot(self):
        if self.ranks > 1:  # plain batch norm has other statistics in every process: what is evaluated is what is saved
            for value in self.model.state_dict().values():
                paddle.distributed.broadcast(value, 0)
        self._check_weights()
        self._save("model_final" if self.iteration == self.iters else str(self.iteration))
        self._forget()
        if self.evaluates:
            self._evaluate()
        self.history.draw()
        self._seed_generators()

    def _evaluate(self):
        """Evaluates on every process; the first keeps the weights when they are the best so far."""
        result = score(self.model, self.job)
        self.model.train()
        values = {"mIoU": float(result["mIoU"]), "accuracy": float(result["accuracy"])}
        if self.rank == 0:
            print(f"mIoU {values['mIoU']:.4f}, accuracy {values['accuracy']:.4f}", flush=True)
            if self.best_miou is None or values["mIoU"] >= self.best_miou:
                self.best_miou = values["mIoU"]
                self._save("best_model")
            self._note("eval", values)  # last: a run that is killed before it evaluates again

    def _check_weights(self):
        """A step can spoil the weights though its loss was finite: that shows before they are saved, not after."""
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not bool(paddle.isfinite(value).all()):
                raise UserError(
                    f"iteration {self.iteration}: {name} is not finite any more, and nothing is saved of it; lower "
                    f"lr_scheduler.learning_rate and go on from the last checkpoint with -r"
                )

    def _save(self, name):
        if self.rank != 0:
            return
        about = {
            "config": self.job.name,
            "epoch": self.iteration // self.per_epoch,
            "iteration": self.iteration,
            "best_miou": self.best_miou,
            "seed": self.seed,
            "optimizer": type(self.optimizer).__name__,
        }
        if self.scaler:
            about["scaler"] = {key: np.asarray(value).item() for key, value in self.scaler.state_dict().items()}
        states = {".pdparams": self.model.state_dict(), ".pdopt": self.optimizer.state_dict()}
        checkpoints.save(self.folder, name, states, about)
        print(f"saved {self.folder / name}", flush=True)

    def _forget(self):
        """Deletes the numbered snapshots before the last `keep_checkpoints`."""
        if self.rank != 0 or not self.job.keep_checkpoints:
            return
        stems = {file.stem for file in self.folder.glob("*.pdparams")}
        # those of later iterations are of an earlier run, and will be overwritten
        numbers = sorted(int(stem) for stem in stems if stem.isdecimal() and int(stem) <= self.iteration)
        for number in numbers[: -self.job.keep_checkpoints]:
            checkpoints.remove(self.folder, str(number))

    def _seed_generators(self):
        """Sets what is random outside of the data set to what it is at this iteration, for this process."""
        first, second = seeds(self.seed, self.iteration, self.rank)
        paddle.seed(first)
        random.seed(second)
        np.random.seed(second)


class Meter:
    """Means of the losses and seconds an iteration since they were last read."""

    def __init__(self):
        self.rows, self.since = [], time.perf_counter()

    def add(self, values):
        """One iteration's losses."""
        self.rows.append(values)

    def read(self):
        """(mean of each loss, seconds an iteration); starts anew."""
        now = time.perf_counter()
        result = np.mean(self.rows, axis=0).tolist(), max(now - self.since, 1e-9) / len(self.rows)
        self.rows, self.since = [], now
        return result


def _mixed_precision():
    return paddle.amp.auto_cast(level="O1", custom_white_list=set(_FP16_TOO), custom_black_list=set(_FP32_ONLY))


def _visualdl(folder):
    from visualdl import LogWriter

    return LogWriter(str(folder))
