"""Model cards: what an exported model is, in a JSON file beside it, enough to use it without its configuration."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path

from ..errors import UserError
from ..pictures.preparing import Preprocessing
from ..system.files import atomic_path, sha256_of

FILE = "model_card.json"


def model_card(name, model, layer, weights, preprocessing, input_shape, classes=None, options=None, task=None):
    """What `write_card` writes.

    Args:
        name (str): of the exported model, such as that of its configuration.
        model (str): one of `densebone list`.
        layer (paddle.nn.Layer): the trained network, before it is deployed, for its number of parameters.
        weights (str | Path | None): the file that filled it; None when nothing did.
        preprocessing (Preprocessing | dict): how a picture becomes its input.
        input_shape (sequence of int): of the input, (N, C, H, W); -1 stands for any size.
        classes (list of str | None): the name of each output, for a classifier.
        options (dict | None): further arguments of `create_model`.
        task (str | None): such as "classification".

    Returns:
        dict of JSON values: name, task, model, options, parameters (batch-norm statistics are none), weights {source,
        sha256}, preprocessing, classes, input_shape, densebone, paddle (versions).
    """
    import paddle

    from .. import __version__

    statistics = ("_mean", "_variance")
    counts = [parameter.size for key, parameter in layer.named_parameters() if not key.endswith(statistics)]
    return {
        "name": name,
        "task": task,
        "model": model,
        "options": dict(options or {}),
        "parameters": int(sum(counts)),
        "weights": None if weights is None else {"source": Path(weights).name, "sha256": sha256_of(weights)},
        "preprocessing": asdict(preprocessing) if is_dataclass(preprocessing) else dict(preprocessing),
        "classes": None if classes is None else list(classes),
        "input_shape": list(input_shape),
        "densebone": __version__,
        "paddle": paddle.__version__,
    }


def write_card(card, folder):
    """Writes a card as FOLDER/model_card.json and returns its path."""
    path = Path(folder) / FILE
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_card(folder):
    """The card of an exported model.

    Args:
        folder (str | Path): holds model_card.json.

    Returns:
        dict, as `model_card` makes it, with a `Preprocessing` under "preprocessing".

    Raises:
        UserError: there is no card, or one that cannot be read or lacks what is needed to use the model.
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
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{path} is no model card ({reason}); export the model again") from error
    if not valid:
        raise UserError(f"{path} is no model card (input_shape, classes or name are not as expected); export it again")
    return card
