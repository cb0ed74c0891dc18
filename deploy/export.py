"""A network as files for deployment: a Paddle inference model, ONNX, OpenVINO's IR, in float32 and 8-bit integers.

    report = export_network(net, "output/hardnet68", formats=("onnx", "openvino"), input_size=(224, 224))

Each file is run on its engine and must compute what the network computes in Paddle. Batch norms are folded into the
convolutions before them; CondenseNetV2 takes the form that is fastest on the engine.
"""

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..backbones.base import check_choice, check_count
from ..engines.agreement import TOLERANCES, check_outputs, check_shapes, random_images
from ..engines.conversion import input_limits, prepared, to_onnx, to_openvino
from ..engines.digest import digest
from ..engines.formats import FORMATS, megabytes, program_file
from ..engines.opening import checked_size
from ..engines.program import save_program
from ..engines.quantization import quantize
from ..engines.session import Eager, open_session
from ..errors import UserError
from ..registry import create_model, find_model
from ..system.packages import missing_package
from ..weights.catalog import default_for, find, is_published
from ..weights.loader import locate
from .cards import model_card, write_card
from .folders import exported_folder

logger = logging.getLogger("densebone")


def export_network(
    network,
    target,
    formats=("paddle", "onnx", "openvino"),
    input_size=None,
    batch=None,
    int8=None,
    card=None,
    preprocessing=None,
):
    """Writes a network into the folder `target`, which appears, or is replaced, when all of it is written and checked.

    The files are model.json (model.pdmodel before Paddle 3) and model.pdiparams, model.onnx, model.xml and model.bin;
    with `int8` model_int8.onnx, and model_int8.xml and .bin; model_card.json; and export.json, what is returned.

    Args:
        network (Layer): a classifier, a backbone or a whole model that takes one float32 (N, C, H, W); stays as it is.
        target (str | Path): the folder; an exported model that is there is replaced.
        formats (sequence of str): of `FORMATS`.
        input_size ((height, width) | None): the only size, in pixels, that the model takes; None: any.
        batch (int | None): the only number of pictures at a time; None: any.
        int8 (str | Path | None): folder of pictures by which the ranges of 8-bit integers are set; see `quantize`.
        card (dict | None): what model_card.json is to hold, from `cards.model_card`.
        preprocessing (Preprocessing | None): how the pictures of `int8` become inputs; None: as the card says.

    Returns:
        dict: folder; formats, by name: file, megabytes, difference (the largest on random pictures, over the standard
        deviation of the output), shapes (of the pictures), and nodes (operator: how many) of an ONNX file; int8, what
        `quantize` returns, or None.

    Raises:
        UserError: formats, sizes or pictures that cannot be used; what is missing; a folder that holds something else;
            a network that a format cannot hold.
        RuntimeError: an exported model does not compute what the network computes.
    """
    check_formats(formats, int8)
    shape = _shape(network, input_size, batch)
    preprocessing = preprocessing or (card or {}).get("preprocessing")
    with exported_folder(target) as folder:
        folder.mkdir()
        report = write_formats(network, folder, formats, shape)
        report["int8"] = None
        if int8 is not None:
            report["int8"] = quantize(folder, int8, preprocessing, input_size, "openvino" in formats)
        if card is not None:
            write_card({**card, "input_shape": shape, "formats": list(formats)}, folder)
        (folder / "export.json").write_text(json.dumps(report, indent=1) + "\n")
    return {"folder": str(target), **report}


def export_model(
    name,
    output,
    weights=None,
    random=False,
    formats=("paddle",),
    input_size=None,
    batch=None,
    int8=None,
    classes=None,
):
    """Writes OUTPUT/NAME: a model of the registry with its card; see `export_network`.

    Args:
        name (str): of the model.
        output (str | Path): folder that receives the model's.
        weights (str | Path | None): a file, a name of published weights, or a URL.
        random (bool): export random weights, to measure speed.
        formats, input_size, batch, int8: as for `export_network`.
        classes (list of str | None): what the card calls a classifier's outputs; other models have none.

    Raises:
        UserError: neither weights nor `random`, or both; weights that do not fit; as `export_network`.
    """
    find_model(name)
    if (weights is None) != bool(random):
        raise UserError("give the weights to export with -w; or --random, for random ones, to measure speed")
    check_formats(formats, int8)
    path = None if weights is None else locate(weights)
    network = create_model(name, pretrained=path)
    network.eval()
    report = network.load_report
    if report and (report.reinitialised or report.adapted):
        raise UserError(f"weights do not fit: {report}")
    recipe = _preprocessing(name, weights)
    shape = _shape(network, input_size, batch)
    task = getattr(network, "task", "classification")
    names = classes if task == "classification" and network.with_head else None
    card = model_card(name, name, network, path, recipe, shape, names, task=task)
    return export_network(network, Path(output) / name, formats, input_size, batch, int8, card)


def _preprocessing(name, weights):
    """That of the published weights that are named, or else of the model's default ones."""
    named = weights is not None and is_published(str(weights))
    entry = find(str(weights)) if named else default_for(name)
    if not named:
        logger.info("pictures are to be prepared as for %s: %s", entry.name, entry.preprocessing)
    return entry.preprocessing


