"""--epochs, --batch, --lr and --imgsz of a detector, in the shipped configurations."""

import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from densebone import UserError
from densebone.scripts.options import find_config, shipped_configs
from densebone.tasks.detection import config, readers
from densebone.tasks.detection.settings import change, describe, limit_warmup
from densebone.tasks.settings import Settings


def job_of(name, *overrides):
    return config.load(find_config(name), ["use_gpu=false", *overrides])


def changed(name, *overrides, **settings):
    job = job_of(name, *overrides)
    change(job, Settings(**settings))
    return job.cfg


def sizes(cfg, name):
    """Every size that a reader has, in order."""
    found = [*((cfg[name].get("inputs_def") or {}).get("image_shape") or ())][-2:]
    for _, arguments in readers.transforms(cfg, (name,)):
        found += [arguments[key] for key in ("target_size", "input_h", "input_w") if key in arguments]
    return found


def test_the_learning_rate_and_the_batch():
    cfg = changed("ssd_hardnet68_300_150e_coco", lr=0.5, batch=3)
    assert (cfg.LearningRate["base_lr"], cfg.TrainReader["batch_size"], cfg.EvalReader["batch_size"]) == (0.5, 3, 1)
    assert cfg.epoch == 150 and sizes(cfg, "TrainReader") == [[300, 300]]


def test_epochs_scale_milestones_and_keep_their_order():
    cfg = changed("ssd_hardnet68_300_150e_coco", epochs=15)
    assert cfg.epoch == 15 and cfg.LearningRate["schedulers"][0]["milestones"] == [9, 12, 14]
    assert changed("ssd_hardnet68_300_150e_coco", epochs=1).LearningRate["schedulers"][0]["milestones"] == [
        0.6,
        0.8,
        0.9333,
    ]


def test_epochs_scale_the_cosine_the_assigner_and_the_mixing():
    cfg = changed("ppyoloe_hardnet39ds_640_300e_coco", epochs=30)
    assert cfg.LearningRate["schedulers"][0]["max_epochs"] == 36
    assert cfg.PPYOLOEHead["static_assigner_epoch"] == 10
    assert changed("picodet_peleenet_416_300e_coco", epochs=150).PicoHeadV2["static_assigner_epoch"] == 50
    assert changed("yolov3_hardnet68_608_270e_coco", epochs=27).TrainReader["mixup_epoch"] == 25
    cfg = changed("ppyoloe_hardnet39ds_640_300e_coco", "epoch=60", epochs=30)  # an override counts as the configuration
    assert cfg.LearningRate["schedulers"][0]["max_epochs"] == 180


def test_epochs_scale_schedules_that_tags_of_yaml_make(tmp_path):
    (tmp_path / "mine.yml").write_text(
        f"_BASE_: [{find_config('ssd_hardnet68_300_150e_coco')}]\n"
        "LearningRate:\n  schedulers:\n"
        "  - !PiecewiseDecay {gamma: 0.1, milestones: [100, 140]}\n  - !LinearWarmup {steps: 500}\n"
    )
    job = config.load(tmp_path / "mine.yml", ["use_gpu=false"])
    change(job, Settings(epochs=15))
    assert job.cfg.LearningRate["schedulers"][0].milestones == [10, 14]


def test_a_warm_up_is_at_most_a_tenth_of_the_training():
    from ppdet.core.workspace import create

    for overrides, most, expected in (
        (["LearningRate.schedulers.1.epochs=5"], 40, (40, None)),
        (["LearningRate.schedulers.1.epochs=1"], 40, (500, 1)),  # 10 iterations, which is short enough
        (["LearningRate.schedulers.1.epochs=null"], 40, (40, None)),  # PaddleDetection's default of 500 steps
        (["LearningRate.schedulers.1.epochs=5"], 0, (1, None)),
    ):
        job_of("ssd_hardnet68_300_150e_coco", *overrides)
        schedule = create("LearningRate")
        limit_warmup(schedule, most, per_epoch=10)
        assert (schedule.schedulers[1].steps, schedule.schedulers[1].epochs) == expected
        schedule(10)
    job = job_of("ssd_hardnet68_300_150e_coco")
    change(job, Settings(lr=0.1))
    assert not job.short_warmup  # only with other epochs
    change(job, Settings(epochs=3))
    assert job.short_warmup


