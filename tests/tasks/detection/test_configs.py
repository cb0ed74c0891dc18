"""Every shipped configuration is read and its detector built, in a process each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone.scripts.options import shipped_configs
from densebone.tasks.detection.heads import unavailable

# Parameters that learn.
PARAMETERS = {
    "centernet_hardnet85_512_300e_coco": 37_274_988,
    "centernet_hardnet85_608_300e_coco": 37_274_988,
    "faster_rcnn_condensenetv2a_fpn_800_12e_coco": 18_040_328,
    "faster_rcnn_condensenetv2b_fpn_800_12e_coco": 18_982_862,
    "faster_rcnn_condensenetv2c_fpn_800_12e_coco": 20_704_480,
    "fcos_hardnet68_fpn_800_12e_coco": 24_920_086,
    "pelee_ssd_304_100k_coco": 5_981_012,
    "pelee_ssd_304_120k_voc": 5_425_892,
    "picodet_peleenet_416_300e_coco": 2_776_056,
    "ppyoloe_hardnet39ds_640_300e_coco": 7_843_608,
    "ppyoloe_plus_hardnet68_640_80e_coco": 21_920_728,
    "ppyoloe_plus_peleenet_640_80e_coco": 7_324_028,
    "retinanet_condensenetv2a_fpn_800_12e_coco": 10_184_476,
    "retinanet_condensenetv2b_fpn_800_12e_coco": 11_116_690,
    "retinanet_condensenetv2c_fpn_800_12e_coco": 12_819_732,
    "retinanet_hardnet68_fpn_800_12e_coco": 26_462_640,
    "rtdetr_hardnet68_640_72e_coco": 35_547_848,
    "smoke_ppyoloe_hardnet39ds_192_10e_sample": 3_942_660,
    "ssd_hardnet39ds_300_150e_coco": 17_132_530,
    "ssd_hardnet68_300_150e_coco": 31_209_650,
    "ssd_hardnet68_512_150e_coco": 25_700_414,
    "ssd_hardnet85_512_150e_coco": 38_782_074,
    "ssd_peleenet_300_150e_coco": 14_432_470,
    "yolov3_hardnet68_608_270e_coco": 37_945_529,
    "yolov3_peleenet_608_270e_coco": 23_297_629,
}
SHIPPED = {name: path for name, path in shipped_configs().items() if path.parent.name == "detection"}


@pytest.fixture(scope="module")
def built():
    script = Path(__file__).parents[2] / "helpers" / "build_detectors.py"
    done = subprocess.run([sys.executable, script, *SHIPPED.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["config"] for row in rows] == list(SHIPPED), done.stderr
    return {row["config"]: row for row in rows}


def test_every_configuration_is_in_the_table():
    assert sorted(PARAMETERS) == sorted(SHIPPED)


@pytest.mark.parametrize("config", PARAMETERS)
def test_the_detector_is_built(config, built):
    why = unavailable("RT-DETR") if config.startswith("rtdetr") else ""
    if why:
        assert (
            "RT-DETR needs a HybridEncoder, which the installed PaddleDetection does not have" in built[config]["error"]
        )
    else:
        assert built[config] == {"config": config, "parameters": PARAMETERS[config]}
