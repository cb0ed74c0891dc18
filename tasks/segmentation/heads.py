"""PaddleSeg's heads, and our decoder, on our backbones: a configuration for every pair, and a short trial of it."""

from pathlib import Path

import yaml

from ...training.finite import check_gradients, check_weights
from ..configuration import flatten
from . import config

BASES = Path(__file__).resolve().parents[2] / "configs" / "segmentation" / "_base_"
TITLE = "PaddleSeg"
SIDE = 96
# head: its arguments beside num_classes and backbone, whose maps are those of strides 4, 8, 16, 32; and the losses of
# its outputs, which are weighed as in PaddleSeg's configurations
HEADS = {
    "FCN": ({"backbone_indices": [-1], "channels": 256}, [1]),
    # the head's own 1, 6, 12, 18 are for a last map at stride 16
    "DeepLabV3P": ({"backbone_indices": [0, 3], "aspp_ratios": [1, 3, 6, 9], "aspp_out_channels": 256}, [1]),
    "PPLiteSeg": ({"backbone_indices": [1, 2, 3]}, [1, 1, 1]),
    "UPerNet": ({"backbone_indices": [0, 1, 2, 3], "channels": 256, "enable_auxiliary_loss": True}, [1, 0.4]),
    "SegFormer": ({"embedding_dim": 256}, [1]),
    "PSPNet": ({"backbone_indices": [2, 3], "enable_auxiliary_loss": True}, [1, 0.4]),
    "FCHarDNet": ({}, [1]),
}


def prepare():
    """Imports PaddleSeg and our adapter; returns (the toolkit's version, names of our backbones)."""
    config.import_toolkit()
    import paddleseg

    from ...integrations.paddleseg import BACKBONES

    return getattr(paddleseg, "__version__", "a source checkout"), BACKBONES


def yaml_of(backbone, head):
    """The configuration of a pair on Cityscapes, complete in itself, as YAML."""
    arguments, weights = HEADS[head]
    model = {"type": head, "num_classes": 19, "backbone": {"type": backbone, "pretrained": None}, **arguments}
    loss = {"types": [{"type": "CrossEntropyLoss"}], "coef": weights}
    text = yaml.safe_dump({"model": model, "loss": loss}, sort_keys=False)
    return flatten([BASES / "cityscapes.yml", BASES / "schedule_80k.yml"], text)


def unavailable(head):
    """PaddleSeg has every head of `HEADS`: ""."""
    return ""


def write_data(folder):
    """Writes the pictures of the trials, generated streets in Cityscapes' layout."""
    from ...datasets.generated import write_cityscapes

    write_cityscapes(folder, train=4, val=1, test=0, size=(SIDE, 2 * SIDE), progress=False)


def try_pair(path, head, data, folder, enter):
    """As `detection.compatibility.try_pair`.

    Returns:
        dict: parameters, agreement (share of pixels for which the exported model finds the class of the trained one).
    """
    enter("build")
    crop = f"train_dataset.transforms.1.crop_size=[{SIDE},{SIDE}]"
    job = config.load(path, ("use_gpu=false", "batch_size=2", crop), str(data))
    import paddle

    from ...training.batches import Batches, load
    from . import exporting
    from .training import Run

    run = Run(job, seed=0, evaluates=False, amp=False)
    run.model.train()
    ((_, batch),) = load(run.dataset, Batches(run.sampler, 0, 1), 0)
    enter("forward")
    loss = sum(run.losses_of(batch))
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