def test_a_size_is_set_in_all_readers():
    cfg = changed("ppyoloe_hardnet39ds_640_300e_coco", imgsz=(320,))
    assert sizes(cfg, "EvalReader") == [[320, 320]] and sizes(cfg, "TestReader") == [320, 320, [320, 320]]
    assert sizes(cfg, "TrainReader") == [[160, 192, 192, 224, 224, 256, 256, 288, 288, 320, 320, 352, 352, 384, 384]]
    cfg = changed("ppyoloe_hardnet39ds_640_300e_coco", imgsz=(320, 640))
    assert sizes(cfg, "EvalReader") == [[320, 640]]
    assert sizes(cfg, "TrainReader")[0][0] == [160, 320] and sizes(cfg, "TrainReader")[0][-1] == [384, 768]


SHIPPED = [name for name, path in shipped_configs().items() if path.parent.name == "detection"]
# needs a development checkout of PaddleDetection
SHIPPED.remove("rtdetr_hardnet68_640_72e_coco")


@pytest.mark.parametrize("name", SHIPPED)
def test_no_reader_of_a_shipped_configuration_keeps_its_old_size(name):
    cfg = changed(name, imgsz=(352, 384))
    for reader in readers.READERS:
        found = readers.fixed_size({"EvalReader": cfg[reader]})
        several = [a["target_size"] for _, a in readers.transforms(cfg, (reader,)) if len(a.get("target_size", ())) > 2]
        assert found == (352, 384) or (found is None and [352, 384] in several[0]), reader
        assert {*((cfg[reader].get("inputs_def") or {}).get("image_shape") or (384,))} <= {1, 3, 352, 384}


def test_the_size_of_pictures_that_keep_their_proportions_is_the_shorter_side():
    cfg = changed("retinanet_hardnet68_fpn_800_12e_coco", imgsz=(480,))
    assert sizes(cfg, "EvalReader") == sizes(cfg, "TestReader") == [[480, 800]]
    assert sizes(cfg, "TrainReader") == [[[384, 800], [416, 800], [416, 800], [448, 800], [448, 800], [480, 800]]]
    assert sizes(changed("fcos_hardnet68_fpn_800_12e_coco", imgsz=(480,)), "TrainReader") == [[480, 800]]
    assert sizes(changed("retinanet_hardnet68_fpn_800_12e_coco", imgsz=(480, 480)), "EvalReader") == [[480, 480]]


def test_the_size_of_a_transformer_and_of_a_random_method():
    job = job_of("ppyoloe_hardnet39ds_640_300e_coco")
    job.cfg["eval_size"] = [640, 640]
    change(job, Settings(imgsz=(320,)))
    assert job.cfg["eval_size"] == [320, 320]
    cfg = changed("pelee_ssd_304_120k_voc", imgsz=(320,))  # one size, and a random interpolation
    assert sizes(cfg, "TrainReader") == [[320, 320]]


def test_boxes_of_ssd_follow_the_size():
    cfg = changed("ssd_hardnet68_300_150e_coco", imgsz=(320, 320))
    anchors = cfg.SSDHead["anchor_generator"]
    assert anchors["min_sizes"][:2] == pytest.approx([22.4, 48]) and anchors["max_sizes"][-1] == pytest.approx(336)
    assert anchors["steps"] == [0.0] * 6
    with pytest.raises(UserError, match=r"^--imgsz is 256; SSD needs at least 288 pixels$"):
        changed("ssd_hardnet68_300_150e_coco", imgsz=(256,))


def test_what_the_table_says():
    job = job_of("ppyoloe_hardnet39ds_640_300e_coco", "pretrain_weights=mine.pdparams")
    said = describe(job, evaluates=True)
    assert said["classes"] == "80" and said["input"] == "640 x 640, trained at 320 to 768"
    assert said["schedule"] == "0.01, CosineDecay, LinearWarmup" and said["weights"].startswith("mine.pdparams")
