"""Detectors learn eight photographs by heart from random weights, each through `densebone train`.

Minutes each on two idle cores, so asked for by name, with a folder in COCO's layout; curves and pictures stay in NEW:

    DENSEBONE_COCO=FOLDER python -m pytest tests/detection/test_overfitting.py -m acceptance -s --basetemp NEW
"""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

PICTURES = 8
ENOUGH = 0.8  # mAP@0.5


def subset(source, target):
    """Writes a COCO folder whose training and validation pictures are the same eight, of a few large objects each."""
    content = json.loads((source / "annotations" / "instances_train2017.json").read_text())
    sizes = {image["id"]: image["width"] * image["height"] for image in content["images"]}
    objects = {key: [] for key in sizes}
    for row in content["annotations"]:
        objects[row["image_id"]].append(0 if row["iscrowd"] else row["area"] / sizes[row["image_id"]])
    chosen = [key for key, shares in objects.items() if len(shares) in (1, 2, 3) and min(shares) > 0.03][:PICTURES]
    assert len(chosen) == PICTURES, f"{source} has too few pictures of one to three large objects"
    content["images"] = [image for image in content["images"] if image["id"] in chosen]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in chosen]
    (target / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        (target / part).mkdir()
        for image in content["images"]:
            (target / part / image["file_name"]).symlink_to(source / "train2017" / image["file_name"])
        (target / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def schedule(epochs, rate):
    """Overrides for Adam with decoupled weight decay, a cosine and two epochs of warm-up, evaluated eight times."""
    return [
        f"epoch={epochs}",
        f"snapshot_epoch={epochs // 8}",
        "OptimizerBuilder.optimizer={type: AdamW, weight_decay: 0.0005}",
        "OptimizerBuilder.regularizer=false",
        f"LearningRate.base_lr={rate}",
        f"LearningRate.schedulers=[{{name: CosineDecay, max_epochs: {epochs}}},"
        "{name: LinearWarmup, start_factor: 0.1, epochs: 2}]",
    ]


def augmented(*transforms):
    """An override that leaves mirroring as the only augmentation."""
    return f"TrainReader.sample_transforms=[{', '.join(['{Decode: {}}', '{RandomFlip: {}}', *transforms])}]"


def evaluated_at(size):
    """Overrides for the size of the pictures that are evaluated and predicted."""
    return [f"{reader}Reader.sample_transforms.1.Resize.target_size={size}" for reader in ("Eval", "Test")]


SSD = ["{NormalizeBox: {}}", "{PadBox: {num_max_boxes: 90}}"]
CHW = ["{NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}", "{Permute: {}}"]
DETECTORS = {
    "pelee_ssd_304_100k_coco": [
        augmented("{Resize: {target_size: [304, 304], keep_ratio: false, interp: 1}}", *SSD),
        *schedule(64, 0.001),
    ],
    "ssd_hardnet68_300_150e_coco": [  # maps of 20, 10, 5, 3, 2 and 1 cells a side, boxes 160/300 of the shipped sizes
        augmented("{Resize: {target_size: [160, 160], keep_ratio: false, interp: 1}}", *SSD),
        *evaluated_at([160, 160]),
        "SSDFeatures.extra_maps=[[256, 512, 2, 1], [128, 256, 2, 1], [128, 256, 2, 1]]",
        "SSDHead.anchor_generator.steps=[0, 0, 0, 0, 0, 0]",
        "SSDHead.anchor_generator.min_sizes=[11.2, 24, 52.8, 81.6, 110.4, 139.2]",
        "SSDHead.anchor_generator.max_sizes=[24, 52.8, 81.6, 110.4, 139.2, 168]",
        *schedule(48, 0.0005),
    ],
    "ppyoloe_plus_hardnet68_640_80e_coco": [
        augmented(),
        "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[160]",
        *evaluated_at([160, 160]),
        "use_ema=false",  # it averages over thousands of steps
        "PPYOLOEHead.static_assigner_epoch=20",
        *schedule(48, 0.001),
    ],
    "faster_rcnn_condensenetv2a_fpn_800_12e_coco": [
        augmented("{Resize: {target_size: [128, 192], keep_ratio: true, interp: 2}}", *CHW),
        *evaluated_at([128, 192]),
        "BBoxAssigner.batch_size_per_im=64",
        *schedule(56, 0.0005),
    ],
}


@pytest.mark.acceptance
@pytest.mark.parametrize("config", DETECTORS)
def test_eight_pictures_are_learned_by_heart(config, densebone, tmp_path):
    if "DENSEBONE_COCO" not in os.environ:
        pytest.skip("set DENSEBONE_COCO to a folder in COCO's layout with 50 training pictures")
    source, data = Path(os.environ["DENSEBONE_COCO"]).resolve(), tmp_path / "data"
    subset(source, data)
    options = ["worker_num=0", "log_iter=1", "TrainReader.batch_size=4", *DETECTORS[config]]
    common = ["-c", config, "--data", data, "-o", *options]
    done = densebone("train", *common, "--eval", "--seed", 1, cwd=tmp_path, timeout=7200)
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "output" / config
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    scores = [round(row["AP50"], 3) for row in rows if row["kind"] == "eval"]
    final = folder / "model_final"
    evaluated = densebone("eval", *common, "-w", final, cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    score = json.loads((folder / "evaluation.json").read_text())["AP50"]
    print(f"\n{config}: loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps; mAP@0.5 {scores}, {score:.3f}")
    assert Image.open(folder / "curves.png").size[0] > 100
    predicted = densebone("predict", *common, "-w", final, "-t", 0.4, "-O", "pictures", data / "val2017", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert score >= ENOUGH
