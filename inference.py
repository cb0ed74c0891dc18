"""Paddle's inference models: a folder that is replaced as a whole, and running what is in it on the CPU."""

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from densebone.errors import UserError

PARAMETERS = "model.pdiparams"
# One of them is in every folder that an export wrote.
_MODELS = (PARAMETERS, "model.onnx", "model.xml")


def program_file(folder):
    """The network of an exported model: model.json, or model.pdmodel when Paddle before 3 wrote it."""
    current = Path(folder) / "model.json"
    return current if current.is_file() else current.with_name("model.pdmodel")


@contextmanager
def exported_folder(target):
    """Yield a path of the same name in a new hidden folder beside `target`; on success it becomes `target`.

    The hidden folder is there, the yielded one is not yet. On failure both are removed and `target` is as before.

    Args:
        target (str | Path): the folder of the exported model; an earlier model there is replaced.

    Raises:
        UserError: `target` is there and is not an exported model, or its parent cannot be written to.
    """
    target = Path(target)
    if os.path.lexists(target) and not any((target / name).is_file() for name in _MODELS):
        raise UserError(f"{target} is there and holds no {PARAMETERS}; only an exported model is replaced: give -O DIR")
    hidden = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        hidden.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write into the folder {target.parent} ({reason}); give another -O DIR") from error
    try:
        yield hidden / target.name
        before = hidden / "before"
        if target.exists():
            os.replace(target, before)
        try:
            os.replace(hidden / target.name, target)
        except OSError:
            if before.exists():
                os.replace(before, target)
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def save_program(layer, folder, shape):
    """Writes a layer in eval mode as FOLDER/model.*, for one float32 input of this shape; -1 stands for any size."""
    import paddle

    spec = paddle.static.InputSpec([None if side == -1 else side for side in shape], "float32", name="x")
    program = paddle.jit.to_static(layer, input_spec=[spec], full_graph=True)
    paddle.jit.save(program, str(Path(folder) / "model"))


def run(folder, inputs):
    """Run an exported model once: `open_program(folder)(inputs)`."""
    return open_program(folder)(inputs)


def open_program(folder):
    """An exported model in Paddle Inference on the CPU, to be run any number of times.

    Without oneDNN, whose kernels fail on some models in Paddle 3.3.

    Args:
        folder (str | Path): holds model.json or model.pdmodel, and model.pdiparams.

    Returns:
        function: inputs -> list of arrays, the outputs. The inputs are a dict of input name to array, of which those
        that the model does not ask for are ignored; or one array, for a model with one input.
    """
    from paddle import inference

    config = inference.Config(str(program_file(folder)), str(Path(folder) / PARAMETERS))
    config.disable_gpu()
    if hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    config.disable_glog_info()
    predictor = inference.create_predictor(config)

    def compute(inputs):
        for name in predictor.get_input_names():
            value = inputs[name] if isinstance(inputs, dict) else inputs
            predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(np.asarray(value)))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return compute
