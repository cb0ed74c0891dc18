"""PaddleSeg's heads and FC-HarDNet's decoder on densebone's backbones: a configuration and a trial for every pair."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ...training.finite import check_gradients, check_weights
from ..configuration import flatten
from . import config

BASES = Path(__file__).resolve().parents[2] / "configs" / "segmentation" / "_base_"
TITLE = "PaddleSeg"
SIDE = 96
# head -> (its arguments beside num_classes and backbone, the weight of the loss of each output). The backbone returns
# maps at strides 4, 8, 16, 32. The weights are those of PaddleSeg's configurations.
HEADS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "FCN": ({"backbone_indices": [-1], "channels": 256}, [1]),
    # the default ratios 1, 6, 12, 18 are for a last map at stride 16
    "DeepLabV3P": ({"backbone_indices": [0, 3], "aspp_ratios": [1, 3, 6, 9], "aspp_out_channels": 256}, [1]),
    "PPLiteSeg": ({"backbone_indices": [1, 2, 3]}, [1, 1, 1]),
    "UPerNet": ({"backbone_indices": [0, 1, 2, 3], "channels": 256, "enable_auxiliary_loss": True}, [1, 0.4]),
    "SegFormer": ({"embedding_dim": 256}, [1]),
    "PSPNet": ({"backbone_indices": [2, 3], "enable_auxiliary_loss": True}, [1, 0.4]),
    "FCHarDNet": ({}, [1]),
}


def prepare() -> tuple[str, Sequence[str]]:
    """Imports PaddleSeg and the adapter; returns (PaddleSeg's version, names of the backbones)."""
    config.import_toolkit()
    import paddleseg

    from ...integrations.paddleseg import BACKBONES

    return getattr(paddleseg, "__version__", "a source checkout"), BACKBONES


def yaml_of(backbone: str, head: str) -> str:
    """The configuration of a pair on Cityscapes as YAML, complete, without bases."""
    arguments, weights = HEADS[head]
    model = {"type": head, "num_classes": 19, "backbone": {"type": backbone, "pretrained": None}, **arguments}
    loss = {"types": [{"type": "CrossEntropyLoss"}], "coef": weights}
    text = yaml.safe_dump({"model": model, "loss": loss}, sort_keys=False)
    return flatten([BASES / "cityscapes.yml", BASES / "schedule_80k.yml"], text)


def unavailable(head: str) -> str:
    """Why the installed PaddleSeg lacks this head; "" because it has every head of `HEADS`."""
    return ""


def write_data(folder: Path) -> None:
    """Writes the pictures of the trials: generated streets in Cityscapes' layout."""
    from ...datasets.generated import write_cityscapes

    write_cityscapes(folder, train=4, val=1, test=0, size=(SIDE, 2 * SIDE), progress=False)


def try_pair(path: Path, head: str, data: Path, folder: Path, enter: Callable[[str], None]) -> dict[str, Any]:
    """As `detection.compatibility.try_pair`.

    Returns:
        parameters (of the model), agreement (share of pixels for which the exported model finds the trained one's
        class).
    """
    enter("build")
    crop = f"train_dataset.transforms.1.crop_size=[{SIDE},{SIDE}]"
    job = config.load(path, ("use_gpu=false", "batch_size=2", crop), str(data))
    import paddle

    from ...training.batches import Batches
    from ...training.loading import load
    from . import exporting
    from .training import Run

    run = Run(job, seed=0, evaluates=False, amp=False)
    run.model.train()
    ((_, batch),) = load(run.dataset, Batches(run.sampler, 0, 1), 0)
    enter("forward")
    loss, _ = run.losses_of(batch)
    enter("backward")
    loss.backward()
    check_gradients(float(loss), run.model)
    enter("step")
    run.optimizer.step()
    check_weights(run.model)
    enter("export")
    weights = folder / "trained.pdparams"
    paddle.save(run.model.state_dict(), str(weights))
    picture = job.builder.val_dataset.file_list[0][0]
    found = exporting.export(job, folder / "exported", str(weights), str(picture))
    parameters = sum(p.size for p in run.model.parameters() if not p.stop_gradient)
    return {"parameters": parameters, "agreement": round(found["agreement"], 5)}