def check_formats(formats, int8=None):
    """Raises UserError unless the formats are known and what they need is installed."""
    if not formats or isinstance(formats, str):
        raise UserError(f"formats is {formats!r}; give a list of {', '.join(FORMATS)}")
    for name in formats:
        check_choice("format", name, tuple(FORMATS))
        if reason := missing_package(*FORMATS[name].needs):
            raise UserError(f"format {name!r}: {reason}")
    if int8 is not None and "onnx" not in formats:
        raise UserError("8-bit integers are made from the ONNX file; add 'onnx' to the formats")


def _shape(network, input_size, batch):
    """[N, C, H, W] of the input, -1 for any."""
    channels, least = input_limits(network)
    if batch is not None:
        check_count("batch", batch)
    return [batch or -1, channels, *(checked_size(input_size, least) or (-1, -1))]


def write_formats(network, folder, formats, shape):
    """Writes a network into a folder that is there, in some formats, and checks each; see `export_network`.

    Args:
        network (Layer): to export.
        folder (Path): that receives the files.
        formats (sequence of str): of `FORMATS`.
        shape (list of int): [N, C, H, W] of the input, -1 for any.

    Returns:
        dict with "formats", as `export_network` returns it.
    """
    checks = _expected(network, shape)
    report = {}
    with _graphs(network, shape) as onnx_of:
        for name in (name for name in FORMATS if name in formats):
            engine, main = FORMATS[name].form, FORMATS[name].main
            if name == "paddle":
                save_program(prepared(network, engine), folder, shape)
            elif name == "onnx":
                shutil.copyfile(onnx_of(engine), folder / main)
            else:
                to_openvino(onnx_of(engine), folder / main)
            report[name] = {
                "file": program_file(folder).name if name == "paddle" else main,
                "megabytes": megabytes(folder, name),
                "difference": _difference(engine, folder if name == "paddle" else folder / main, checks),
                "shapes": [list(images.shape) for images, _ in checks],
            }
            if name == "onnx":
                report[name]["nodes"] = count_nodes(folder / main)
    return {"formats": report}


@contextmanager
def _graphs(network, shape):
    """Yields a function: the ONNX file of a network in its form for an engine; equal forms are converted once."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="densebone-") as folder:

        def onnx_of(engine):
            copy = prepared(network, engine)
            key = digest(copy)
            if key not in made:
                place = Path(folder) / key
                place.mkdir()
                save_program(copy, place, shape)
                made[key] = place / "model.onnx"
                to_onnx(place, made[key], *_fixed(shape))
            return made[key]

        yield onnx_of


def _fixed(shape):
    """(batch, (height, width)) that the shape fixes, None for what it does not."""
    batch, _, *size = shape
    return None if batch == -1 else batch, None if -1 in size else tuple(size)


def _expected(network, shape):
    """[(pictures, what the network returns for them)]: two sizes where it takes any, two numbers where it takes any."""
    channels, least = input_limits(network)
    number, size = _fixed(shape)
    shapes = [(number or n, c, *(size or sides)) for n, c, *sides in check_shapes(channels, least)]
    eager = Eager(prepared(network, "eager"))
    images = [random_images(each) for each in dict.fromkeys(shapes)]
    return [(batch, eager.run(batch)) for batch in images]


def _difference(engine, path, checks):
    """Largest difference of an exported model from the network, over the standard deviation; RuntimeError beyond."""
    with open_session(engine, path) as runner:
        try:
            return max(check_outputs(expected, runner.run(images), TOLERANCES["fp32"]) for images, expected in checks)
        except RuntimeError as error:
            raise RuntimeError(f"the exported {Path(path).name}: {error}") from error


def count_nodes(file):
    """{operator: how many}, the most frequent first, of an ONNX file."""
    import onnx

    return dict(Counter(node.op_type for node in onnx.load(str(file)).graph.node).most_common())


def describe_formats(report: Mapping[str, Any]) -> list[str]:
    """The lines that `densebone export` prints of the files beside Paddle's.

    Args:
        report: has "formats" and "int8", as `export_network` returns them.
    """
    lines = []
    for name, row in report["formats"].items():
        sizes = " and ".join(f"{shape[2]} x {shape[3]}" for shape in row["shapes"])
        lines.append(
            f"  {name:9} {row['file']}, {row['megabytes']:.1f} MB; differs from Paddle by {row['difference']:.1e} of "
            f"the output's standard deviation at most, at {sizes} pixels"
        )
    for name, row in ((report["int8"] or {}).get("files") or {}).items():
        share = "" if row["agreement"] is None else f"the best class stays for {row['agreement']:.1%}; "
        error = "" if row["error"] is None else f"error {row['error']:.3f} of the output's standard deviation, "
        lines.append(
            f"  int8      {name}, {row['megabytes']:.1f} MB; {share}{error}{report['int8']['compared']} pictures"
        )
    return lines
