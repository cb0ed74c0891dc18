"""Model cards: a JSON file beside an exported model that says all one needs to use the model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..pictures.preparing import Preprocessing
from ..system.files import atomic_path, facts_of, sha256_of

if TYPE_CHECKING:
    import paddle

FILE = "model_card.json"


def model_card(
    name: str,
    model: str,
    layer: "paddle.nn.Layer",
    weights: str | Path | None,
    preprocessing: Preprocessing | Mapping[str, Any],
    input_shape: Sequence[int],
    classes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    task: str | None = None,
) -> dict[str, Any]:
    """The card of an exported model, for `write_card`.

    Args:
        name: of the exported model, such as that of its configuration.
        model: a name of `densebone list`.
        layer: the trained network, before it is deployed; its parameters are counted.
        weights: the checkpoint file; None for random weights.
        preprocessing: how a picture becomes an input.
        input_shape: (N, C, H, W); -1 stands for any size.
        classes: a classifier's class names, in the order of its outputs.
        options: further arguments of `create_model`.
        task: such as "classification".

    Returns:
        name, task, model, options, parameters (without batch-norm statistics), weights {source, sha256},
        preprocessing, classes, input_shape, and the versions of densebone and paddle. All are JSON values.
    """
    import paddle

    from .. import __version__

    statistics = ("_mean", "_variance")
    counts = [parameter.size for key, parameter in layer.named_parameters() if not key.endswith(statistics)]
    steps = asdict(preprocessing) if isinstance(preprocessing, Preprocessing) else dict(preprocessing)
    return {
        "name": name,
        "task": task,
        "model": model,
        "options": dict(options or {}),
        "parameters": int(sum(counts)),
        "weights": None if weights is None else {"source": Path(weights).name, "sha256": sha256_of(weights)},
        "preprocessing": steps,
        "classes": None if classes is None else list(classes),
        "input_shape": list(input_shape),
        "densebone": __version__,
        "paddle": paddle.__version__,
    }


def eight_bits(report: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a card says of 8-bit files: {"int8": {calibrated, float32 (layers that stay), files}}, or {} without them.

    Args:
        report: what `engines.quantization.quantize` or `tasks.detection.quantizing.write_int8` returns, or None.
    """
    return {"int8": {key: report[key] for key in ("calibrated", "float32", "files")}} if report else {}


def write_card(card: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes a card to FOLDER/model_card.json, after the model's files, which it lists; returns its path."""
    path = Path(folder) / FILE
    files = [file for file in sorted(Path(folder).iterdir()) if file.is_file() and file.name != FILE]
    card = {**card, "files": {file.name: facts_of(file) for file in files if not file.name.startswith(".")}}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def check_files(folder: str | Path, card: Mapping[str, Any], needed: Iterable[str]) -> None:
    """Raises UserError when a file of an exported model is missing or not the one that was exported.

    Args:
        folder: holds the model.
        card: from `read_card`. Cards of older versions list no files, and nothing is checked.
        needed: names of the files that are going to be read.
    """
    listed: Any = card.get("files")
    for name in needed if isinstance(listed, dict) else ():
        if name not in listed:
            continue
        file = Path(folder) / name
        if not file.is_file():
            raise UserError(f"{file} is missing; export the model again")
        if facts_of(file) != listed[name]:
            raise UserError(f"{file} is not the file that densebone export wrote; export the model again")


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of an exported model.

    Args:
        folder: holds model_card.json.

    Returns:
        The card as `model_card` makes it, with a `Preprocessing` under "preprocessing".

    Raises:
        UserError: there is no card, or it is broken or incomplete.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no {FILE}, so it is no model that `densebone export` wrote for classification")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        card["preprocessing"] = Preprocessing(**card["preprocessing"])
        shape, classes = card["input_shape"], card["classes"]
        valid = len(shape) == 4 and all(type(side) is int for side in shape) and isinstance(card["name"], str)
        valid = valid and (classes is None or all(isinstance(name, str) for name in classes))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{path} is no model card ({reason}); export the model again") from error
    if not valid:
        raise UserError(f"{path} is no model card (input_shape, classes or name are not as expected); export it again")
    return card
