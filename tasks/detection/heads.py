"""PaddleDetection's heads on our backbones: a configuration for every pair, and a short trial of it.

The configurations are those of `configs/detection/_base_` put together; the trial changes sizes and data alone.
"""

from dataclasses import dataclass
from pathlib import Path

from ...training.finite import check_gradients, check_weights
from ..configuration import flatten
from . import config

BASES = Path(__file__).resolve().parents[2] / "configs" / "detection" / "_base_"
TITLE = "PaddleDetection"
PICTURES = 4
# Every size in a reader that a trial replaces: key -> its new value for a side in pixels.
_SIZES = {"target_size": lambda s: [s, s], "input_h": lambda s: s, "input_w": lambda s: s}


@dataclass(frozen=True)
class Head:
    """A detector that takes a backbone.

    Args:
        bases: files of `configs/detection/_base_`.
        block: the block of the configuration that names the backbone.
        maps: `return_idx` of the backbone: 0..3 are strides 4, 8, 16, 32.
        side: of the images in a trial, in pixels; the coarsest map must keep a cell.
        trial: settings that a small image asks for.
        needs: a component that not every version of PaddleDetection has, or "".
        spread: key of the weight that makes the scores, where it starts so near 0 that they are alike to 1e-5 and
            rounding decides which is the largest of its neighbours; a trial makes it 1000 times larger. Or "".
    """

    bases: tuple
    block: str
    maps: tuple = (1, 2, 3)
    side: int = 64
    trial: tuple = ()
    needs: str = ""
    spread: str = ""


# a head of its own for each of hundreds of boxes takes most of the time of a trial
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


def prepare():
    """Imports PaddleDetection and our adapter; returns (the toolkit's version, names of our backbones)."""
    config.import_toolkit()
    import ppdet

    from ...integrations.paddledet import BACKBONES

    return getattr(ppdet, "__version__", "a source checkout"), BACKBONES


def yaml_of(backbone, head):
    """The configuration of a pair on COCO, complete in itself, as YAML."""
    settings = HEADS[head]
    files = [BASES / f"{name}.yml" for name in ("runtime", "coco", *settings.bases)]
    name = f"{head}_{backbone}_coco".lower().replace("-", "_")
    return flatten(
        files,
        f"weights: output/{name}/model_final\n"
        f"{settings.block}: {{backbone: {backbone}}}\n"
        f"{backbone}: {{return_idx: {list(settings.maps)}}}\n",
    )


def unavailable(head):
    """Why the installed PaddleDetection cannot have this head at all; "" where it can."""
    from ppdet.core.workspace import get_registered_modules

    component = HEADS[head].needs
    if not component or component in get_registered_modules():
        return ""
    version, _ = prepare()
    return f"{TITLE} {version} has no {component}; the development checkout of October 2024 has it"


def write_data(folder):
    """Writes the pictures of the trials, generated scenes in COCO's layout."""
    from ...datasets.generated import write_coco

    write_coco(folder, train=PICTURES, val=2, size=(96, 160), progress=False)


def try_pair(path, head, data, folder, enter):
    """Trains a step, exports and runs what was exported, as far as that works; raises where it does not.

    Args:
        path (Path): the configuration of the pair, as `yaml_of` gives it.
        head (str): of `HEADS`.
        data (Path): folder that `write_data` filled.
        folder (Path): where the weights and the exported model may go.
        enter (callable): called with the name of each stage that begins.

    Returns:
        dict: parameters (of the detector), boxes (found by the exported model on one picture).
    """
    enter("build")
    overrides = ("use_gpu=false", "num_classes=4", "worker_num=0", "TrainReader.batch_size=2")
    cfg = config.load(path, (*overrides, *HEADS[head].trial), str(data))
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
    cfg["model"] = model  # not built again: PicoDet's neck is another network the second time in a process
    picture = sorted((data / "val2017").iterdir())[0]
    found = exporting.export(cfg, folder, str(weights), str(picture))
    return {"parameters": sum(p.size for p in model.parameters() if not p.stop_gradient), "boxes": found["boxes"]}


def _step(trainer, batch, epoch, enter):
    """One step of the optimizer, as PaddleDetection's training loop does it in this epoch."""

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
    """Sets every size in the readers of a configuration to `side` pixels, and classes that a transform is told."""
    for name in ("TrainReader", "EvalReader", "TestReader"):
        reader = cfg[name]
        if "image_shape" in (reader.get("inputs_def") or {}):
            shape = reader["inputs_def"]["image_shape"]
            reader["inputs_def"]["image_shape"] = [*shape[:-2], side, side]
        for step in [*(reader.get("sample_transforms") or ()), *(reader.get("batch_transforms") or ())]:
            for transform, arguments in step.items():
                _shrink_transform(transform, arguments or {}, side)


def _find_more(block):
    """Lets boxes of low scores through: a network that knows nothing finds some, and its export can be compared."""
    for key, value in block.items():
        if isinstance(value, dict):
            _find_more(value)
        elif key == "score_threshold":
            block[key] = 0.001


def _shrink_transform(name, arguments, side):
    for key in set(arguments) & set(_SIZES):
        is_list_of_sizes = name in ("RandomResize", "BatchRandomResize")
        arguments[key] = [_SIZES[key](side)] if is_list_of_sizes else _SIZES[key](side)
    if "num_classes" in arguments:
        arguments["num_classes"] = 4
