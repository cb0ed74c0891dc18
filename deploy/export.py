"""Exports a network to files: a Paddle inference model, ONNX, OpenVINO's IR, in float32 and 8-bit integers.

    report = export_network(net, "output/hardnet68", formats=("onnx", "openvino"), input_size=(224, 224))

Each file is run on its engine and must compute what the network computes in Paddle. Batch norms are folded into the
convolutions before them. CondenseNetV2 takes the form that is fastest on the engine.
"""

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paddle

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
from ..pictures.preparing import Preprocessing
from ..registry import create_model, find_model
from ..system.packages import missing_package
from ..weights.catalog import default_for
from ..weights.identify import entry_of
from ..weights.loader import locate
from .cards import eight_bits, model_card, write_card
from .folders import exported_folder

logger = logging.getLogger("densebone")


def export_network(
    network: paddle.nn.Layer,
    target: str | Path,
    formats: Sequence[str] = ("paddle", "onnx", "openvino"),
    input_size: Sequence[int] | None = None,
    batch: int | None = None,
    int8: str | Path | None = None,
    card: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    int8_layers: bool = False,
) -> dict[str, Any]:
    """Exports a network to the folder `target`, which appears, or is replaced, once every file is written and checked.

    Writes the files of each format (`engines.formats.FORMATS`), with `int8` model_int8.onnx and, for OpenVINO,
    model_int8.xml and .bin, with `card` model_card.json, and export.json with the returned report.

    Args:
        network: a classifier, a backbone or a whole model that takes one float32 (N, C, H, W). It stays unchanged.
        target: the folder. An exported model there is replaced.
        formats: names of `FORMATS`.
        input_size: the only (height, width) in pixels that the model takes; None for any.
        batch: the only batch size that the model takes; None for any.
        int8: folder of pictures for the calibration of 8-bit integers, see `quantize`. None writes no 8-bit model.
        card: from `cards.model_card`, for model_card.json. None writes none.
        preprocessing: how the pictures of `int8` become inputs; None takes that of the card.
        int8_layers: measure what each layer costs in 8 bits, see `quantize`.

    Returns:
        folder; formats, by name: file, megabytes, difference (the largest on random inputs, in standard deviations of
        the output), shapes (of these inputs), and for ONNX nodes (how many of each operator); and int8 (what `quantize`
        returns, or None).

    Raises:
        UserError: formats, sizes or pictures cannot be used; a package is missing; the folder holds something else; a
            format cannot hold this network.
        RuntimeError: an exported model does not compute what the network computes.
    """
    check_formats(formats, int8)
    shape = _input_shape(network, input_size, batch)
    preprocessing = preprocessing or (card or {}).get("preprocessing")
    with exported_folder(target) as folder:
        report = write_formats(network, folder, formats, shape)
        report["int8"] = None
        if int8 is not None:
            report["int8"] = quantize(folder, int8, preprocessing, input_size, "openvino" in formats, int8_layers)
        if card is not None:
            more = eight_bits(report["int8"])
            write_card({**card, "input_shape": shape, "formats": list(formats), **more}, folder)
        (folder / "export.json").write_text(json.dumps(report, indent=1) + "\n")
    return {"folder": str(target), **report}


def export_model(
    name: str,
    output: str | Path,
    weights: str | Path | None = None,
    random: bool = False,
    formats: Sequence[str] = ("paddle",),
    input_size: Sequence[int] | None = None,
    batch: int | None = None,
    int8: str | Path | None = None,
    classes: Sequence[str] | None = None,
    int8_layers: bool = False,
) -> dict[str, Any]:
    """Exports a model of the registry, with its card, to OUTPUT/NAME; see `export_network`.

    Args:
        name: of the model.
        output: folder that receives the model's folder.
        weights: a file, a name of published weights, or a URL.
        random: export random weights, to measure speed.
        formats, input_size, batch, int8, int8_layers: as in `export_network`.
        classes: class names for the card of a classifier; ignored for other models.

    Raises:
        UserError: neither weights nor `random` is given, or both; the weights do not fit; as `export_network`.
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
    preprocessing = _preprocessing(name, weights)
    shape = _input_shape(network, input_size, batch)
    task = getattr(network, "task", "classification")
    names = classes if task == "classification" and network.with_head else None
    card = model_card(name, name, network, path, preprocessing, shape, names, task=task)
    return export_network(network, Path(output) / name, formats, input_size, batch, int8, card, int8_layers=int8_layers)


def _preprocessing(name, weights):
    """The preprocessing of published weights; for any others, that of the model's default weights."""
    entry = entry_of(weights, name)
    if entry is None or entry.preprocessing is None:
        entry = default_for(name)
        logger.info("prepare pictures as for %s: %s", entry.name, entry.preprocessing)
    return entry.preprocessing


