"""The options that only segmentation has on the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from ...errors import UserError
from ..task import Job


def add_options(parser: ArgumentParser, command: str) -> None:
    """Adds segmentation's options to the parser of "eval", "predict" or "export"."""
    if command == "export":  # which adds --input-size itself, since models without a configuration take it too
        return
    group = parser.add_argument_group("segmentation", "these replace the configuration's test_config")
    group.add_argument("--flip", action="store_true", help="average with the prediction on the mirrored picture")
    group.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over these sizes: 0.75 1.0 1.25")
    group.add_argument(
        "--slide", type=int, nargs="+", metavar="N",
        help="go over the picture in windows: WIDTH HEIGHT [STRIDE_W STRIDE_H] in pixels; strides are 2/3 by default",
    )  # fmt: skip
    if command == "predict":
        group.add_argument("--opacity", type=float, help="of the colours, 0 to 1 (0.5)")
        group.add_argument("--city-ids", action="store_true", help="write label pictures for Cityscapes' server too")


def read_options(arguments: Namespace, command: str, job: Job) -> dict[str, Any]:
    """The given options as keyword arguments of `evaluate`, `predict` or `export`."""
    if command == "export":
        size = tuple(arguments.input_size) if arguments.input_size else None
        return {"input_size": size, "int8": arguments.int8, "int8_layers": arguments.int8_layers}
    options: dict[str, Any] = {"test_config": _test_config(arguments, job)}
    if command == "predict":
        options["opacity"] = 0.5 if arguments.opacity is None else arguments.opacity
        options["city_ids"] = arguments.city_ids
    return options


def _test_config(arguments, job):
    """What --flip, --scales and --slide change in the job's `test_config`, or None."""
    from .checks import check_test_config

    changes = {}
    if arguments.flip or arguments.scales:
        changes["aug_eval"] = True
        if not job.test_config.get("aug_eval"):  # then its scales and flips, if any, have no effect today
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
