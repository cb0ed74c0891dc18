"""VOC annotations as people have them: each variant of a clean set gives the right boxes and the right AP."""

import shutil

import numpy as np
import pytest
import tiny_voc
import voc_cases

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.core.workspace import create
from ppdet.metrics import VOCMetric

from densebone import UserError
from densebone.datasets import voc
from densebone.scripts.options import find_config
from densebone.tasks.detection import config
from densebone.tasks.detection.data import check_data, using

CONFIG = "pelee_ssd_304_120k_voc"
DATASETS = {"train": "TrainDataset", "val": "EvalDataset"}


@pytest.fixture(scope="module")
def clean_set(tmp_path_factory):
    folder = tiny_voc.write(tmp_path_factory.mktemp("clean"))
    voc.write_lists(folder)
    return folder


@pytest.fixture(scope="module")
def clean(clean_set):
    return {part: records_of(job_of(clean_set), part) for part in DATASETS}


def job_of(folder, *overrides):
    return config.load(find_config(CONFIG), overrides, str(folder))


def records_of(job, part):
    """The records that PaddleDetection gets for a part."""
    check_data(job, "train")
    with using(job, part):
        dataset = create(DATASETS[part])()
        dataset.parse_dataset()
        return dataset.roidbs


def average_precision(job, records, tmp_path):
    """mAP of fixed detections by PaddleDetection's metric, on these records."""
    with using(job, "val"):
        metric = VOCMetric(create("EvalDataset")().get_label_list(), class_num=20, output_eval=str(tmp_path))
        for number, record in enumerate(records):
            rng = np.random.default_rng(number)
            boxes = np.array([[11, 0.9, *TRUTH[number][0]], [14, 0.8, *TRUTH[number][1]], [3, 0.7, 1, 1, 30, 30]])
            boxes[:, 2:] += rng.normal(0, 8, (3, 4))
            values = {key: [record[key]] for key in ("gt_bbox", "gt_class", "difficult")}
            values["scale_factor"] = np.ones((1, 2))
            metric.update(values, {"bbox": boxes, "bbox_num": np.array([3])})
        metric.accumulate()
        return metric.get_results()["bbox"][0]


#: the two boxes of each picture of the clean set
TRUTH: list = []


@pytest.mark.parametrize("name", voc_cases.CASES)
def test_case(name, clean_set, clean, tmp_path):
    change, right, says = voc_cases.CASES[name]
    folder = shutil.copytree(clean_set, tmp_path / "data")
    change(folder)
    overrides = ["EvalDataset.label_list=val_labels.txt"] if right == "another order" else []
    job = job_of(folder, *overrides)
    if isinstance(right, tuple):
        with pytest.raises(UserError, match=right[1]) as caught:
            check_data(job, "train")
        assert "\n" not in str(caught.value)
        return
    lines = [line for part in DATASETS for line in check_data(job, part).lines()]
    assert says is None or any(says in line for line in lines), lines
    TRUTH[:] = [record["gt_bbox"] for record in clean["val"]]
    for part in DATASETS:
        found = records_of(job, part)
        assert len(found) == len(clean[part])
        for ours, expected in zip(found, clean[part]):
            for key in ("gt_bbox", "gt_class", "h", "w", "im_id"):
                np.testing.assert_array_equal(ours[key], expected[key])
            flags = expected["difficult"] * (right != "never difficult")
            np.testing.assert_array_equal(ours["difficult"], flags)
    ap = average_precision(job, records_of(job, "val"), tmp_path)
    if right != "never difficult":
        clean_job = job_of(clean_set)
        assert ap == average_precision(clean_job, clean["val"], tmp_path)
    assert 0 < ap <= 1


def test_records_equal_those_of_the_toolkits_own_reader(clean_set, clean):
    from ppdet.data.source.voc import VOCDataSet

    fields = ["image", "gt_bbox", "gt_class", "difficult"]
    for part, file in (("train", "trainval.txt"), ("val", "test.txt")):
        theirs = VOCDataSet(str(clean_set), "", file, fields, label_list="label_list.txt")
        theirs.parse_dataset()
        assert len(clean[part]) == len(theirs.roidbs) > 0
        for ours, other in zip(clean[part], theirs.roidbs):
            assert sorted(ours) == sorted(other)
            for key, value in other.items():
                np.testing.assert_array_equal(ours[key], value)
                assert np.asarray(ours[key]).dtype == np.asarray(value).dtype
