"""The options that the commands on a configuration share, and the job that they describe."""

from __future__ import annotations

import importlib
import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..cluster.where import Where
from ..datasets import formats, splitting
from ..errors import UserError, printable, suggest
from ..system import timings
from ..system.packages import ENGINES, PRECISIONS
from ..tasks.settings import Settings, device_override, read_settings, use_device
from ..tasks.task import TASKS, Job, Task, task_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


# the arguments with which a command shows its parser and does nothing
_DESCRIBE: tuple[str, ...] = ("--describe",)


class _Described(Exception):
    """Carries a command's parser out of its `main`."""

    def __init__(self, parser: ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


def parser_of(main: Callable[[Sequence[str]], int]) -> ArgumentParser:
    """The parser of a command, given its `main`, which must pass its arguments to `parse_args` as they are."""
    try:
        main(_DESCRIBE)
    except _Described as described:
        return described.parser
    raise RuntimeError(f"{main.__module__} does not show its parser")


class _Parser(ArgumentParser):
    """A parser whose options with any number of values leave a path behind them to the command.

    `predict -o weights=a.pdparams picture.jpg` means the picture, which argparse would give to -o.
    """

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's."""
        if args is _DESCRIBE:
            raise _Described(self)
        given = [*(sys.argv[1:] if args is None else args)]
        return super().parse_args(_paths_first(given) if self._takes_paths() else given, namespace)

    def _takes_paths(self):
        return any(action.dest == "paths" for action in self._actions)


# option -> what its values look like
_SEVERAL = {
    "-o": r".*=.*", "--override": r".*=.*", "--imgsz": r"\d+", "--scales": r"[\d.]+", "--slide": r"\d+",
    "--tile": r"\d+", "--ray": r"auto|local|(ray://)?(\[[\w:]+\]|[\w.-]+):\d+",
}  # fmt: skip


def _paths_first(given):
    """The arguments with those that stand behind an option of several values, and are none, moved to the front."""
    paths, rest, shape = [], [], None
    for word in given:
        if word.startswith("-") and not word.lstrip("-").replace(".", "").isdecimal():
            shape = _SEVERAL.get(word)
        elif shape and not re.fullmatch(shape, word, re.DOTALL):
            shape = ""
        (paths if shape == "" else rest).append(word)
    return [*paths, *rest]


def plain_parser(command: str, doc: str | None) -> ArgumentParser:
    """A parser whose help is the command's docstring."""
    result = _Parser(prog=f"densebone {command}", description=doc, formatter_class=RawDescriptionHelpFormatter)
    result.add_argument("-v", "--verbose", action="store_true", help="show the messages of Paddle and the toolkits too")
    return result


def add_action(actions: Any, command: str, name: str, summary: str, doc: str | None) -> ArgumentParser:
    """The parser of a command's action; its help ends with the examples of the command's docstring that show it."""
    examples = [line.strip() for line in (doc or "").splitlines() if f" {command} {name} " in line]
    return actions.add_parser(
        name, help=summary, description=summary, epilog="\n".join(["examples:", *examples]),
        formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip


def parser(command: str, doc: str | None, config_needed: bool = True) -> ArgumentParser:
    """A parser with -c, -o and --data."""
    result = plain_parser(command, doc)
    result.add_argument(
        "-c", "--config", required=config_needed, help="a .yml file, or the name of one that ships (densebone list)"
    )
    result.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="set keys of the configuration: TrainReader.batch_size=4, iters=100; numbers step into lists",
    )  # fmt: skip
    add_plugin(result)
    result.add_argument("--device", help="cpu, gpu or gpu:N; default: what the configuration says")
    result.add_argument(
        "--data", metavar="DIR", help="folder of the data set, for training, evaluation and class names"
    )
    return result


def add_plugin(result: ArgumentParser) -> None:
    """Adds --plugin, for the commands that read a configuration."""
    result.add_argument(
        "--plugin", action="append", default=[], metavar="MODULE",
        help="import your own module first, and let the configuration name it; repeatable",
    )  # fmt: skip


def add_strict(result: ArgumentParser) -> None:
    """Adds --strict, for the commands that check a data set."""
    result.add_argument(
        "--strict", action="store_true", help="stop when something of the data would be left out (see docs/data.md)"
    )


def add_data_set(result: ArgumentParser) -> None:
    """Adds --task, --format and how to divide, for the commands on a user's own pictures."""
    result.add_argument("--task", choices=formats.TASKS, help="where the data could serve several")
    result.add_argument(
        "--format", choices=tuple(formats.FORMATS), help="of the annotations; default: what they look like"
    )
    group = result.add_argument_group("dividing", "of data that is not divided into train and val")
    group.add_argument("--val", type=float, metavar="SHARE", help="for evaluation (0.2)")
    group.add_argument("--test", type=float, metavar="SHARE", help="set apart (0.1 from 200 pictures on)")
    group.add_argument("--seed", type=int, default=0, help="another seed divides otherwise (0)")
    group.add_argument(
        "--groups", choices=splitting.GROUPINGS, default="auto",
        help="pictures that stay together, such as those of a video: of a folder, or of one name before the number",
    )  # fmt: skip


def add_weights(result: ArgumentParser) -> None:
    """Adds -w, for the commands that use trained weights."""
    result.add_argument("-w", "--weights", help="a file, or a name of published weights; default: what training left")


def add_engine(result: ArgumentParser) -> None:
    """Adds --engine, --precision and --threads: what runs the network on the CPU."""
    group = result.add_argument_group("speed", "see docs/export.md")
    group.add_argument(
        "--engine", choices=("auto", *ENGINES),
        help="run the network there; auto takes the fastest that is installed; default: Paddle as it is",
    )  # fmt: skip
    group.add_argument("--precision", choices=PRECISIONS, help="of the engine's arithmetic (fp32)")
    group.add_argument(
        "--calibration", metavar="DIR", help="int8 of a classifier: pictures of the kind that the network will see"
    )
    group.add_argument("--threads", type=int, help="of the engine; default: as many as it finds right")


def add_timings(result: ArgumentParser) -> None:
    """Adds --timings, for the commands that read many pictures."""
    result.add_argument("--timings", action="store_true", help="print where the time went, stage by stage")


def add_cluster(result: ArgumentParser) -> None:
    """Adds --ray and --actors, for the commands that a cluster can do."""
    group = result.add_argument_group("many machines", "see docs/scale.md")
    group.add_argument(
        "--ray", nargs="?", const="auto", metavar="ADDRESS",
        help="compute on a Ray cluster: HOST:PORT, auto (that of this machine) or local (start one) (auto)",
    )  # fmt: skip
    group.add_argument("--actors", type=int, metavar="N", help="workers; --threads are the cores of each (as fit)")


def read_cluster(arguments: Namespace) -> Where | None:
    """What the options of `add_cluster` say; None without --ray. UserError for --actors alone, or what cannot be."""
    if arguments.ray is None:
        if arguments.actors is not None:
            raise UserError("--actors are workers of a cluster; add --ray ADDRESS")
        return None
    where = Where(arguments.ray, arguments.actors, arguments.threads)
    where.check()
    return where


def begin_timings(arguments: Namespace) -> None:
    """Starts the clocks when --timings is given."""
    if arguments.timings:
        timings.begin()


def print_timings(arguments: Namespace, pictures: int) -> None:
    """Prints the table of --timings, where it is given, to stderr."""
    if arguments.timings:
        print_lines(timings.end(pictures), file=sys.stderr)


def engine_options(arguments: Namespace) -> dict[str, Any] | None:
    """The options of `engines.open_network`; None without --engine. UserError for the other options alone."""
    if arguments.engine is None:
        of_workers = getattr(arguments, "ray", None) is not None  # whose cores --threads counts
        if arguments.precision or arguments.calibration or (arguments.threads and not of_workers):
            raise UserError("--precision, --calibration and --threads are of an engine; add --engine auto")
        return None
    given = {"calibration": arguments.calibration} if arguments.calibration else {}
    return {
        "engine": arguments.engine, "precision": arguments.precision or "fp32", "threads": arguments.threads, **given,
    }  # fmt: skip


def add_size(result: ArgumentParser) -> None:
    """Adds --imgsz, for the commands that give pictures to the network of a configuration."""
    result.add_argument(
        "--imgsz", nargs="+", metavar="N", help="size of the pictures in pixels: one side, or HEIGHT WIDTH"
    )


def add_settings(result: ArgumentParser) -> None:
    """Adds --epochs, --batch, --lr and --imgsz: what training changes most often of a configuration."""
    result.add_argument("--epochs", metavar="N", help="of the whole training; the schedule is scaled with it")
    result.add_argument("--batch", metavar="N", help="pictures in a batch, of each process")
    result.add_argument("--lr", metavar="RATE", help="learning rate")
    add_size(result)


def given_settings(arguments: Namespace) -> Settings:
    """The settings that the options of `add_settings` and `add_size` give; UserError for what they do not allow."""
    imgsz = getattr(arguments, "imgsz", None)
    if not hasattr(arguments, "epochs"):
        return read_settings(imgsz=imgsz)
    return read_settings(arguments.epochs, arguments.batch, arguments.lr, imgsz)


def add_task_options(result: ArgumentParser, command: str) -> None:
    """Adds the options that only one task has, of every task."""
    for task in TASKS.values():
        task.part("options").add_options(result, command)


def task_options(arguments: Namespace, command: str, task: Task, job: Job | None) -> dict[str, Any]:
    """The task's own options as keyword arguments of its `evaluate`, `predict` or `export`."""
    return task.part("options").read_options(arguments, command, job)


def shipped_configs() -> dict[str, Path]:
    """{name without .yml: path} of every configuration that ships."""
    return {p.stem: p for p in sorted(CONFIGS.glob("*/*.yml"))}


def find_config(given: str) -> Path:
    """The file of a configuration, given as a path or as the name of one that ships; UserError when there is none."""
    path = Path(given)
    if path.is_file():
        return path
    shipped = shipped_configs()
    name = path.name[:-4] if path.name.endswith(".yml") else path.name
    if path.parent == Path(".") and name in shipped:
        return shipped[name]
    raise UserError(f"configuration {given} does not exist; {suggest(name, shipped)}")


def open_job(arguments: Namespace) -> tuple[Task, Job]:
    """The task and the job of the given configuration.

    A command with -w fills the model with trained weights, so the configuration's pretrained weights are left out.

    Raises:
        UserError: no such configuration; one that cannot be read; an option of another task, or out of range.
    """
    path = find_config(arguments.config)
    task = task_of(path)
    check_task(arguments, task, path)
    pretrained = not hasattr(arguments, "weights")
    settings, device = given_settings(arguments), getattr(arguments, "device", None)
    overrides = [*arguments.override, *device_override(device)]
    plugins = _import_plugins(arguments.plugin)
    job = task.part("config").load(path, overrides, arguments.data, pretrained=pretrained, plugins=plugins)
    use_device(device)
    if settings:
        task.part("settings").change(job, settings)
    job.strict = getattr(arguments, "strict", False)
    return task, job


def _import_plugins(names):
    """Imports the modules that the user names; returns their names."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"--plugin {name} cannot be imported ({error}); put its folder on PYTHONPATH") from error
    return names


def check_task(arguments: Namespace, task: Task, path: str | Path) -> None:
    """Raises UserError for an option of another task than that of the configuration or model at `path`."""
    for other in TASKS.values():
        for name in other.exclusive:
            given = getattr(arguments, name, None)
            if other is not task and given is not None and given is not False:
                raise UserError(
                    f"--{name.replace('_', '-')} is for {other.name}, and {path} is for {task.name}; leave it out"
                )


def print_lines(lines: Iterable[str], **options: Any) -> None:
    """Prints lines, if there are any; `options` are print's. Names in them may hold control characters."""
    for line in lines:
        print("\n".join(printable(part) for part in line.split("\n")), **options)
