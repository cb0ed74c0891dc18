"""Every shipped COCO configuration on real photographs, through the commands.

It takes minutes each, so it is asked for: DENSEBONE_COCO=FOLDER and `-m acceptance`.
"""

import os
from pathlib import Path

import pytest
from detection_life import live

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone.tasks.detection.heads import unavailable

# Small batches and inputs, so that a CPU gets through; what is trained is the shipped configuration.
SSD_300 = ["TrainReader.batch_size=5", "LearningRate.base_lr=0.001"]
SSD_512 = [  # at 272 pixels, the least that seven maps have room in; no score is high after 30 steps
    *SSD_300,
    "TrainReader.sample_transforms.5.Resize.target_size=[272,272]",
    "EvalReader.sample_transforms.1.Resize.target_size=[272,272]",
    "TestReader.sample_transforms.1.Resize.target_size=[272,272]",
    "TestReader.inputs_def.image_shape=[3,272,272]",
]
YOLOV3_192 = [
    "TrainReader.batch_size=5",
    "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[160,192]",
    "EvalReader.sample_transforms.1.Resize.target_size=[192,192]",
    "TestReader.sample_transforms.1.Resize.target_size=[192,192]",
    "TestReader.inputs_def.image_shape=[3,192,192]",
    "LearningRate.schedulers.1.steps=10",
    "BBoxPostProcess.decode.conf_thresh=1.0e-20",  # after 30 steps no score is high
    "BBoxPostProcess.nms.score_threshold=1.0e-20",
]
RETINANET_192 = [
    "TrainReader.batch_size=5",
    "TrainReader.sample_transforms.1.RandomResize.target_size=[[128,192]]",
    "EvalReader.sample_transforms.1.Resize.target_size=[192,256]",
    "TestReader.sample_transforms.1.Resize.target_size=[192,256]",
    "LearningRate.schedulers.1.steps=5",
    "RetinaHead.nms.score_threshold=1.0e-9",  # after 30 steps no score is high
    "TrainReader.shuffle=false",  # its loss follows the batch more than 30 steps move it: the same batches again
]
PELEE_304 = ["TrainReader.batch_size=5", "LearningRate.base_lr=0.001", "LearningRate.schedulers.0.milestones=[2,3]"]
# the same crop of the same pictures in every epoch, or the loss follows them more than 30 steps move it
CENTERNET_128 = [
    "CenterNetHarDNet85.pretrained=null",
    "TrainReader.batch_size=5",
    "TrainReader.shuffle=false",
    "TrainReader.sample_transforms.1.CenterNetStretch.size=[128,128]",
    "TrainReader.sample_transforms.1.CenterNetStretch.random=false",
    "EvalReader.sample_transforms.1.CenterNetStretch.size=[128,128]",
    "TestReader.sample_transforms.1.CenterNetStretch.size=[128,128]",
    "TestReader.inputs_def.image_shape=[3,128,128]",
    "LearningRate.base_lr=0.001",  # the recipe's 0.01 is for 48 pictures a step
]
FASTER_RCNN_192 = [
    "TrainReader.batch_size=5",
    "TrainReader.shuffle=false",
    "TrainReader.sample_transforms.1.RandomResize.target_size=[[128,192]]",
    "EvalReader.sample_transforms.1.Resize.target_size=[192,256]",
    "TestReader.sample_transforms.1.Resize.target_size=[192,256]",
    "LearningRate.base_lr=0.005",  # the recipe's 0.02 is for 16 pictures a step
    "LearningRate.schedulers.1.steps=5",
    "BBoxAssigner.batch_size_per_im=64",
    "BBoxPostProcess.nms.score_threshold=1.0e-9",  # after 30 steps no score is high
]
FCOS_192 = [
    "TrainReader.batch_size=5",
    "TrainReader.shuffle=false",
    "TrainReader.sample_transforms.2.Resize.target_size=[128,192]",
    "EvalReader.sample_transforms.1.Resize.target_size=[192,256]",
    "TestReader.sample_transforms.1.Resize.target_size=[192,256]",
    "LearningRate.schedulers.1.steps=5",
    "FCOSHead.nms.score_threshold=1.0e-9",
]
PPYOLOE_256 = [
    "TrainReader.batch_size=5",
    "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[192,224,256]",
    "EvalReader.sample_transforms.1.Resize.target_size=[256,256]",
    "TestReader.sample_transforms.1.Resize.target_size=[256,256]",
    "TestReader.inputs_def.image_shape=[3,256,256]",
    "LearningRate.base_lr=0.001",  # the recipe's 0.01 is for 64 pictures a step
    "LearningRate.schedulers.1.epochs=1",
]
PICODET_192 = [
    "TrainReader.batch_size=5",
    "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[160,192,224]",
    "EvalReader.sample_transforms.1.Resize.target_size=[192,192]",
    "TestReader.sample_transforms.1.Resize.target_size=[192,192]",
    "TestReader.inputs_def.image_shape=[1,3,192,192]",
    "LearningRate.base_lr=0.01",  # the recipe's 0.24 is for 192 pictures a step
    "LearningRate.schedulers.1.steps=10",
    "PicoHeadV2.nms.score_threshold=1.0e-9",
]
RTDETR_160 = [
    "TrainReader.batch_size=5",
    "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[160]",
    "EvalReader.sample_transforms.1.Resize.target_size=[160,160]",
    "TestReader.sample_transforms.1.Resize.target_size=[160,160]",
    "TestReader.inputs_def.image_shape=[3,160,160]",
    "eval_size=[160,160]",
    "LearningRate.schedulers.1.steps=5",
]
COCO = {
    "centernet_hardnet85_512_300e_coco": CENTERNET_128,
    "centernet_hardnet85_608_300e_coco": CENTERNET_128,
    "pelee_ssd_304_100k_coco": PELEE_304,
    "ssd_hardnet39ds_300_150e_coco": SSD_300,
    "ssd_hardnet68_300_150e_coco": SSD_300,
    "ssd_hardnet68_512_150e_coco": SSD_512,
    "ssd_hardnet85_512_150e_coco": SSD_512,
    "ssd_peleenet_300_150e_coco": SSD_300,
    "yolov3_hardnet68_608_270e_coco": YOLOV3_192,
    "yolov3_peleenet_608_270e_coco": YOLOV3_192,
    "ppyoloe_hardnet39ds_640_300e_coco": PPYOLOE_256,
    "ppyoloe_plus_hardnet68_640_80e_coco": PPYOLOE_256,
    "ppyoloe_plus_peleenet_640_80e_coco": PPYOLOE_256,
    "picodet_peleenet_416_300e_coco": PICODET_192,
    "fcos_hardnet68_fpn_800_12e_coco": FCOS_192,
    "faster_rcnn_condensenetv2a_fpn_800_12e_coco": FASTER_RCNN_192,
    "faster_rcnn_condensenetv2b_fpn_800_12e_coco": FASTER_RCNN_192,
    "faster_rcnn_condensenetv2c_fpn_800_12e_coco": FASTER_RCNN_192,
    "retinanet_condensenetv2a_fpn_800_12e_coco": RETINANET_192,
    "retinanet_condensenetv2b_fpn_800_12e_coco": RETINANET_192,
    "retinanet_hardnet68_fpn_800_12e_coco": RETINANET_192,
    "retinanet_condensenetv2c_fpn_800_12e_coco": RETINANET_192,
    "rtdetr_hardnet68_640_72e_coco": RTDETR_160,
}


