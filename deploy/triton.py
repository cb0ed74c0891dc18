"""An exported model as a model of Triton Inference Server.

    DIR/NAME/config.pbtxt       inputs and outputs as the ONNX file declares them
    DIR/NAME/1/model.onnx
    DIR/NAME/model_card.json    how pictures are prepared, and the names of the classes
    DIR/NAME/labels.txt         of a classifier, for Triton's extension "classification"

DIR/NAME_picture holds picture.onnx, where `densebone export --with-preprocessing` wrote it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..system.files import check_writable
from ..system.folders import new_folder, remove_leftovers
from ..system.locks import only_one
from .cards import FILE

CONFIG = "config.pbtxt"
#: pictures that Triton computes together at most, where the file takes any number
MOST = 8
# ONNX's numbers of types -> Triton's names
_TYPES = {
    1: "TYPE_FP32", 2: "TYPE_UINT8", 3: "TYPE_INT8", 4: "TYPE_UINT16", 5: "TYPE_INT16", 6: "TYPE_INT32",
    7: "TYPE_INT64", 9: "TYPE_BOOL", 10: "TYPE_FP16", 11: "TYPE_FP64", 12: "TYPE_UINT32", 13: "TYPE_UINT64",
}  # fmt: skip


def check_repository(repository: str | Path, formats: Sequence[str]) -> None:
    """Raises UserError unless a model can be written there once it is exported to these formats."""
    if "onnx" not in formats:
        raise UserError("--triton: Triton gets the ONNX file; add onnx to --format")
    check_writable(repository)


def write_repository(folder: str | Path, repository: str | Path) -> list[Path]:
    """Writes an exported model to a model repository, whole or not at all.

    Args:
        folder: that `densebone export` wrote, with model.onnx.
        repository: the folder that Triton is given. A model of the same name there is replaced.

    Returns:
        The folders that were written.

    Raises:
        UserError: there is no ONNX file, or the place is taken by something else.
    """
    folder, repository = Path(folder), Path(repository)
    if not (folder / "model.onnx").is_file():
        raise UserError(f"{folder} holds no model.onnx; export with --format onnx")
    card = json.loads((folder / FILE).read_text(encoding="utf-8"))
    written = [_write(folder / "model.onnx", repository / folder.name, card)]
    if (folder / "picture.onnx").is_file():
        written.append(_write(folder / "picture.onnx", repository / f"{folder.name}_picture", card))
    return written


def _write(file, target, card):
    with only_one(target, "writes a model for Triton to"):
        remove_leftovers(target)
        if os.path.lexists(target) and not (target / CONFIG).is_file():
            raise UserError(f"{target} exists and is no model of Triton's; give another --triton DIR")
        with new_folder(target) as place:
            (place / "1").mkdir()
            shutil.copyfile(file, place / "1" / "model.onnx")
            shutil.copyfile(file.with_name(FILE), place / FILE)
            labels = card.get("classes") if card.get("task") == "classification" else None
            if labels:
                lines = [" ".join(name.split()) for name in labels]
                (place / "labels.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (place / CONFIG).write_text(configuration(file, target.name, bool(labels)), encoding="utf-8")
    return target


def configuration(file: str | Path, name: str, labels: bool = False) -> str:
    """The config.pbtxt of an ONNX file.

    Args:
        file: the ONNX file.
        name: of the model.
        labels: whether labels.txt names the places of the first output.
    """
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    weights = {one.name for one in graph.initializer}
    inputs = [_tensor(one) for one in graph.input if one.name not in weights]
    outputs = [_tensor(one) for one in graph.output]
    joins = all(shape and shape[0] == -1 for _, _, shape in (*inputs, *outputs))
    parts = [f"name: {_text(name)}", 'backend: "onnxruntime"', f"max_batch_size: {MOST if joins else 0}"]
    parts += [f"input {{\n{_described(*one, joins)}\n}}" for one in inputs]
    for place, one in enumerate(outputs):
        file_of_labels = '\n  label_filename: "labels.txt"' if labels and place == 0 else ""
        parts.append(f"output {{\n{_described(*one, joins)}{file_of_labels}\n}}")
    if joins:
        parts.append("dynamic_batching { }")
    return "\n".join(parts) + "\n"


def _tensor(value: Any) -> tuple[str, str, list[int]]:
    kind = value.type.tensor_type
    shape = [side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim]
    return value.name, _TYPES[kind.elem_type], shape


def _described(name, kind, shape, joins):
    """The lines of a tensor. Triton leaves out the side that counts pictures, and needs another in its place."""
    sides = shape[1:] if joins else shape
    lines = [f"name: {_text(name)}", f"data_type: {kind}", f"dims: [ {', '.join(map(str, sides or [1]))} ]"]
    if not sides:
        lines.append("reshape { shape: [ ] }")
    return "\n".join(f"  {line}" for line in lines)


def _text(value):
    """A string of protobuf's text format, whose escapes are JSON's."""
    return json.dumps(value)
