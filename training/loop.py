"""A training run whose loop is ours: whole checkpoints, exact resume, several processes, history and curves.

`segmentation.training` and `classification.training` say what is trained; the rest is here.
"""

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

from ..backbones.pruning import learned_convs, set_progress
from ..errors import UserError
from ..pictures.plots import check_curves
from ..weights.loader import load_weights
from ..weights.reader import read_pickle
from . import checkpoints, processes
from .batches import Batches, load, seeds
from .history import History

# Entries of an optimizer's state that do not belong to one parameter.
_NOT_MOMENTS = ("LR_Scheduler", "master_weights")


def train(make, folder, resume=None, vdl=False, seed=None, overwrite=False, check=lambda: ()):
    """Trains into a folder.

    Args:
        make: seed -> `Run`.
        folder (Path): of the run.
        resume, vdl, seed, overwrite: see `segmentation.training.train`.
        check: looks at the data before anything is built, in the first process; returns notes.

    Returns:
        Path of the folder.

    Raises:
        UserError: seed out of range; a folder that holds another run or cannot be written to; what `Run` raises.
    """
    check_curves()
    processes.start()
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    for note in check() if paddle.distributed.get_rank() == 0 else ():
        print(f"note: {note}", file=sys.stderr)
    checkpoint, about = checkpoints.starting_point(folder, resume, overwrite)
    seed = processes.agree(about.get("seed") if seed is None else seed)
    # Optimizer states go by the parameters' automatic names, which so begin anew, whatever was built before.
    with unique_name.guard():
        run = make(seed)
        run.start(checkpoint, about, vdl)
        run.train()
    return folder


