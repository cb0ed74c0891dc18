"""An exported ONNX file in the formats of programs for telephones: MNN, ncnn and TensorFlow Lite (LiteRT).

The converters are programs of others. Each runs in a process of its own and in an empty folder; the file that it writes
is run, and must return what ONNX Runtime returns. docs/export.md says where each converter is to be had, and which
networks it can convert.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..system.files import atomic_path
from .cards import FILE, write_card

#: largest difference from ONNX Runtime, in standard deviations of the output
TOLERANCE = 1e-3
#: format -> the files that it has, behind "model"
FILES: dict[str, tuple[str, ...]] = {"mnn": (".mnn",), "ncnn": (".ncnn.param", ".ncnn.bin"), "tflite": (".tflite",)}
_MODULES = {"mnn": "MNN", "ncnn": "ncnn", "tflite": "ai_edge_litert"}
_INSTALL = {
    "mnn": "pip install MNN",
    "ncnn": "pip install ncnn, and pip install --no-deps pnnx",
    "tflite": "pip install ai-edge-litert, and onnx2tf in an environment of its own whose bin folder is on PATH",
}
# MNN's own command installs a package and reports to its makers; the function below it does neither.
_MNN = "import sys, _tools; _tools.mnnconvert(sys.argv)"
# onnx2tf downloads this file when it is not in the current folder, for a comparison that is made here in another way.
_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def check_mobile(names: Sequence[str], formats: Sequence[str]) -> None:
    """Raises UserError unless the converters for these formats are there, and there is an ONNX file for them."""
    if names and "onnx" not in formats:
        raise UserError(f"--{names[0]} is made from the ONNX file; add onnx to --format")
    for name in names:
        if importlib.util.find_spec(_MODULES[name]) is None or (name != "mnn" and _converter(name) is None):
            raise UserError(f"--{name}: its converter is not installed; {_INSTALL[name]}")


def write_mobile(
    folder: str | Path, names: Sequence[str], size: Sequence[int] | None = None
) -> dict[str, dict[str, Any]]:
    """Writes an exported model in further formats beside its ONNX file, for one picture of one size at a time.

    Args:
        folder: that `densebone export` wrote, with model.onnx.
        names: of `FILES`.
        size: (height, width) in pixels; None takes that of the ONNX file.

    Returns:
        By name: file, megabytes, difference (the largest from ONNX Runtime, in standard deviations of the output).

    Raises:
        UserError: the network takes any size and `size` is None; it has more than one input, or outputs that are no
            floating-point numbers; a converter cannot convert it, or converts it wrongly. Nothing is written then.
    """
    folder = Path(folder)
    report = {}
    with tempfile.TemporaryDirectory(prefix="densebone-") as temporary:
        source = Path(temporary) / "model.onnx"
        image, expected = _with_one_size(folder / "model.onnx", source, size)
        for name in names:
            work = Path(temporary) / name
            work.mkdir()
            _convert(name, source, work, image.shape)
            difference = _difference(name, work, image, expected)
            megabytes = sum((work / f"model{end}").stat().st_size for end in FILES[name]) / 1e6
            report[name] = {"file": f"model{FILES[name][0]}", "megabytes": megabytes, "difference": difference}
        for name in names:
            for end in FILES[name]:
                with atomic_path(folder / f"model{end}") as place:
                    shutil.copyfile(Path(temporary) / name / f"model{end}", place)
    card = folder / FILE
    if card.is_file():
        write_card(json.loads(card.read_text(encoding="utf-8")), folder)  # it lists the files
    return report


def describe_mobile(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines that the command prints of a result of `write_mobile`."""
    return [
        f"  {name:9} {row['file']}, {row['megabytes']:.1f} MB; differs from ONNX Runtime by {row['difference']:.1e} of "
        f"the output's standard deviation at most"
        for name, row in report.items()
    ]


def _with_one_size(file, target, size):
    """Writes the ONNX file for one picture of one size; returns (a random picture, {output: what it returns})."""
    import onnx
    import onnxruntime

    model = onnx.load(str(file))
    inputs = [one for one in model.graph.input if one.name not in {weight.name for weight in model.graph.initializer}]
    kinds = {one.type.tensor_type.elem_type for one in (*inputs, *model.graph.output)}
    if len(inputs) != 1 or kinds != {onnx.TensorProto.FLOAT}:
        raise UserError(
            f"{file} has {len(inputs)} inputs, or outputs that are no floating-point numbers; classifiers and "
            f"backbones alone can be written in formats for telephones"
        )
    sides = inputs[0].type.tensor_type.shape.dim
    for side, value in zip(sides, (1, None, *(size or (None, None)))):
        if value is not None and not side.HasField("dim_value"):
            side.dim_value = value
    shape = [side.dim_value for side in sides]
    if len(shape) != 4 or not all(shape) or shape[0] != 1:
        raise UserError(
            f"{file} takes pictures of any size, or several at once; give --input-size HEIGHT WIDTH, without --batch"
        )
    onnx.save(model, str(target))
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return image, dict(zip(names, session.run(None, {inputs[0].name: image})))


def _converter(name):
    """The program that converts to ncnn or TensorFlow Lite; None where there is none."""
    if name == "tflite":
        beside = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        return shutil.which("onnx2tf", path=beside)
    spec = importlib.util.find_spec("pnnx")  # its Python side needs PyTorch, and the program in it does not
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders if (path := shutil.which("pnnx", path=folder))), None)


def _convert(name, source, work, shape):
    if name == "mnn":
        command = [sys.executable, "-c", _MNN, "-f", "ONNX", "--modelFile", str(source), "--MNNModel", "model.mnn"]
    elif name == "ncnn":
        shutil.copyfile(source, work / "model.onnx")
        command = [_converter(name), "model.onnx", f"inputshape=[{','.join(map(str, shape))}]f32", "fp16=0"]
    else:
        np.save(work / _SAMPLES, np.zeros((20, 128, 128, 3), np.float32))
        command = [_converter(name), "-i", str(source), "-o", ".", "-n"]
    _run(name, command, work, "converted")
    if name == "tflite" and (work / "model_float32.tflite").is_file():
        os.replace(work / "model_float32.tflite", work / "model.tflite")
    if not all((work / f"model{end}").is_file() for end in FILES[name]):
        raise UserError(f"--{name}: the converter wrote no model; this network cannot be converted")


def _difference(name, work, image, expected):
    """The largest difference of what was converted from ONNX Runtime; UserError above the tolerance."""
    np.savez(work / "expected.npz", image=image, **{f"output_{k}": v for k, v in enumerate(expected.values())})
    command = [sys.executable, "-m", f"{__package__}.mobile_run", name, json.dumps([*expected])]
    _run(name, command, work, "run")
    found = np.load(work / "found.npz")
    worst = 0.0
    for number, value in enumerate(expected.values()):
        got = found[f"output_{number}"]
        if got.size != value.size:
            raise UserError(f"--{name}: an output has {got.size} values where ONNX Runtime returns {value.size}")
        worst = max(worst, float(np.abs(got.reshape(value.shape) - value).max() / max(value.std(), 1e-12)))
    if not worst <= TOLERANCE:
        raise UserError(
            f"--{name}: the outputs differ from ONNX Runtime's by {worst:.1e} of their standard deviation, and "
            f"{TOLERANCE:g} is allowed; this network cannot be converted"
        )
    return worst


def _run(name, command, work, what):
    """Runs a program of others; UserError when it fails, with its last words."""
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace")
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1].strip()[:300]
        status = f"status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise UserError(f"--{name}: this network cannot be {what} ({status}: {words})")
