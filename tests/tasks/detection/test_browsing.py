"""The boxes on the sheet lie where the objects are, whatever form the reader gives them."""

import json
from itertools import chain

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("ppdet", reason="needs PaddleDetection: pip install densebone[detection]")

from ppdet.data.reader import TrainReader
from ppdet.data.source.coco import COCODataSet

from densebone.errors import UserError
from densebone.integrations import paddledet  # noqa: F401  (registers transforms)
from densebone.scripts.options import CONFIGS
from densebone.tasks.detection import browsing

# FlipWarpAffine, refused below; transforms that a development checkout has
NOT_HERE = ("centernet_dlafpn", "rtdetr")
SIZE = (160, 120)
OBJECTS = [[20, 30, 60, 40], [70, 20, 50, 80], [40, 50, 90, 30]]  # x, y, width, height


def readers():
    """TrainReader of every shipped file that has one."""
    files = sorted((CONFIGS / "detection").glob("**/*.yml"))
    blocks = {file.stem: yaml.load(file.read_text(), Loader=yaml.Loader).get("TrainReader") for file in files}
    wanted = {name: block for name, block in blocks.items() if block and name not in NOT_HERE}
    return {name: block for name, block in wanted.items() if "batch_size" in block}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """White rectangles, one on each dark green picture."""
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "train2017").mkdir()
    images, annotations = [], []
    for number, (x, y, w, h) in enumerate(OBJECTS):
        pixels = np.full((SIZE[1], SIZE[0], 3), (0, 90, 0), np.uint8)
        pixels[y : y + h, x : x + w] = 255
        Image.fromarray(pixels).save(folder / "train2017" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        row = {"id": number + 1, "image_id": number, "category_id": 2 - number % 2, "bbox": [x, y, w, h]}
        annotations.append({**row, "area": w * h, "iscrowd": 0})
    categories = [{"id": 1, "name": "odd"}, {"id": 2, "name": "even"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def prepared(block, data, mixed=False):
    """(data set, reader) of a TrainReader block; colours stay, so that the object can be told from the rest."""
    steps = [step for step in block["sample_transforms"] if "RandomDistort" not in step]
    block = {key: value for key, value in block.items() if mixed or key != "mixup_epoch"}
    reader = TrainReader(**{**block, "sample_transforms": steps})
    dataset = COCODataSet(str(data), "train2017", "a.json", ["image", "gt_bbox", "gt_class", "is_crowd"])
    browsing._prepare(dataset, reader)
    return dataset, reader


def white(image):
    """The box around what is white; fills are grey or black."""
    blue = image[..., 2].astype(int)
    rows, columns = np.nonzero(blue > 0.75 * blue.max())
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("name", readers())
def test_boxes_lie_on_the_objects(name, data):
    dataset, reader = prepared(readers()[name], data)
    transforms = browsing._transforms(reader)
    seen = 0
    for seed in range(4):
        np.random.seed(seed)
        for number, sample in zip(range(3), browsing._batch(dataset, reader, range(3)), strict=True):
            image = browsing._pixels(sample["image"], transforms)
            assert image.dtype == np.uint8 and image.shape[2] == 3
            boxes, labels, scores = browsing._boxes(sample["labels"], image, ["odd", "even"], transforms)
            assert scores is None
            assert labels in ([], ["odd" if number % 2 else "even"])
            (height, width), slack = image.shape[:2], 0.03 * max(image.shape)
            box = np.clip(boxes, 0, [width, height, width, height]).reshape(-1)
            if not box.size or min(box[2:] - box[:2]) < 2:  # moved out of the picture
                continue
            seen += 1
            assert np.abs(box - white(image)).max() <= slack, (number, boxes, white(image))
    assert seen >= 8


def test_pictures_that_are_mixed_have_the_boxes_of_both_with_their_weights(data):
    dataset, reader = prepared(readers()["yolov3"], data, mixed=True)
    np.random.seed(3)
    samples = browsing._batch(dataset, reader, [0, 1, 2])
    weights = [s["labels"].scores[s["labels"].boxes[:, 2] > 0] for s in samples]
    assert any(len(w) == 2 and abs(w.sum() - 1) < 1e-5 and w.min() < 1 for w in weights)
    mixed = next(s for s, w in zip(samples, weights) if len(w) == 2)
    image = browsing._pixels(mixed["image"], browsing._transforms(reader))
    _, labels, scores = browsing._boxes(mixed["labels"], image, ["even", "odd"], browsing._transforms(reader))
    assert len(labels) == len(scores) == 2


def test_normalisation_is_undone_to_the_pixel(data):
    steps = [{"Decode": {}}, {"NormalizeImage": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}}, {"Permute": {}}]
    for scaled in (True, False):
        settings = {"mean": [104, 117, 123], "std": [58.8, 58.8, 58.8], "is_scale": False} if not scaled else {}
        steps[1]["NormalizeImage"].update(settings)
        dataset, reader = prepared({"sample_transforms": steps, "batch_size": 1}, data)
        (sample,) = browsing._batch(dataset, reader, [1])
        image = browsing._pixels(sample["image"], browsing._transforms(reader))
        assert np.array_equal(image, np.array(Image.open(data / "train2017" / "1.png")))


def test_batches():
    reader = TrainReader(batch_size=4, shuffle=False)
    assert browsing._batches(3, 7, reader) == [[0, 1, 2, 0], [1, 2, 0]]
    reader.shuffle = True
    batches = browsing._batches(6, 6, reader)
    assert [len(batch) for batch in batches] == [4, 2] and sorted(chain(*batches)) == list(range(6))


def test_a_transform_whose_boxes_cannot_be_followed(data):
    steps = [{"Decode": {}}, {"FlipWarpAffine": {}}]
    with pytest.raises(UserError, match="TrainReader has FlipWarpAffine, whose boxes are not in the picture's pixels"):
        prepared({"sample_transforms": steps, "batch_size": 1}, data)


def test_a_picture_that_cannot_be_prepared_is_named(data):
    dataset, reader = prepared({"sample_transforms": [{"Decode": {}}], "batch_size": 1}, data)
    dataset.roidbs[1]["im_file"] = str(data / "gone.png")
    with pytest.raises(UserError, match=r"TrainDataset: cannot prepare gone\.png: "):
        browsing._batch(dataset, reader, [0, 1])
