"""The optimizer of a run that goes on from a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle

from ..errors import UserError
from ..weights.reader import read_pickle

# Entries of an optimizer's state that do not belong to one parameter.
_NOT_MOMENTS = ("LR_Scheduler", "master_weights", "last_epoch")


def load_optimizer(
    optimizer: paddle.optimizer.Optimizer, model: paddle.nn.Layer, checkpoint: Path, about: Mapping[str, Any]
) -> int:
    """Restores an optimizer and its schedule.

    Args:
        optimizer: of `model`.
        model: the network in training.
        checkpoint: FOLDER/NAME.
        about: the info of the checkpoint.

    Returns:
        The number of iterations done.

    Raises:
        UserError: the state of another network's optimizer, or of another kind of optimizer.
    """
    file = checkpoint.with_name(checkpoint.name + ".pdopt")
    read_pickle(file)  # refuses anything but weights, before Paddle unpickles the file
    state = paddle.load(str(file))
    # in a checkpoint that PaddleSeg wrote, only the scheduler counts iterations
    iteration = about.get("iteration", state.get("LR_Scheduler", {}).get("last_epoch"))
    parameters = tuple(f"{parameter.name}_" for parameter in model.parameters())
    foreign = [key for key in state if key not in _NOT_MOMENTS and not key.startswith(parameters)]
    if iteration is None or foreign:
        raise UserError(
            f"cannot resume from {checkpoint}: {file.name} is not the state of this network's optimizer "
            f"({f'it holds {foreign[0]}' if foreign else 'it holds no learning-rate schedule'}); start anew"
        )
    kind = type(optimizer).__name__
    if about.get("optimizer", kind) != kind:
        raise UserError(
            f"cannot resume from {checkpoint}: it was trained with the optimizer {about['optimizer']}, and the "
            f"configuration has {kind}; take the one that it was trained with, or start anew"
        )
    optimizer.set_state_dict(state)
    return iteration
