"""What every evaluation ends with: evaluation.json. And running a trained network on an engine."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from ..engines import EngineLayer, open_network
from ..engines.opening import Calibration
from ..errors import UserError
from ..system.files import atomic_path
from .task import Job

#: why a detector or a segmentation model refuses "int8" beside a configuration
IN_8_BITS = (
    "precision is 'int8', which a detector or segmentation model has when it is exported; use densebone export "
    "--format onnx --int8 PICTURES, then predict --model FOLDER --precision int8"
)


def write_evaluation(job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a result as evaluation.json into the job's folder; a value that is nan becomes null there.

    Returns:
        The result, with the path of the file as "file".
    """
    file = job.folder / "evaluation.json"
    content = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in result.items()}
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
    return {**result, "file": str(file)}


def on_engine(
    network: Any,
    engine: Mapping[str, Any],
    input_size: tuple[int, int] | None = None,
    single: bool = False,
    preprocessing: Any = None,
) -> EngineLayer:
    """A trained network as a layer that an engine runs. Prints on stderr which engine that is.

    Args:
        network: a `paddle.nn.Layer` that takes float32 (N, C, H, W).
        engine: the options engine, precision and threads of `engines.open_network`; with "int8" also calibration, a
            folder of pictures.
        input_size: (height, width) of most inputs, in pixels.
        single: the layer returns its first output and not a list of them.
        preprocessing: how the pictures of "int8" become inputs; None where 8 bits are for exported models alone.

    Raises:
        UserError: "int8" where they are, or without pictures.
    """
    network.eval()
    engine = dict(engine)
    if engine.get("precision") == "int8" and preprocessing is None:
        raise UserError(IN_8_BITS)
    if folder := engine.pop("calibration", None):
        engine["calibration"] = Calibration(folder, preprocessing, input_size)
    opened = open_network(network, input_size=input_size, **engine)
    print(f"engine: {opened.description}", file=sys.stderr)
    return FirstOutput(opened) if single else EngineLayer(opened)


class FirstOutput(EngineLayer):
    """An engine in the place of a network with one output."""

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> the network's first output."""
        return super().forward(x)[0]
