"""Annotation files as people have them: each variant of a clean set gives the right boxes and the right AP."""

import json
import math
from contextlib import contextmanager
from pathlib import Path

import coco_cases
import numpy as np
import pytest

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.core.workspace import create
from ppdet.metrics import COCOMetric

from densebone import UserError
from densebone.datasets.generated import write_coco
from densebone.scripts.options import find_config
from densebone.tasks.detection import config
from densebone.tasks.detection.data import check_data, using
from densebone.tasks.detection.scoring import fast_scores

CONFIG = "smoke_ppyoloe_hardnet39ds_192_10e_sample"


@pytest.fixture(scope="module")
def clean_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean") / "data"
    write_coco(folder, train=5, val=8, size=(96, 160), seed=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def clean(clean_set):
    return {split: truth_of(job_of(clean_set), split) for split in ("train", "val")}


def job_of(folder, *overrides):
    return config.load(find_config(CONFIG), overrides, str(folder))


@contextmanager
def dataset_of(job, part):
    """What PaddleDetection gets for a part."""
    check_data(job, "train")
    with using(job, part):
        dataset = create({"train": "TrainDataset", "val": "EvalDataset"}[part])()
        dataset.data_fields = ["image", "gt_bbox", "gt_class", "is_crowd"]
        dataset.parse_dataset()
        dataset.get_anno()
        yield dataset


def truth_of(job, part):
    """{picture's pixels as a name: {(class, box), ...}} of the records that PaddleDetection gets."""
    with dataset_of(job, part) as dataset:
        return {
            path_of(record): sorted(
                (int(cls), tuple(np.round(box, 2).tolist()))
                for cls, box in zip(record["gt_class"].ravel(), record["gt_bbox"])
            )
            for record in dataset.roidbs
        }


def path_of(record):
    """Which picture of the clean set a record is of: its number there, from its name or its folder's."""
    path = Path(record["im_file"])
    return path.parent.name if path.name == "same.jpg" else path.name


def same_boxes(found, expected):
    if any(len(name) < 6 for name in found):  # the case that puts each picture into a folder of its own, in their order
        expected = {str(number): boxes for number, boxes in enumerate(expected.values())}
    assert list(found) == list(expected)
    for name, boxes in found.items():
        assert [cls for cls, _ in boxes] == [cls for cls, _ in expected[name]]
        np.testing.assert_allclose([box for _, box in boxes], [box for _, box in expected[name]], atol=0.02)


def average_precision(job):
    """AP of one set of detections, made from the truth of the clean set, by PaddleDetection's own metric."""
    with dataset_of(job, "val") as dataset:
        ids = {number: category for category, number in dataset.catid2clsid.items()}
        metric = COCOMetric(dataset.get_anno(), clsid2catid=ids, output_eval=str(dataset.folder))
        for number, record in enumerate(dataset.roidbs):
            boxes = DETECTIONS[number]
            outputs = {"bbox": boxes, "bbox_num": np.array([len(boxes)])}
            metric.update({"im_id": record["im_id"][None]}, outputs)
        metric.accumulate()
        return float(metric.get_results()["bbox"][0])


#: number of a picture -> (M, 6): class, score, corners; most are near an object of the clean set, some mistake it
DETECTIONS: dict = {}


@pytest.fixture(scope="module", autouse=True)
def fixed_detections(clean):
    rng = np.random.default_rng(3)
    for number, boxes in enumerate(clean["val"].values()):
        rows = []
        for cls, box in boxes:
            wrong = rng.random() < 0.2
            label = (cls + 1) % 4 if wrong else cls
            rows.append([label, rng.uniform(0.3, 1), *(np.array(box) + rng.normal(0, 2.5, 4))])
        rows.append([rng.integers(4), rng.uniform(0, 0.5), 10, 10, 40, 40])
        DETECTIONS[number] = np.array(rows, np.float32)


@pytest.fixture(scope="module")
def clean_ap(clean_set, clean):
    return average_precision(job_of(clean_set))


@pytest.mark.parametrize("name", coco_cases.CASES)
def test_case(name, clean_set, clean, clean_ap, tmp_path):
    _, right, says = coco_cases.CASES[name]
    folder = coco_cases.write(clean_set, tmp_path / "data", name)
    job = job_of(folder)
    if isinstance(right, tuple):
        with pytest.raises(UserError, match=right[1]) as caught:
            check_data(job, "train")
            check_data(job, "val")
        assert "\n" not in str(caught.value)
        return
    lines = [line for part in ("train", "val") for line in check_data(job, part).lines()]
    assert says is None or any(says in line for line in lines), lines
    assert all(len(line) < 600 for line in lines)
    if right == "warned":
        return
    same_boxes(truth_of(job, "train"), clean["train"])
    ap = average_precision(job)
    if name == "a_class_is_absent_from_val":
        assert ap == pytest.approx(three_classes(clean_set, tmp_path / "three"), abs=1e-6)
    else:
        same_boxes(truth_of(job, "val"), clean["val"])
        assert ap == pytest.approx(clean_ap, abs=1e-6)
    strict = right == "rest" and name != "a_class_is_absent_from_val"
    drops = [line for line in lines if "left out:" in line]
    assert bool(drops) == strict, lines


def three_classes(clean_set, folder):
    """AP on the clean set, by pycocotools, over the classes that are not the absent one."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(clean_set / "annotations/instances_val2017.json"))
    ids, pictures = truth.getCatIds(), truth.getImgIds()
    rows = [
        {"image_id": picture, "category_id": ids[int(cls)], "score": float(score), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for number, picture in enumerate(pictures)
        for cls, score, x1, y1, x2, y2 in DETECTIONS[number].astype(float)
    ]
    scoring = COCOeval(truth, truth.loadRes(rows), "bbox")
    scoring.params.catIds = [number for number in ids if number != 1]
    scoring.evaluate()
    scoring.accumulate()
    scoring.summarize()
    return scoring.stats[0]


def test_fast_scores_are_those_of_pycocotools(clean_set, clean_ap):
    from pycocotools import cocoeval

    slow = cocoeval.COCOeval
    with fast_scores():
        assert cocoeval.COCOeval is not slow
        assert average_precision(job_of(clean_set)) == clean_ap
    assert cocoeval.COCOeval is slow


def test_records_equal_those_of_the_toolkits_own_reader(clean_set):
    from ppdet.data.source.coco import COCODataSet

    job = job_of(clean_set)
    theirs = COCODataSet(
        str(clean_set),
        "train2017",
        "annotations/instances_train2017.json",
        ["image", "gt_bbox", "gt_class", "is_crowd"],
    )
    theirs.parse_dataset()
    with dataset_of(job, "train") as dataset:
        assert len(dataset.roidbs) == len(theirs.roidbs) == 5
        for ours, other in zip(dataset.roidbs, theirs.roidbs):
            assert sorted(ours) == sorted(other)
            for key, value in other.items():
                np.testing.assert_array_equal(ours[key], value)
                assert np.asarray(ours[key]).dtype == np.asarray(value).dtype
        assert dataset.catid2clsid == theirs.catid2clsid and dataset.cname2cid == theirs.cname2cid


def test_every_kind_is_counted_and_shown_by_three_examples(clean_set, tmp_path):
    folder = coco_cases.write(clean_set, tmp_path / "data", "boxes_not_of_numbers")
    (line,) = [line for line in check_data(job_of(folder), "val").lines() if "left out" in line]
    assert line.startswith("EvalDataset: boxes that are not four numbers, left out: 9 (annotation 1000")
    assert line.endswith(", ...)") and line.count("annotation") == 3


def test_a_sample_of_the_pictures_is_scored_on_its_own_truth(clean_set):
    job = job_of(clean_set)
    job.cfg["EvalDataset"]["sample_num"] = 3
    with dataset_of(job, "val") as dataset:
        taken = {int(record["im_id"][0]) for record in dataset.roidbs}
        with open(dataset.get_anno(), encoding="utf-8") as stream:
            content = json.load(stream)
    assert len(taken) == 3 and {row["id"] for row in content["images"]} == taken
    assert {row["image_id"] for row in content["annotations"]} <= taken


@pytest.mark.parametrize(("keep_ratio", "alone"), [(True, True), (False, False)])
def test_pictures_that_a_batch_would_pad_are_evaluated_one_by_one(clean_set, capsys, keep_ratio, alone):
    resize = f"EvalReader.sample_transforms.1.Resize.keep_ratio={str(keep_ratio).lower()}"
    job = job_of(clean_set, resize, "EvalReader.batch_transforms=[{PadBatch: {pad_to_stride: 32}}]")
    with using(job, "val"):
        assert job.cfg["EvalReader"]["batch_size"] == (1 if alone else 8)
    assert job.cfg["EvalReader"]["batch_size"] == 8
    assert ("they are evaluated one by one" in capsys.readouterr().err) == alone


def test_a_strict_job_stops(clean_set, densebone, tmp_path):
    folder = coco_cases.write(clean_set, tmp_path / "data", "boxes_without_size")
    done = densebone("train", "-c", CONFIG, "--data", folder, "--strict", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(
        "densebone: TrainDataset: boxes of zero or negative size, left out: 6 ("
    )
    assert not (tmp_path / "output").exists()


def test_what_the_check_writes_is_strict_json(clean_set, tmp_path):
    folder = coco_cases.write(clean_set, tmp_path / "data", "boxes_not_of_numbers")
    with dataset_of(job_of(folder), "val") as dataset:
        with open(dataset.get_anno(), encoding="utf-8") as stream:
            content = json.load(stream, parse_constant=lambda name: pytest.fail(name))
        assert all(math.isfinite(value) for row in content["annotations"] for value in row["bbox"])


def test_weights_without_names_have_the_classes_that_training_counts(clean_set, tmp_path):
    """One class too many without a box, and another that the evaluation lacks: the others keep their places."""
    folder = coco_cases.write(clean_set, tmp_path / "data", "a_background_that_is_no_class")
    file = folder / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"] = [row for row in content["annotations"] if row["category_id"] != 1]
    file.write_text(json.dumps(content))
    job = job_of(folder)  # of which nothing is known but the configuration and the data
    check_data(job, "val")
    (found, _) = job.checked["val"]
    assert found.classes == ["circle", "square", "triangle", "star"] and 0 not in found.label
