"""Detectors with random weights whose scores differ, so that the order of their boxes is no matter of rounding."""

import paddle
from ppdet.core.workspace import create

from densebone.tasks.detection import config, heads, readers
from densebone.tasks.detection.whole import head_of

_FINAL = (
    "head_cls_list", "pred_cls", "retina_cls", "fcos_head_cls", "gfl_head_cls", "tood_cls", "score_convs",
    "yolo_outputs", "heatmap.2",
)  # fmt: skip


def build(backbone, head, folder, size, classes=4):
    """(the detector in eval mode, its configuration) of a pair of `detection.heads`, for pictures of `size`."""
    file = folder / f"{head}.yml"
    file.write_text(heads.yaml_of(backbone, head))
    overrides = ("use_gpu=false", f"num_classes={classes}", "worker_num=0", *heads.HEADS[head].trial)
    job = config.load(file, overrides)
    readers.resize(job.cfg, size, several=False)
    heads._find_more(job.cfg)
    paddle.seed(0)
    model = create(job.cfg.architecture)
    model.eval()
    spread(model, size)
    return model, job


def batch_of(images, scales=None):
    """What a detector takes of float32 (N, 3, H, W); `scales` are those of the pictures, (N, 2) of y and x."""
    count, _, height, width = images.shape
    return {
        "image": paddle.to_tensor(images),
        "im_shape": paddle.to_tensor([[float(height), float(width)]] * count),
        "scale_factor": paddle.ones([count, 2]) if scales is None else paddle.to_tensor(scales),
        "im_id": paddle.arange(count),
    }


def spread(model, size):
    """Gives batch norms of neck and head the statistics of noise, and what makes the scores a spread of 1.5.

    With the statistics of a new network maps shrink from layer to layer, until scores are alike to 1e-7.
    """
    side = (size * 2)[:2]
    noise = batch_of(paddle.randn([1, 3, *side]).numpy())
    hooks = [
        layer.register_forward_pre_hook(_learn_statistics)
        for layer in [*getattr(model, "neck", head_of(model)).sublayers(), *head_of(model).sublayers()]
        if isinstance(layer, (paddle.nn.BatchNorm2D, paddle.nn.BatchNorm, paddle.nn.SyncBatchNorm))
    ]
    with paddle.no_grad():
        model(noise)
    for hook in hooks:
        hook.remove()
    convolutions = [(n, c) for n, c in head_of(model).named_sublayers() if isinstance(c, paddle.nn.Conv2D)]
    finals = [c for n, c in convolutions if "tower" not in n and any(part in n for part in _FINAL)]
    finals = [convolution for convolution in finals if convolution.weight.shape[1] > 1]
    seen = {}
    hooks = [
        layer.register_forward_post_hook(lambda layer, _, out: seen.setdefault(id(layer), []).append(float(out.std())))
        for layer in finals
    ]
    with paddle.no_grad():
        model(noise)
    for hook in hooks:
        hook.remove()
    for layer in finals:
        layer.weight.set_value(layer.weight * (1.5 / max(1e-9, *seen[id(layer)], 1e-9)))


def _learn_statistics(layer, inputs):
    layer._mean.set_value(inputs[0].mean([0, 2, 3]))
    layer._variance.set_value(inputs[0].var([0, 2, 3]) + 1e-3)
