"""HarDNet-SSD512: its configurations, its maps and all of its boxes."""

import numpy as np
import paddle
import pytest
import yaml

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.core.workspace import create
from ppdet.modeling.heads.ssd_head import SSDHead
from ppdet.modeling.layers import AnchorGeneratorSSD, SSDBox

from densebone.integrations import paddledet
from densebone.scripts import main
from densebone.scripts.options import CONFIGS

SIDES = [64, 32, 16, 8, 4, 2, 1]
BOXES = [6, 6, 6, 6, 6, 4, 4]
CHANNELS = {"68": [320, 640, 512, 256, 256, 256, 256], "85": [320, 720, 512, 256, 256, 256, 256]}


def read(name):
    return yaml.load((CONFIGS / "detection" / f"{name}.yml").read_text(), Loader=yaml.Loader)


def features(version):
    """The backbone and the maps as a shipped configuration describes them."""
    content = read(f"ssd_hardnet{version}_512_150e_coco")
    block = content["HarDNetSSDFeatures"]
    name = block.pop("backbone")
    return paddledet.HarDNetSSDFeatures(getattr(paddledet, name)(**content[name]), **block)


@pytest.mark.parametrize("version", CHANNELS)
def test_maps(version):
    net = features(version)
    net.eval()
    with paddle.no_grad():
        maps = net({"image": paddle.rand([1, 3, 276, 276])})
    # 276 -> 138, 69, then 35 with the ceil rule (34 without), then 17
    assert [m.shape[2:] for m in maps] == [[s, s] for s in (35, 17, 9, 5, 3, 2, 1)]
    assert [m.shape[1] for m in maps] == [s.channels for s in net.out_shape] == CHANNELS[version]
    assert [s.stride for s in net.out_shape] == [8, 16, 32, 64, 128, 256, 256]
    kinds = {type(layer).__name__ for layer in net.sublayers()}
    assert "ReLU" in kinds and "ReLU6" not in kinds
    assert net.extra.norm.weight.numpy().tolist() == [20.0] * 320
    bridge = [
        tuple(layer.weight.shape) for layer in net.extra.bridge.sublayers() if isinstance(layer, paddle.nn.Conv2D)
    ]
    assert bridge == {"68": [(640, 640, 3, 3), (640, 640, 1, 1)], "85": [(960, 720, 3, 3), (720, 960, 1, 1)]}[version]


def all_priors():
    """(32756, 4) left, top, right, bottom as parts of the picture, cell after cell, from the SSD paper's formulas."""
    low = [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8]
    high = [51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72]
    rows = []
    for side, count, smallest, largest in zip(SIDES, BOXES, low, high):
        step = 512 / side
        shapes = [(smallest, smallest), ((smallest * largest) ** 0.5,) * 2]
        for ratio in (2, 1 / 2, 3, 1 / 3)[: count - 2]:
            shapes.append((smallest * ratio**0.5, smallest / ratio**0.5))
        for i in range(side):
            for j in range(side):
                x, y = (j + 0.5) * step, (i + 0.5) * step
                rows += [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for w, h in shapes]
    return np.clip(np.array(rows) / 512, 0, 1)


def test_all_priors():
    generator = AnchorGeneratorSSD(**read("_base_/ssd512")["SSDHead"]["anchor_generator"])
    assert generator.num_priors == BOXES
    maps = [paddle.zeros([1, 1, side, side]) for side in SIDES]
    found = [boxes.numpy() for boxes in generator(maps, paddle.zeros([1, 3, 512, 512]))]
    assert [len(boxes) for boxes in found] == [side * side * count for side, count in zip(SIDES, BOXES)]
    expected = all_priors()
    assert len(expected) == 32756
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)


def test_offsets_are_read_and_written_with_variances_of_a_tenth_and_a_fifth():
    from ppdet.modeling.bbox_utils import bbox2delta

    head = SSDHead(anchor_generator=AnchorGeneratorSSD(), loss=create("SSDLoss"))
    prior, truth = np.array([0.2, 0.3, 0.6, 0.5], "float32"), np.array([0.3, 0.2, 0.5, 0.6], "float32")
    offsets = bbox2delta(paddle.to_tensor(prior[None]), paddle.to_tensor(truth[None]), head.loss.prior_box_var)
    # centres are equal; the width is halved, the height doubled
    np.testing.assert_allclose(offsets.numpy()[0], [0, 0, np.log(0.5) / 0.2, np.log(2) / 0.2], atol=1e-5)
    moved = np.array([0.4, -0.7, 1.0, -2.0], "float32")
    scores = [paddle.zeros([1, 1, 3])]
    size, scale = paddle.to_tensor([[1.0, 1.0]]), paddle.to_tensor([[1.0, 1.0]])
    box, _ = SSDBox()(([paddle.to_tensor(moved[None, None])], scores), [paddle.to_tensor(prior[None])], size, scale)
    x, y = 0.4 + 0.1 * 0.4 * 0.4, 0.4 - 0.1 * 0.7 * 0.2
    w, h = 0.4 * np.exp(0.2 * 1.0), 0.2 * np.exp(0.2 * -2.0)
    np.testing.assert_allclose(box.numpy()[0, 0], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5)


def test_two_steps_of_training(densebone, tmp_path):
    """Also that a learning rate, a head and a loss come together; at the smallest side that has room for seven maps."""
    data = tmp_path / "data"
    assert main(["sample-data", "coco", str(data), "--train", "2", "--val", "1"]) == 0
    options = [
        "worker_num=0",
        "epoch=1",
        "log_iter=1",
        "TrainReader.batch_size=1",
        "TrainReader.sample_transforms.5.Resize.target_size=[272,272]",
    ]
    common = ["-c", "ssd_hardnet68_512_150e_coco", "--data", data, "-o", *options]
    done = densebone("train", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "output" / "ssd_hardnet68_512_150e_coco"
    rows = [yaml.safe_load(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 2 and np.isfinite(losses).all()
