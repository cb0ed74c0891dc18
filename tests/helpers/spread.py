"""Detectors with random weights whose scores differ, so that the order of their boxes is no matter of rounding."""

import copy
import sys
from pathlib import Path

import numpy as np
import paddle
from ppdet.core.workspace import create

from densebone.engines.conversion import to_openvino
from densebone.runtime.sessions import OnnxRuntime, OpenVINO
from densebone.tasks.detection import config, heads, readers
from densebone.tasks.detection.exporting import nearest
from densebone.tasks.detection.whole import head_of, write_onnx

SIDES = {"SSD": 300, "PicoDet": 160, "FCOS": 128, "TOOD": 128, "GFL": 128, "RetinaNet": 128}
FIXED = ("SSD", "YOLOv3", "PP-YOLOE", "PicoDet", "TOOD")
_FINAL = (
    "head_cls_list", "pred_cls", "retina_cls", "fcos_head_cls", "gfl_head_cls", "tood_cls", "score_convs",
    "yolo_output.", "heatmap.2",
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
    begin_with_zeros = set()
    for _, convolution in convolutions:
        if not float(convolution.weight.abs().max()):  # PP-YOLOE's last ones begin with zeros, and all scores are alike
            convolution.weight.set_value(paddle.normal(0.0, 0.05, convolution.weight.shape))
            begin_with_zeros.add(id(convolution))
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
        deviation = 0.3 if id(layer) in begin_with_zeros else 1.5  # more, and some pictures' scores are all 1
        layer.weight.set_value(layer.weight * (deviation / max(1e-9, *seen[id(layer)], 1e-9)))


def _learn_statistics(layer, inputs):
    layer._mean.set_value(inputs[0].mean([0, 2, 3]))
    layer._variance.set_value(inputs[0].var([0, 2, 3]) + 1e-3)


def rows_of(model, images, scales):
    """PaddleDetection's boxes (M, 6) of each picture, taken one by one."""
    found = []
    with paddle.no_grad():
        for image, scale in zip(images, scales):
            boxes = model(batch_of(image[None], scale[None]))["bbox"].numpy()
            found.append(boxes[(boxes[:, 0] >= 0) & (boxes[:, 1] > 0)])
    return found


def compare(backbone, head, folder):
    """Compares a whole detector with PaddleDetection's own, on both engines, one picture and four."""
    side = SIDES.get(head, 96)
    sizes = [(side, side)] if head in FIXED else [(side, side), (side, side + 64)]
    model, _ = build(backbone, head, folder, (side, side))
    write_onnx(copy.deepcopy(model), folder / "model.onnx", sizes[0] if len(sizes) == 1 else None)
    to_openvino(folder / "model.onnx", folder / "model.xml")
    rng = np.random.default_rng(0)
    for size in sizes:
        images = rng.normal(size=(4, 3, *size)).astype(np.float32)
        scales = np.float32([[0.5, 0.4], [1, 1], [0.7, 0.9], [2, 1.5]])
        expected = rows_of(model, images, scales)
        assert sum(map(len, expected)) > 20
        for session in (OnnxRuntime(folder / "model.onnx", None), OpenVINO(folder / "model.xml", None)):
            for first, last in ((0, 1), (0, 4)):
                feed = {name: value.numpy() for name, value in batch_of(images[first:last], scales[first:last]).items()}
                found = session({name: feed[name] for name in session.inputs})
                boxes, scores, labels, count = found
                for place, rows in enumerate(expected[first:last]):
                    number = int(count[place])
                    mine = np.column_stack([labels[place], scores[place], boxes[place]])[:number]
                    assert abs(number - len(rows)) <= 2
                    check(rows, mine, number >= boxes.shape[1])
                    check(mine, rows, number >= boxes.shape[1])


def check(expected, found, full):
    """All boxes have a like, but for one in fifty: rounding decides whether an IoU is above the limit."""
    apart = [one for row in expected if (one := alone(row, found, expected[:, 1].min() if full else -1)) is not None]
    assert sum(one > 1e-3 for one in apart) <= max(1, len(expected) // 50), sorted(apart)[-5:]


def alone(row, found, lowest):
    """The difference of a box from the nearest one; None for one of the lowest scores."""
    if row[1] < lowest + 1e-3:
        return None
    try:
        return nearest(row[None], found)
    except RuntimeError:
        return 1.0


if __name__ == "__main__":
    compare(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