class Run:
    """One training run: what is trained, how far it is, and what is kept of it.

    A subclass gives `open_data`, `build`, `losses_of` and `score`. An iteration is one step of the optimizer.

    Args:
        job: with name, folder, log_iters, keep_checkpoints, num_workers.
        seed (int): see `train`.
        batch_size (int): pictures that this process puts through the network at once.
        evaluates (bool): evaluate after every snapshot.
        accumulate (int): batches that one iteration takes. Default 1.
    """

    #: the entry of `score` that says which snapshot is the best
    best_score = None
    #: the key of the configuration that is to be lowered when a loss is not finite
    rate_key = "lr_scheduler.learning_rate"

    def __init__(self, job, seed, batch_size, evaluates=False, accumulate=1):
        self.job, self.folder, self.seed, self.evaluates = job, job.folder, seed, evaluates
        self.batch_size, self.accumulate = batch_size, accumulate
        self.iteration, self.best, self.scaler = 0, None, None
        self.rank, self.ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
        self._seed_generators()
        self.open_data()
        self.per_epoch = Batches(self.sampler, 0, 0, accumulate).per_epoch
        if self.per_epoch < 1:
            size = f"one batch of {batch_size}" if accumulate == 1 else f"{accumulate} batches of {batch_size}"
            raise UserError(
                f"train_dataset has {len(self.dataset)} pictures, fewer than {size}"
                f"{f' in each of {self.ranks} processes' if self.ranks > 1 else ''}; set a smaller batch_size"
            )
        self.build()

    def open_data(self):
        """Sets `dataset` (see `loading.load`) and `sampler` (see `loading.Batches`)."""
        raise NotImplementedError

    def build(self):
        """Sets `model`, `optimizer`, if there is one `scaler`, and `iters` and `save_interval`, in iterations."""
        raise NotImplementedError

    def losses_of(self, data):
        """The losses of one batch, a list of 0-D tensors, whose sum is minimised."""
        raise NotImplementedError

    def score(self):
        """What evaluation finds, a dict of floats."""
        raise NotImplementedError

    def after_update(self):
        """What follows a step of the optimizer."""

    def precision(self):
        """The context in which `losses_of` runs."""
        return nullcontext()

    def facts(self):
        """JSON values to keep with a checkpoint, beside those that every run keeps."""
        return {}

    def states(self):
        """What a checkpoint holds: suffix of the file to what `paddle.save` writes."""
        return {".pdparams": self.model.state_dict(), ".pdopt": self.optimizer.state_dict()}

    def shared(self):
        """The tensors that every process is to have as the first one has them: parameters, statistics, masks."""
        return self.model.state_dict().values()

    def load_weights(self, checkpoint):
        """Fills the model from the weights of a checkpoint."""
        load_weights(self.model, checkpoint.with_name(checkpoint.name + ".pdparams"))

    def start(self, checkpoint, about, vdl):
        """Goes to where the checkpoint stands, if any, and opens what is kept beside checkpoints."""
        if checkpoint is not None:
            self._resume(checkpoint, about)
        self.history = History(self.folder, self.iteration, write=self.rank == 0)
        scores = [row[self.best_score] for row in self.history.rows if row["kind"] == "eval"]
        self.best = max(scores, default=about.get(self._best_key))
        processes.share(self.shared())
        self.is_learned = bool(learned_convs(self.model))
        self.log = _visualdl(self.folder / "vdl") if vdl and self.rank == 0 else None

    @property
    def _best_key(self):
        return f"best_{self.best_score.lower()}"

    def _resume(self, checkpoint, about):
        self.load_weights(checkpoint)
        self.iteration = self._load_optimizer(checkpoint, about)
        if self.scaler and about.get("scaler"):
            self.scaler.load_state_dict({**about["scaler"], "scale": np.array([about["scaler"]["scale"]], "float32")})
        before = about.get("iterations_per_epoch", self.per_epoch)
        if self.rank == 0 and before != self.per_epoch:
            print(
                f"note: an epoch has {self.per_epoch} iterations here and had {before}, so other pictures follow; the "
                f"run goes on in epoch {self.iteration // self.per_epoch + 1}",
                file=sys.stderr,
            )
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
        meter = Meter()
        self.model.train()
        for parts in self._parts():
            self._seed_generators()
            if self.is_learned:
                set_progress(self.model, self.iteration / self.iters)
            rate = self.optimizer.get_lr()
            meter.add(self._step(parts))
            self.iteration += 1
            is_snapshot = self.iteration % self.save_interval == 0 or self.iteration == self.iters
            if is_snapshot or self.iteration % self.job.log_iters == 0:
                self._report(meter, rate)
            if is_snapshot:
                self._snapshot()
                meter = Meter()
        if self.log:
            self.log.close()

    def _parts(self):
        """The batches of each iteration, a list of (numbers of the pictures, data)."""
        batches = Batches(self.sampler, self.iteration, self.iters, self.accumulate)
        loaded = load(self.dataset, batches, self.job.num_workers)
        return zip(*[loaded] * self.accumulate)

    def _step(self, parts):
        """One step of the optimizer; returns the losses as floats, their sum first."""
        values = []
        for batch, data in parts:
            with self.precision():
                losses = self.losses_of(data)
                total = sum(losses)
            values.append([float(total), *map(float, losses)])
            self._check_loss(values[-1][0], batch)
            share = total / self.accumulate if self.accumulate > 1 else total
            (self.scaler.scale(share) if self.scaler else share).backward()
        processes.average_gradients(self.model.parameters())
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.clear_grad(set_to_zero=False)
        self.after_update()
        schedule = self.optimizer._learning_rate
        if isinstance(schedule, ReduceOnPlateau):
            schedule.step(total.detach())
        elif isinstance(schedule, LRScheduler):
            schedule.step()
        return np.mean(values, axis=0).tolist()

    def _check_loss(self, value, batch):
        if not math.isfinite(value):
            raise UserError(
                f"iteration {self.iteration + 1}: the loss is {value}, and nothing is saved of it; lower "
                f"{self.rate_key}, or look at the batch: {', '.join(self.dataset.files(index) for _, index in batch)}"
            )

    def _report(self, meter, rate):
        """Prints and keeps the mean losses since the last report."""
        (total, *parts), seconds = meter.read()
        if self.rank != 0:
            return
        losses = {"loss": total, **({f"loss_{i}": part for i, part in enumerate(parts)} if len(parts) > 1 else {})}
        left = timedelta(seconds=round(seconds * (self.iters - self.iteration)))
        speed = self.batch_size * self.accumulate * self.ranks / seconds
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
        # plain batch norm has other statistics in every process: what is evaluated is what is saved
        processes.share(self.shared())
        self._check_weights()
        self._save("model_final" if self.iteration == self.iters else str(self.iteration))
        self._forget()
        if self.evaluates:
            self._evaluate()
        self.history.draw()

    def _evaluate(self):
        """Evaluates on every process; the first keeps the weights when they are the best so far."""
        values = self.score()
        self.model.train()
        if self.rank == 0:
            print(", ".join(f"{name} {value:.4f}" for name, value in values.items()), flush=True)
            if self.best is None or values[self.best_score] >= self.best:
                self.best = values[self.best_score]
                self._save("best_model")
            self._note("eval", values)  # last: a run that is killed before it evaluates again

    def _check_weights(self):
        """A step can spoil the weights though its loss was finite: that shows before they are saved, not after."""
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not bool(paddle.isfinite(value).all()):
                raise UserError(
                    f"iteration {self.iteration}: {name} is not finite any more, and nothing is saved of it; lower "
                    f"{self.rate_key} and go on from the last checkpoint with -r"
                )

    def _save(self, name):
        if self.rank != 0:
            return
        about = {
            "config": self.job.name,
            "epoch": self.iteration // self.per_epoch,
            "iteration": self.iteration,
            "iterations_per_epoch": self.per_epoch,
            self._best_key: self.best,
            "seed": self.seed,
            "optimizer": type(self.optimizer).__name__,
            **self.facts(),
        }
        if self.scaler:
            about["scaler"] = {key: np.asarray(value).item() for key, value in self.scaler.state_dict().items()}
        checkpoints.save(self.folder, name, self.states(), about)
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


def _visualdl(folder):
    from visualdl import LogWriter

    return LogWriter(str(folder))
