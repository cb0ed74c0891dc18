"""The training loop of all tasks, with whole checkpoints and exact resume.

It trains in one process or several. `tasks.*.training` say what is trained; the rest is here. `reporting` prints and
logs, `checkpoints` writes the snapshots.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.optimizer.lr import LRScheduler, ReduceOnPlateau
from paddle.utils import unique_name

from ..backbones.pruning import learned_convs, set_progress
from ..errors import UserError
from ..system import signals
from ..weights.loader import load_weights
from . import checkpoints, processes, stopping
from .batches import Batches, seeds
from .finite import bad_weight
from .loading import load, stacked
from .overview import overview
from .reporting import Plan, Reporter, means
from .resuming import load_optimizer
from .screen import Screen

#: the checkpoint of a run that was ended between two snapshots; the next snapshot takes its place
INTERRUPTED = "interrupted"


def train(
    make: "Callable[[int], Run]",
    folder: Path,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    loggers: Sequence[str] = (),
    seed: int | None = None,
    patience: int | None = None,
) -> Path:
    """Trains into a folder.

    Args:
        make: seed -> `Run`.
        folder: of the run.
        checkpoint: FOLDER/NAME to resume from, or None to start from scratch; see `checkpoints.starting_point`.
        about: the info of the checkpoint.
        loggers: keys of `loggers.LOGGERS`.
        seed: of the whole run, 0 to 2^32 - 1. None takes the checkpoint's, or a random one.
        patience: stop when this many evaluations in a row were no better than the best; None never stops.

    Returns:
        The folder.

    Raises:
        UserError: `Run` raises one.
    """
    about = about or {}
    seed = processes.agree(about.get("seed") if seed is None else seed)
    # Optimizer states refer to parameters by their automatic names. The guard restarts the numbering, whatever was
    # built before.
    with unique_name.guard():
        run = make(seed)
        run.patience = patience
        run.start(checkpoint, about, loggers)
        run.train()
    return folder


def summed(losses: Sequence[paddle.Tensor]) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
    """The sum of losses, and each as loss_0, loss_1, ... when there are several: what `Run.losses_of` returns."""
    return sum(losses), {f"loss_{i}": loss for i, loss in enumerate(losses)} if len(losses) > 1 else {}


class Run:
    """One training run: the model, the data, the optimizer, and how far training is.

    A subclass implements `open_data`, `build`, `losses_of` and `score`. An iteration is one step of the optimizer.

    Args:
        job: has name, folder, log_iters, keep_checkpoints and num_workers.
        seed: of weights, augmentation and the network's own randomness; see `train`.
        batch_size: pictures that this process feeds to the network at once.
        evaluates: evaluate after every snapshot.
        accumulate: batches per iteration.
    """

    #: the entry of `score` that decides which snapshot is the best
    best_score: str = ""
    #: the configuration's names of the training data, its batch size, and the learning rate, for messages
    data_key, batch_key, rate_key = "train_dataset", "batch_size", "lr_scheduler.learning_rate"
    #: beginnings of the names of the toolkit's loggers, whose lines go to train.log
    toolkit_loggers: tuple[str, ...] = ()
    #: see `train`
    patience: int | None = None

    # open_data sets these
    dataset: Any
    sampler: Any
    # build sets these; a run without mixed precision has no scaler
    model: paddle.nn.Layer
    optimizer: paddle.optimizer.Optimizer
    scaler: Any
    iters: int
    save_interval: int

    def __init__(self, job: Any, seed: int, batch_size: int, evaluates: bool = False, accumulate: int = 1) -> None:
        self.job, self.folder, self.seed, self.evaluates = job, job.folder, seed, evaluates
        self.batch_size, self.accumulate = batch_size, accumulate
        self.iteration, self.saved, self.scaler = 0, 0, None
        self.best: float | None = None
        self.rank, self.ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
        self._seed_generators()
        self.open_data()
        self.per_epoch = Batches(self.sampler, 0, 0, accumulate).per_epoch
        if self.per_epoch < 1:
            size = f"one batch of {batch_size}" if accumulate == 1 else f"{accumulate} batches of {batch_size}"
            raise UserError(
                f"{self.data_key} has {len(self.dataset)} pictures, fewer than {size}"
                f"{f' in each of {self.ranks} processes' if self.ranks > 1 else ''}; set a smaller {self.batch_key}"
            )
        self.build()

    def open_data(self) -> None:
        """Sets `dataset` (see `loading.load`; its `files(number)` names a picture) and `sampler` (see `Batches`)."""
        raise NotImplementedError

    def build(self) -> None:
        """Sets `model`, `optimizer`, `iters`, `save_interval` (both in iterations) and, if there is one, `scaler`."""
        raise NotImplementedError

    def losses_of(self, data: dict[str, Any]) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """(what is minimised, its parts by name for the report) of one batch. All are 0-D tensors."""
        raise NotImplementedError

    def collate(self, samples: list[Any]) -> dict[str, Any]:
        """Makes a batch of samples; see `loading.load`."""
        return stacked(samples)

    def score(self) -> dict[str, float]:
        """Evaluates the model and returns its scores by name."""
        raise NotImplementedError

    def after_update(self) -> None:
        """Called after every step of the optimizer."""

    def after_snapshot(self) -> None:
        """Called after every snapshot and its evaluation, and when a run goes on from a snapshot."""

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which `losses_of` runs."""
        return nullcontext()

    def settings(self) -> dict[str, str]:
        """What only the task knows of the table at the run's start; see `overview.overview`."""
        return {}

    def facts(self) -> dict[str, Any]:
        """JSON values to store with a checkpoint, besides those that every run stores."""
        return {}

    def snapshot_name(self) -> str:
        """The name of a snapshot before the last one."""
        return str(self.iteration)

    def states(self) -> dict[str, Any]:
        """The content of a checkpoint: {suffix of the file: what `paddle.save` writes}."""
        return {".pdparams": self.model.state_dict(), ".pdopt": self.optimizer.state_dict()}

    def shared(self) -> Iterable[paddle.Tensor]:
        """The tensors that every process copies from the first one: parameters, statistics, masks."""
        return self.model.state_dict().values()

    def load_weights(self, checkpoint: Path) -> None:
        """Loads the model's weights from a checkpoint, FOLDER/NAME."""
        load_weights(self.model, checkpoint.with_name(checkpoint.name + ".pdparams"))

    def start(self, checkpoint: Path | None, about: Mapping[str, Any], loggers: Sequence[str] = ()) -> None:
        """Resumes from a checkpoint, if there is one, and opens the history and logs.

        Args:
            checkpoint: FOLDER/NAME, or None.
            about: the info of the checkpoint, or {}.
            loggers: keys of `loggers.LOGGERS`.
        """
        self.screen = Screen(self.folder / "train.log", self.rank == 0, goes_on=checkpoint is not None)
        self.screen.attach(self.toolkit_loggers)
        if checkpoint is not None:
            self._resume(checkpoint, about)
        images = self.batch_size * self.accumulate * self.ranks
        plan = Plan(self.iters, self.per_epoch, self.save_interval, self.evaluates, images)
        self.reporter = Reporter(self.folder, self.job.name, self.iteration, plan, self.screen, self.rank == 0, loggers)
        self.reporter.restart(about.get("losses", ()))
        scores = [row[self.best_score] for row in self.reporter.evaluations()]
        self.best = max(scores, default=about.get(self._best_key))
        processes.share(self.shared())
        self.is_learned = bool(learned_convs(self.model))

    @property
    def _best_key(self):
        return f"best_{self.best_score.lower()}"

    def _resume(self, checkpoint, about):
        self.load_weights(checkpoint)
        self.iteration = self.saved = load_optimizer(self.optimizer, self.model, checkpoint, about)
        if self.scaler and about.get("scaler"):
            self.scaler.load_state_dict({**about["scaler"], "scale": np.array([about["scaler"]["scale"]], "float32")})
        before = about.get("iterations_per_epoch", self.per_epoch)
        if before != self.per_epoch:
            self.screen.say(
                f"note: an epoch has {self.per_epoch} iterations here and had {before}, so other pictures follow; the "
                f"run goes on in epoch {self.iteration // self.per_epoch + 1}",
                is_note=True,
            )
        if self.iteration < self.iters:
            self.screen.say(f"resuming from {checkpoint}: iteration {self.iteration} of {self.iters}")
        else:
            self.screen.say(f"training is complete: {checkpoint} is at iteration {self.iteration} of {self.iters}")

    def train(self) -> None:
        """Trains from the current iteration to the last one.

        Ctrl-C, SIGTERM and an error while pictures are read leave the checkpoint `INTERRUPTED` behind.
        """
        try:
            self._train()
        finally:
            self.reporter.close()

    def _train(self):
        if self.iteration < self.iters and self.rank == 0:
            self.reporter.begin(overview(self))
        is_scored = any(row["iteration"] == self.iteration for row in self.reporter.evaluations())
        if self._is_snapshot() and self.evaluates and not is_scored:  # killed between a snapshot and its evaluation
            self._evaluate()
        if self._is_snapshot():
            if self._stops():
                return
            self.after_snapshot()
        self.model.train()
        try:
            for parts in self._parts():
                self._iterate(parts)
                if self._is_snapshot():
                    self._snapshot()
                    if self._stops():
                        return
                    self.after_snapshot()
                    self.reporter.restart()
        except KeyboardInterrupt:
            self._save_interrupted()
            raise

    def _is_snapshot(self):
        return self.iteration > 0 and (self.iteration % self.save_interval == 0 or self.iteration == self.iters)

    def _stops(self):
        """Whether patience is at its end; then the last snapshot becomes model_final."""
        if self.patience is None or self.iteration == self.iters:
            return False
        rows = self.reporter.evaluations()
        # the first process alone has the rows
        if not processes.agree(int(stopping.is_over(rows, self.best_score, self.patience))):
            return False
        self.reporter.history.draw()  # of a run that was killed before it
        if self.rank == 0:
            if (checkpoints.info(self.folder / "model_final") or {}).get("iteration") != self.iteration:
                self._save("model_final")
            self.screen.say(stopping.explanation(rows, self.best_score, self.iteration, self.iters))
        return True

    def _iterate(self, parts):
        """One iteration, all of it or nothing."""
        with signals.postponed():
            self._seed_generators()
            if self.is_learned:
                set_progress(self.model, self.iteration / self.iters)
            rate = self.optimizer.get_lr()
            losses = self._step(parts)
            self.iteration += 1
            self.reporter.add(losses, self.iteration, rate)
            if self._is_snapshot() or self.iteration % self.job.log_iters == 0:
                self.reporter.report(self.iteration, rate)

    def _save_interrupted(self):
        if self.iteration > self.saved and not bad_weight(self.model):
            with signals.postponed():
                self._save(INTERRUPTED, {"losses": self.reporter.meter.rows})

    def _parts(self) -> Iterator[tuple[Any, ...]]:
        """The batches of each iteration: tuples of (keys of the pictures, data)."""
        batches = Batches(self.sampler, self.iteration, self.iters, self.accumulate)
        loaded = load(self.dataset, batches, self.job.num_workers, self.collate)
        try:
            yield from zip(*[loaded] * self.accumulate)
        except UserError:  # a picture or a worker; what is trained is whole
            self._save_interrupted()
            raise

    def _step(self, parts):
        """One step of the optimizer. Returns the loss and its parts as floats, by name."""
        values = []
        for batch, data in parts:
            with self.precision():
                total, losses = self.losses_of(data)
            values.append({"loss": float(total), **{name: float(loss) for name, loss in losses.items()}})
            self._check_losses(values[-1], batch)
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
        return means(values)

    def _check_losses(self, values, batch):
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            name = bad[-1] if bad == ["loss"] else next(name for name in bad if name != "loss")
            weight = bad_weight(self.model)
            raise UserError(
                f"iteration {self.iteration + 1}: {'the loss' if name == 'loss' else name} is {values[name]}"
                f"{f', {weight} is not finite' if weight else ''}, and nothing is saved of it; lower "
                f"{self.rate_key}, or look at the batch: {', '.join(self.dataset.files(index) for _, index in batch)}"
            )

    def _snapshot(self):
        with self.reporter.measured("snapshot"):
            # plain batch norm has other statistics in every process; share them, so that evaluation sees what is saved
            processes.share(self.shared())
            self._check_weights()
            self._save("model_final" if self.iteration == self.iters else self.snapshot_name())
            if self.rank == 0 and self.job.keep_checkpoints:
                checkpoints.remove_old(self.folder, self.iteration, self.job.keep_checkpoints)
        if self.evaluates:
            self._evaluate()
        self.reporter.history.draw()

    def _evaluate(self):
        """Evaluates on every process. The first one saves the weights when they are the best so far."""
        with self.reporter.measured("evaluation"):
            values = self.score()
            self.model.train()
            if self.rank == 0:
                self.screen.say(", ".join(f"{name} {value:.4f}" for name, value in values.items()))
                if self.best is None or values[self.best_score] >= self.best:
                    self.best = values[self.best_score]
                    self._save("best_model")
                # noted last, so that a run killed before this line evaluates again
                self.reporter.note("eval", self.iteration, values)

    def _check_weights(self):
        """Refuses to save weights that are not finite: a step can spoil them although its loss was finite."""
        if name := bad_weight(self.model):
            raise UserError(
                f"iteration {self.iteration}: {name} is not finite any more, and nothing is saved of it; lower "
                f"{self.rate_key} and go on from the last checkpoint with -r"
            )

    def _save(self, name, more=None):
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
            **(more or {}),
        }
        if self.scaler:
            about["scaler"] = {key: np.asarray(value).item() for key, value in self.scaler.state_dict().items()}
        checkpoints.save(self.folder, name, self.states(), about)
        if name not in (INTERRUPTED, "best_model"):
            checkpoints.remove(self.folder, INTERRUPTED)
        self.saved = self.iteration
        self.screen.say(f"saved {self.folder / name}")

    def _seed_generators(self):
        """Seeds the generators of Python, NumPy and Paddle for this iteration and process."""
        first, second = seeds(self.seed, self.iteration, self.rank)
        paddle.seed(first)
        random.seed(second)
        np.random.seed(second)