@pytest.mark.acceptance
@pytest.mark.parametrize("config", COCO)
def test_coco_configuration_on_photographs(config, densebone, tmp_path):
    if "DENSEBONE_COCO" not in os.environ:
        pytest.skip("set DENSEBONE_COCO to a folder in COCO's layout with 50 training pictures")
    if config.startswith("rtdetr") and (why := unavailable("RT-DETR")):
        pytest.skip(why)
    data = Path(os.environ["DENSEBONE_COCO"]).resolve()
    picture = sorted((data / "val2017").glob("*.jpg"))[0]
    curve, evaluated, exported = live(
        densebone, config, data, tmp_path, ["worker_num=0", *COCO[config]], 3, 30, picture
    )
    first, last = (sum(loss for _, loss in part) / 10 for part in (curve[:10], curve[-10:]))  # an epoch each
    print(f"\n{config}: loss {first:.3f} -> {last:.3f}; {evaluated.splitlines()[-1]}; {exported.splitlines()[-1]}")
    assert last < first
    assert " 0 boxes" not in exported, "nothing was compared"


def test_every_coco_configuration_is_in_the_acceptance_table():
    from densebone.scripts.options import shipped_configs

    assert sorted(COCO) == sorted(name for name in shipped_configs() if name.endswith("_coco"))
