"""PaddleDetection's heads on densebone's backbones: a configuration for every pair, and a short trial of it.

The configurations are put together from `configs/detection/_base_`. A trial changes only sizes and data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...training.finite import check_gradients, check_weights
from ..configuration import flatten
from . import config
from .readers import resize, transforms

BASES = Path(__file__).resolve().parents[2] / "configs" / "detection" / "_base_"
TITLE = "PaddleDetection"
PICTURES = 4


@dataclass(frozen=True)
class Head:
    """A detector that takes a backbone.

    Args:
        bases: files of `configs/detection/_base_`.
        block: the block of the configuration that names the backbone.
        maps: `return_idx` of the backbone: 0..3 are strides 4, 8, 16, 32.
        side: of the images in a trial, in pixels; the coarsest map must keep a cell.
        trial: overrides that small images need.
        needs: a component that not every version of PaddleDetection has, or "".
        spread: key of the weight that makes the scores, or "". It starts so near 0 that all scores are alike to 1e-5
            and rounding decides which is the largest. A trial makes it 1000 times larger.
    """

    bases: tuple
    block: str
    maps: tuple = (1, 2, 3)
    side: int = 64
    trial: tuple = ()
    needs: str = ""
    spread: str = ""


# the head runs once for each of hundreds of boxes, which would take most of the time of a trial
_FEW_BOXES = ("BBoxAssigner.batch_size_per_im=16", "BBoxPostProcess.nms.keep_top_k=10")

HEADS = {
    # below 288 pixels its fifth map is too small to make the sixth of
    "SSD": Head(("ssd300", "schedule_ssd_150e"), "SSDFeatures", side=300),
    "YOLOv3": Head(("yolov3", "schedule_yolov3_270e"), "YOLOv3"),
    "PP-YOLOE": Head(("ppyoloe", "schedule_ppyoloe_300e"), "YOLOv3", side=96),
    "PicoDet": Head(("picodet", "schedule_picodet_300e"), "PicoDet", side=160),
    "FCOS": Head(("fcos_fpn", "schedule_retinanet_12e"), "FCOS", side=128),
    "RetinaNet": Head(("retinanet_fpn", "schedule_retinanet_12e"), "RetinaNet"),
    "Faster-RCNN": Head(("faster_rcnn_fpn", "schedule_retinanet_12e"), "FasterRCNN", (0, 1, 2, 3), trial=_FEW_BOXES),
    "Mask-RCNN": Head(("mask_rcnn_fpn", "schedule_retinanet_12e"), "MaskRCNN", (0, 1, 2, 3), trial=_FEW_BOXES),
    "CenterNet": Head(
        ("centernet_dlafpn", "schedule_centernet_140e"),
        "CenterNet",
        (0, 1, 2, 3),
        spread="head.heatmap.2.conv.weight",
    ),
    # the nearest cells of every map are candidates; the coarsest has one
    "TOOD": Head(("tood_fpn", "schedule_retinanet_12e"), "TOOD", trial=("TOODHead.static_assigner.topk=1",)),
    "GFL": Head(("gfl_fpn", "schedule_retinanet_12e"), "GFL"),
    # below 128 pixels its maps have fewer cells than it has queries
    "RT-DETR": Head(
        ("rtdetr", "schedule_rtdetr_72e"), "DETR", side=160, trial=("eval_size=[160,160]",), needs="RTDETRTransformer"
    ),
}


def prepare() -> tuple[str, Sequence[str]]:
    """Imports PaddleDetection and the adapter; returns (PaddleDetection's version, names of the backbones)."""
    config.import_toolkit()
    import ppdet

    from ...integrations.paddledet import BACKBONES

    return getattr(ppdet, "__version__", "a source checkout"), BACKBONES


def yaml_of(backbone: str, head: str) -> str:
    """The configuration of a pair on COCO as YAML, complete, without bases."""
    settings = HEADS[head]
    files = [BASES / f"{name}.yml" for name in ("runtime", "coco", *settings.bases)]
    name = f"{head}_{backbone}_coco".lower().replace("-", "_")
    return flatten(
        files,
        f"weights: output/{name}/model_final\n"
        f"{settings.block}: {{backbone: {backbone}}}\n"
        f"{backbone}: {{return_idx: {list(settings.maps)}}}\n",
    )


def unavailable(head: str) -> str:
    """Why the installed PaddleDetection lacks this head; "" when it has it."""
    from ppdet.core.workspace import get_registered_modules

    component = HEADS[head].needs
    if not component or component in get_registered_modules():
        return ""
    version, _ = prepare()
    return f"{TITLE} {version} has no {component}; the development checkout of October 2024 has it"


def write_data(folder: Path) -> None:
    """Writes the pictures of the trials: generated scenes in COCO's layout."""
    from ...datasets.generated import write_coco

    write_coco(folder, train=PICTURES, val=2, size=(96, 160), progress=False)


def try_pair(path: Path, head: str, data: Path, folder: Path, enter: Callable[[str], None]) -> dict[str, Any]:
    """Trains one step, exports the detector and runs the exported model. Raises where that does not work.

    Args:
        path: the configuration of the pair, from `yaml_of`.
        head: a key of `HEADS`.
        data: folder that `write_data` filled.
        folder: receives the weights and the exported model.
        enter: called with the name of each stage when it starts.

    Returns:
        parameters (of the detector), boxes (how many the exported model finds on one picture).
    """
    enter("build")
    overrides = ("use_gpu=false", "num_classes=4", "worker_num=0", "TrainReader.batch_size=2")
    job = config.load(path, (*overrides, *HEADS[head].trial), str(data))
    cfg = job.cfg
    _shrink(cfg, HEADS[head].side)
    _find_more(cfg)
    import paddle
    from ppdet.engine import Trainer, set_random_seed

    from . import exporting

    set_random_seed(0)
    trainer = Trainer(cfg, mode="train")
    model, weights = trainer.model, folder / "trained.pdparams"
    model.train()
    last = cfg.epoch - 1
    assigns_anew = any(hasattr(layer, "static_assigner_epoch") for layer in model.sublayers())
    for epoch in (0, last) if assigns_anew else (0,):
        _step(trainer, next(iter(trainer.loader)), epoch, enter)
    enter("export")
    if key := HEADS[head].spread:
        weight = model.state_dict()[key]
        weight.set_value(weight * 1000)
    paddle.save(model.state_dict(), str(weights))
    cfg["model"] = model  # reused, because PicoDet's neck becomes another network the second time in a process
    picture = sorted((data / "val2017").iterdir())[0]
    found = exporting.export(job, folder, str(weights), str(picture))
    return {"parameters": sum(p.size for p in model.parameters() if not p.stop_gradient), "boxes": found["boxes"]}


def _step(trainer, batch, epoch, enter):
    """Takes one step of the optimizer, as PaddleDetection's training loop does in this epoch."""
    enter("forward")
    trainer.model.train()
    batch["epoch_id"] = epoch
    loss = trainer.model(batch)["loss"]
    enter("backward")
    loss.backward()
    check_gradients(float(loss), trainer.model)
    enter("step")
    if trainer.optimizer.get_lr() == 0:  # a warm-up that begins at 0
        trainer.lr.step()
    trainer.optimizer.step()
    trainer.optimizer.clear_grad()
    check_weights(trainer.model)


def _shrink(cfg, side):
    """Sets every size in the readers of a configuration to `side` pixels, and the classes in their transforms to 4."""
    resize(cfg, (side, side), several=False)
    for _, arguments in transforms(cfg):
        if "num_classes" in arguments:
            arguments["num_classes"] = 4


def _find_more(block):
    """Lowers the score thresholds, so that an untrained network finds boxes by which its export can be compared."""
    for key, value in block.items():
        if isinstance(value, dict):
            _find_more(value)
        elif key == "score_threshold":
            block[key] = 0.001
