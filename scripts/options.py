"""Options that the commands on a configuration share, and finding the configuration."""

import argparse
import importlib
from pathlib import Path

from ..errors import UserError, suggest
from ..tasks.configuration import top_level_keys

# Options that only one task has, by their names among the parsed arguments.
_OPTIONS = {
    "detection": ("threshold",),
    "segmentation": ("flip", "scales", "slide", "opacity", "city_ids", "input_size"),
    "classification": ("top", "json"),
}
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def parser(command, doc, config_needed=True):
    """An argument parser with -c, -o and --data."""
    result = argparse.ArgumentParser(
        prog=f"densebone {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "-c", "--config", required=config_needed, help="a .yml file, or the name of one that ships (densebone list)"
    )
    result.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="set keys of the configuration: TrainReader.batch_size=4, iters=100; numbers step into lists",
    )  # fmt: skip
    result.add_argument(
        "--data", metavar="DIR", help="folder of the data set, for training, evaluation and class names"
    )
    return result


def add_weights(result):
    """-w, for the commands that use trained weights."""
    result.add_argument("-w", "--weights", help="a file, or a name of published weights; default: what training left")


def add_engine(result):
    """--engine, --precision and --threads: what runs the network on the CPU."""
    group = result.add_argument_group("speed", "see docs/export.md")
    group.add_argument(
        "--engine", choices=("auto", "openvino", "onnxruntime", "paddle", "eager"),
        help="run the network there; auto takes the fastest that is installed; default: Paddle as it is",
    )  # fmt: skip
    group.add_argument("--precision", choices=("fp32", "bf16"), help="of the engine's arithmetic (fp32)")
    group.add_argument("--threads", type=int, help="of the engine; default: as many as it finds right")


def engine_options(arguments):
    """What `engines.open_network` is to be given, or None without --engine; UserError for the others alone."""
    if arguments.engine is None:
        if arguments.precision or arguments.threads:
            raise UserError("--precision and --threads are of an engine; add --engine auto")
        return None
    return {"engine": arguments.engine, "precision": arguments.precision or "fp32", "threads": arguments.threads}


def add_test_config(result):
    """How a segmentation model goes over a picture; --flip, --scales and --slide."""
    group = result.add_argument_group("segmentation", "in place of the configuration's test_config")
    group.add_argument("--flip", action="store_true", help="average with the prediction on the mirrored picture")
    group.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over these sizes: 0.75 1.0 1.25")
    group.add_argument(
        "--slide", type=int, nargs="+", metavar="N",
        help="go over the picture in windows: WIDTH HEIGHT [STRIDE_W STRIDE_H] in pixels; strides are 2/3 by default",
    )  # fmt: skip
    return group


def shipped_configs():
    """{name without .yml: path} of every configuration that ships."""
    return {p.stem: p for p in sorted(CONFIGS.glob("*/*.yml"))}


def find_config(given):
    """The path of a configuration given as a path or as the name of a shipped one; UserError when there is none."""
    path = Path(given)
    if path.is_file():
        return path
    shipped = shipped_configs()
    name = path.name[:-4] if path.name.endswith(".yml") else path.name
    if path.parent == Path(".") and name in shipped:
        return shipped[name]
    raise UserError(f"configuration {given} does not exist; {suggest(name, shipped)}")


def task_of(path):
    """ "detection", "segmentation" or "classification": what the configuration, or one of its bases, is for; UserError
    when it does not say."""
    keys = top_level_keys(path)
    if "architecture" in keys:
        return "detection"
    if "task" in keys:  # which says classification, or config.load says what is expected
        return "classification"
    if "model" in keys and "train_dataset" in keys:
        return "segmentation"
    raise UserError(
        f"{path} names no 'architecture' (detection), no 'model' with a 'train_dataset' (segmentation) and no "
        f"'task: classification', so it is not clear what it trains"
    )


def load(arguments):
    """(task, configuration) of parsed arguments: PaddleDetection's configuration, or the `Job` of the other tasks.

    Raises:
        UserError: also for an option of another task.
    """
    path = find_config(arguments.config)
    task = task_of(path)
    check_task(arguments, task, path)
    trained = hasattr(arguments, "weights")  # the command fills the model with trained weights
    if task != "detection":
        config = importlib.import_module(f"..tasks.{task}.config", __package__)
        return task, config.load(path, arguments.override, arguments.data, pretrained=not trained)
    if getattr(arguments, "weights", "") is None:  # PaddleDetection's own spelling of -w
        given = [o.partition("=")[2] for o in arguments.override if o.startswith("weights=")]
        arguments.weights = given[-1] if given else None
    from ..tasks.detection import config

    return task, config.load(path, arguments.override, arguments.data, pretrained=not trained)


def check_task(arguments, task, path):
    """UserError for an option of another task than that of the configuration or model at `path`."""
    for other, names in _OPTIONS.items():
        for name in names:
            given = getattr(arguments, name, None)
            if other != task and given is not None and given is not False:
                raise UserError(f"--{name.replace('_', '-')} is for {other}, and {path} is for {task}; leave it out")


def test_config(arguments, job):
    """What --flip, --scales and --slide change in a segmentation job's `test_config`, or None."""
    from ..tasks.segmentation.checks import check_test_config

    changes = {}
    if arguments.flip or arguments.scales:
        changes["aug_eval"] = True
        if not job.test_config.get("aug_eval"):  # then the scales and flips that it may have are not in force
            changes.update(scales=[1.0], flip_horizontal=False, flip_vertical=False)
        if arguments.flip:
            changes["flip_horizontal"] = True
        if arguments.scales:
            changes["scales"] = arguments.scales
    if arguments.slide:
        if len(arguments.slide) not in (2, 4):
            raise UserError(
                f"--slide has {len(arguments.slide)} numbers; give WIDTH HEIGHT or WIDTH HEIGHT and strides"
            )
        size = arguments.slide[:2]
        stride = arguments.slide[2:] or [max(1, side * 2 // 3) for side in size]
        changes.update(is_slide=True, crop_size=size, stride=stride)
    check_test_config(changes, "--scales or --slide")
    return changes or None


def table(rows):
    """Rows of a table as lines of text: the first column to the left, the others, a list of str each, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
        for row in rows
    )
