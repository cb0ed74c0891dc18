"""Paddle's inference programs: writing one, and running one on the CPU."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .formats import PARAMETERS, program_file

# What Paddle says of parameters that end early. It writes them without a word on a full disk.
_CUT_SHORT = ("is.good()", "dense_tensor_tostream")


class CutShort(UserError):
    """The files of a model end early, as on a full disk."""


def save_program(layer: Any, folder: str | Path, shape: Sequence[int]) -> None:
    """Writes a layer as FOLDER/model.*.

    Args:
        layer: a `paddle.nn.Layer` in eval mode that takes one float32 tensor.
        folder: receives the files.
        shape: of the input, such as (-1, 3, 224, 224); -1 stands for any size.
    """
    import paddle

    spec = paddle.static.InputSpec([None if side == -1 else side for side in shape], "float32", name="x")
    program = paddle.jit.to_static(layer, input_spec=[spec], full_graph=True)
    paddle.jit.save(program, str(Path(folder) / "model"))


@contextmanager
def math_threads(count: int | None) -> Iterator[None]:
    """Lets Paddle multiply matrices on `count` threads, and afterwards on as many as the process began with.

    Paddle holds one number for the whole process, and rounds by it: a training after an engine would not repeat itself.

    Args:
        count: threads; None leaves the number as it is.
    """
    if not count:
        yield
        return
    import paddle

    began_with = os.environ.get("MKL_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "1"
    paddle.base.core.set_num_threads(count)
    try:
        yield
    finally:
        paddle.base.core.set_num_threads(int(began_with) if began_with.isdigit() else 1)


def open_predictor(folder: str | Path, threads: int | None = None, onednn: bool = False, bf16: bool = False) -> Any:
    """A `paddle.inference.Predictor` for the model in a folder, on the CPU.

    Args:
        folder: holds model.json or model.pdmodel, and model.pdiparams.
        threads: CPU threads; None leaves the number to Paddle.
        onednn: compute with oneDNN, which is faster and wrong for some models (see `engines.onednn`).
        bf16: let oneDNN compute in bfloat16.

    Raises:
        CutShort: the parameters end early.
    """
    from paddle import inference

    config = inference.Config(str(program_file(folder)), str(Path(folder) / PARAMETERS))
    config.disable_gpu()
    config.disable_glog_info()
    if threads:
        config.set_cpu_math_library_num_threads(threads)
    if onednn or bf16:
        config.enable_mkldnn()
        if bf16:
            config.enable_mkldnn_bfloat16()
    elif hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    try:
        return inference.create_predictor(config)
    except Exception as error:
        if not any(words in str(error) for words in _CUT_SHORT):
            raise
        raise CutShort(f"the model in {folder} is cut short; make room on the disk and export it again") from error


def open_program(folder: str | Path) -> Callable[[Any], list[np.ndarray]]:
    """An exported model as a function that can be called any number of times.

    It runs without oneDNN, whose kernels fail on some models in Paddle 3.3.

    Args:
        folder: holds model.json or model.pdmodel, and model.pdiparams.

    Returns:
        A function: inputs -> list of output arrays. The inputs are one array for a model with one input, or a dict
        {input name: array}. Names that the model does not ask for are ignored.
    """
    predictor = open_predictor(folder)

    def compute(inputs):
        for name in predictor.get_input_names():
            value = inputs[name] if isinstance(inputs, Mapping) else inputs
            predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(np.asarray(value)))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return compute


def run(folder: str | Path, inputs: Any) -> list[np.ndarray]:
    """Runs an exported model once: `open_program(folder)(inputs)`."""
    return open_program(folder)(inputs)