def check_formats(formats: Sequence[str], int8: str | Path | None = None) -> None:
    """Raises UserError unless the formats are known, their packages are installed, and `int8` has its ONNX file."""
    if not formats or isinstance(formats, str):
        raise UserError(f"formats is {formats!r}; give a list of {', '.join(FORMATS)}")
    for name in formats:
        check_choice("format", name, tuple(FORMATS))
        if reason := missing_package(*FORMATS[name].needs):
            raise UserError(f"format {name!r}: {reason}")
    if int8 is not None and "onnx" not in formats:
        raise UserError("8-bit integers are made from the ONNX file; add 'onnx' to the formats")


def _input_shape(network, input_size, batch):
    """[N, C, H, W] of the input, -1 for any."""
    channels, least = input_limits(network)
    if batch is not None:
        check_count("batch", batch)
    return [batch or -1, channels, *(checked_size(input_size, least) or (-1, -1))]


def write_formats(
    network: paddle.nn.Layer, folder: Path, formats: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Writes a network to an existing folder in some formats and checks each file.

    Args:
        network: to export.
        folder: receives the files.
        formats: names of `FORMATS`.
        shape: of the input, (N, C, H, W); -1 for any.

    Returns:
        A dict with "formats", as `export_network` returns it.
    """
    checks = _check_pairs(network, shape)
    report = {}
    with _onnx_exporter(network, shape) as onnx_for:
        for name in (name for name in FORMATS if name in formats):
            engine, main = FORMATS[name].form, FORMATS[name].main
            if name == "paddle":
                save_program(prepared(network, engine), folder, shape)
            elif name == "onnx":
                shutil.copyfile(onnx_for(engine), folder / main)
            else:
                to_openvino(onnx_for(engine), folder / main)
            report[name] = {
                "file": program_file(folder).name if name == "paddle" else main,
                "megabytes": megabytes(folder, name),
                "difference": _largest_difference(engine, folder if name == "paddle" else folder / main, checks),
                "shapes": [list(images.shape) for images, _ in checks],
            }
            if name == "onnx":
                report[name]["nodes"] = count_nodes(folder / main)
    return {"formats": report}


@contextmanager
def _onnx_exporter(network, shape):
    """Yields a function: engine -> ONNX file of the network in its form for it. Equal forms are converted once."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="densebone-") as temporary:

        def onnx_for(engine):
            copy = prepared(network, engine)
            key = digest(copy)
            if key not in made:
                folder = Path(temporary) / key
                folder.mkdir()
                save_program(copy, folder, shape)
                made[key] = folder / FORMATS["onnx"].main
                to_onnx(folder, made[key], *_batch_and_size(shape))
            return made[key]

        yield onnx_for


def _batch_and_size(shape):
    """(batch, (height, width)) of an input shape, None for what may differ."""
    batch, _, *size = shape
    return None if batch == -1 else batch, None if -1 in size else tuple(size)


def _check_pairs(network, shape):
    """[(random images, the network's outputs for them)], with two sizes and two batch sizes where any may be used."""
    channels, least = input_limits(network)
    batch, size = _batch_and_size(shape)
    shapes = [(batch or n, c, *(size or sides)) for n, c, *sides in check_shapes(channels, least)]
    eager = Eager(prepared(network, "eager"))
    inputs = [random_images(each) for each in dict.fromkeys(shapes)]
    return [(images, eager.run(images)) for images in inputs]


def _largest_difference(engine, path, checks):
    """The largest difference of an exported model from the network; RuntimeError when it is above the tolerance."""
    with open_session(engine, path) as session:
        try:
            return max(check_outputs(expected, session.run(images), TOLERANCES["fp32"]) for images, expected in checks)
        except RuntimeError as error:
            raise RuntimeError(f"the exported {Path(path).name}: {error}") from error


def count_nodes(file: str | Path) -> dict[str, int]:
    """{operator: how many} of an ONNX file, the most frequent first."""
    import onnx

    return dict(Counter(node.op_type for node in onnx.load(str(file)).graph.node).most_common())


def describe_formats(report: Mapping[str, Any]) -> list[str]:
    """The lines that `densebone export` prints about the exported files.

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
    return [*lines, *describe_eight_bits(report["int8"])]


def describe_eight_bits(report: Mapping[str, Any] | None) -> list[str]:
    """The lines that `densebone export` prints about 8-bit files; `report` is what `quantize` returns, or None."""
    if report is None:
        return []
    lines = []
    for name, row in report["files"].items():
        share = "" if row["agreement"] is None else f"the best class stays for {row['agreement']:.1%}; "
        error = "" if row["error"] is None else f"error {row['error']:.3f} of the output's standard deviation, "
        lines.append(f"  int8      {name}, {row['megabytes']:.1f} MB; {share}{error}{report['compared']} pictures")
    if report["float32"]:
        lines.append(f"  int8      in float32 stay, because it brings the error down: {', '.join(report['float32'])}")
    for name, cost in list((report["costs"] or {}).items())[:10]:
        lines.append(f"  int8      {name} alone in 8 bits: error {cost:.4f}")
    return lines
