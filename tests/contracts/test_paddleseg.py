"""What a user of PaddleSeg expects of a backbone for DeepLab and PSPNet: maps at stride 8, and training that learns."""

import json

import pytest
import tiny_segmentation
import yaml

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from densebone.tasks.segmentation import config, training

HEADS = {
    "DeepLabV3P": {"backbone_indices": [0, 3], "aspp_ratios": [1, 12, 24, 36], "aspp_out_channels": 256},
    "PSPNet": {"backbone_indices": [2, 3], "pp_out_channels": 64, "enable_auxiliary_loss": False},
}


@pytest.mark.parametrize(
    ("head", "backbone"),
    [
        *(("DeepLabV3P", backbone) for backbone in ("HarDNet39DS", "PeleeNet", "CondenseNetV2A")),
        ("PSPNet", "HarDNet39DS"),
        *(pytest.param("PSPNet", name, marks=pytest.mark.acceptance) for name in ("PeleeNet", "CondenseNetV2A")),
    ],
)
def test_training_at_output_stride_8(head, backbone, tmp_path):
    tiny_segmentation.write_set(tmp_path / "set", 4)
    path = tiny_segmentation.write_config(tmp_path / "tiny.yml", tmp_path / "set")
    content = yaml.safe_load(path.read_text())
    content["model"] = {
        "type": head, "num_classes": 4, "backbone": {"type": backbone, "output_stride": 8}, **HEADS[head],
    }  # fmt: skip
    content |= {"iters": 20, "log_iters": 1, "save_dir": str(tmp_path / "output"), "use_gpu": False}
    path.write_text(yaml.safe_dump(content))
    job = config.load(path)
    assert max(job.builder.model.backbone.strides) == 8
    folder = training.train(job, seed=0)
    losses = [json.loads(line)["loss"] for line in (folder / "history.jsonl").read_text().splitlines()]
    print(f"\n{head} on {backbone}: loss {sum(losses[:5]) / 5:.3f} -> {sum(losses[-5:]) / 5:.3f}")
    assert len(losses) == 20 and sum(losses[-5:]) < 0.9 * sum(losses[:5])
