"""Faster R-CNN as one file finds what PaddleDetection's own detector finds."""

import copy

import numpy as np
import paddle
import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")
pytest.importorskip("paddle2onnx")
pytest.importorskip("openvino")

from ppdet.core.workspace import create

from densebone.engines.conversion import to_openvino
from densebone.engines.suppression import OUTPUTS
from densebone.runtime.sessions import open_session
from densebone.tasks.detection import config, heads
from densebone.tasks.detection.exporting import nearest
from densebone.tasks.detection.whole import write_onnx

SETTINGS = ("use_gpu=false", "num_classes=4", "worker_num=0", "BBoxPostProcess.nms.score_threshold=0.6")
ENGINES = ("onnxruntime", "openvino")


def pictures(number, height, width, seed):
    """A batch of `number` blurred pictures, padded at the bottom and at the right."""
    rng = np.random.default_rng(seed)
    image = sum(
        np.kron(rng.standard_normal((number, 3, height // side, width // side)), np.ones((side, side)))
        for side in (32, 16, 8, 4)
    )
    inside = np.stack([rng.integers(height - 24, height, number), rng.integers(width - 24, width, number)], 1)
    for values, (bottom, right) in zip(image, inside):
        values[:, bottom:] = values[:, :, right:] = 0
    scale = rng.uniform(0.4, 1.6, (number, 2))
    batch = {"image": image, "scale_factor": scale, "im_shape": inside}
    return {name: values.astype(np.float32) for name, values in batch.items()}


def boxes_of(model, batch):
    """Of each picture (M, 6), of PaddleDetection's detector."""
    found = []
    for picture in range(len(batch["image"])):
        inputs = {name: paddle.to_tensor(values[picture : picture + 1]) for name, values in batch.items()}
        with paddle.no_grad():
            rows = model(inputs | {"im_id": paddle.to_tensor([[0]])})["bbox"].numpy()
        found.append(rows[rows[:, 0] >= 0])
    return found


def spread(model, layer, deviation, batch):
    """Scales a layer's weight so that its outputs have a standard deviation: random weights make them all alike."""
    kept = []
    hook = layer.register_forward_post_hook(lambda _, __, output: kept.append(output.numpy().ravel()))
    boxes_of(model, batch)
    hook.remove()
    layer.weight.set_value(layer.weight * (deviation / float(np.concatenate(kept).std())))


def detector(backbone, folder, batch):
    """A detector with random weights whose scores differ."""
    heads.prepare()
    path = folder / "detector.yml"
    path.write_text(heads.yaml_of(backbone, "Faster-RCNN"))
    paddle.seed(0)
    model = create(config.load(path, SETTINGS, pretrained=False).cfg.architecture)
    model.eval()
    rpn, head = model.rpn_head, model.bbox_head
    layers = {rpn.rpn_rois_score: 1.5, rpn.rpn_rois_delta: 0.3, head.bbox_score: 1.5, head.bbox_delta: 2.0}
    for layer, deviation in layers.items():
        spread(model, layer, deviation, batch)
    return model


def check(backbone, folder, sizes):
    """Compares the detector with its file on both engines; returns how many boxes there are."""
    batches = [pictures(number, *size, seed) for seed, (number, *size) in enumerate(sizes)]
    model = detector(backbone, folder, batches[0])
    write_onnx(copy.deepcopy(model), folder / "model.onnx", None)
    to_openvino(folder / "model.onnx", folder / "model.xml")
    sessions, counts = [open_session(folder, engine, 2) for engine in ENGINES], []
    for session in sessions:
        assert session.outputs == list(OUTPUTS)
        assert session.inputs == {"image": [None, 3, None, None], "scale_factor": [None, 2], "im_shape": [None, 2]}
    for batch in batches:
        wanted = boxes_of(model, batch)
        counts.extend(map(len, wanted))
        for session in sessions:
            boxes, scores, labels, number = session(batch)
            for picture, expected in enumerate(wanted):
                last = number[picture]
                assert (labels[picture, last:] == -1).all() and (np.diff(scores[picture]) <= 0).all()
                rows = np.column_stack([labels[picture], scores[picture], boxes[picture]])[:last]
                full = last >= boxes.shape[1]
                assert max(nearest(expected, rows, full), nearest(rows, expected, full)) <= 1e-3
    nothing = batches[0] | {"im_shape": np.full_like(batches[0]["im_shape"], 0.5)}
    assert [session(nothing)[3].tolist() for session in sessions] == [[0] * sizes[0][0]] * 2  # no box has a pixel
    return counts


def test_one_file_finds_the_same_boxes(tmp_path):
    counts = check("HarDNet39DS", tmp_path, [(1, 96, 128), (2, 128, 64)])
    assert min(counts) > 10 and len(set(counts)) > 1, counts


@pytest.mark.acceptance
@pytest.mark.parametrize("backbone", ["HarDNet39DS", "PeleeNet", "CondenseNetV2A"])
def test_backbones(backbone, tmp_path):
    """A minute each."""
    counts = check(backbone, tmp_path, [(1, 192, 256), (1, 320, 224), (3, 160, 160)])
    assert min(counts) > 10, counts
