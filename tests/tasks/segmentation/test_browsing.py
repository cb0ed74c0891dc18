"""The classes on the sheet lie where the label has them, and the picture is the one that the network gets."""

import numpy as np
import pytest

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")
import tiny_segmentation
from PIL import Image

from densebone.tasks.segmentation import browsing, config
from densebone.tasks.segmentation.batches import SeededDataset


@pytest.fixture
def job(tmp_path):
    tiny_segmentation.write_set(tmp_path / "data")
    return config.load(tiny_segmentation.write_config(tmp_path / "a.yml", tmp_path / "data"))


def test_normalisation_is_undone_to_the_pixel(job, tmp_path):
    job.dic["train_dataset"]["transforms"] = [{"type": "Normalize", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}]
    dataset = SeededDataset(job.builder.train_dataset, 0)
    image = browsing._pixels(dataset[0, 1]["img"], dataset.dataset.transforms.transforms)
    assert np.array_equal(image, np.array(Image.open(tmp_path / "data" / "images" / "1.jpg")))


def test_one_channel_becomes_three():
    image = browsing._pixels(np.arange(6, dtype="float32").reshape(1, 2, 3), [])
    assert image.shape == (2, 3, 3) and image[1, 2].tolist() == [5, 5, 5]


def test_classes_lie_on_the_picture(job, monkeypatch):
    drawn = []

    def keep(picture, labels, names, colours, **options):
        drawn.append((np.asarray(picture).astype(int), labels, options["ignore_index"]))
        return picture

    monkeypatch.setattr(browsing, "draw_labels", keep)
    titles = [title for _, title in browsing.samples(job, 7, 5, 128)]
    assert len(drawn) == 7
    assert sorted(titles[:3]) == sorted(titles[3:6]) == [f"{number}.jpg 64x32" for number in range(3)]
    agree = []
    for image, labels, ignore_index in drawn:
        assert labels.shape == image.shape[:2] == (64, 128)
        known = labels != ignore_index
        # the pictures are 50 times the class, and up to 50 more
        agree.append((np.abs(image.mean(2) - 25 - 50 * labels.astype(int)) < 40)[known].mean())
    assert min(agree) > 0.9, agree


def test_the_seed_decides(job):
    first, again, other = ([np.array(p) for p, _ in browsing.samples(job, 3, seed, 64)] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and (a == b).all() for a, b in zip(first, other, strict=True))
