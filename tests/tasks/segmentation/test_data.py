"""Data sets are checked before anything is built on them."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("paddleseg", reason="needs PaddleSeg: pip install densebone[segmentation]")

from tiny_segmentation import write_config, write_set

from densebone import UserError
from densebone.datasets import cityscapes
from densebone.tasks.segmentation import config, data


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "data")


def job_of(root, *overrides):
    return config.load(write_config(root.parent / "tiny.yml", root), overrides)


def refused(root, words, *overrides, part="train"):
    with pytest.raises(UserError, match=words) as caught:
        data.check_data(job_of(root, *overrides), part)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{part}_dataset")


def label(root, values, mode=None, name="labels/1.png"):
    """Replaces a label."""
    Image.fromarray(np.broadcast_to(np.asarray(values), (32, 64)) if np.ndim(values) < 2 else values, mode).save(
        root / name
    )


def test_a_good_set(root):
    job = job_of(root)
    assert data.check_data(job, "train").lines() == data.check_data(job, "val").lines() == []


def test_folders_and_lists(root):
    refused(root, "data set folder gone does not exist; .*--data DIR", "train_dataset.dataset_root=gone")
    refused(root, "train_path is not set", "train_dataset.train_path=null")
    refused(root, "the list of pictures gone.txt does not exist", "val_dataset.val_path=gone.txt", part="val")
    refused(root, "mode is 'train'; evaluation needs", "val_dataset.mode=train", part="val")
    lists = {
        "": "train.txt lists no pictures",
        "images/0.jpg\n": "line 1 of .*train.txt is 'images/0.jpg'; a picture and its label",
        "images/9.jpg labels/0.png\n": "images/9.jpg, in line 1 of .*, does not exist",
        "images/0.jpg labels/9.png\n": "labels/9.png, in line 1 of .*, does not exist",
    }
    for text, words in lists.items():
        (root / "train.txt").write_text(text)
        refused(root, words)
    (root / "train.txt").write_text("images/0.jpg,labels/0.png\n")
    assert data.check_data(job_of(root, "train_dataset.separator=','"), "train").lines() == []


def test_no_evaluation_part(root):
    job = job_of(root)
    del job.dic["val_dataset"]
    with pytest.raises(UserError, match=r"tiny.yml has no val_dataset"):
        data.check_data(job, "val")


GRAY = np.zeros((32, 64), np.uint8)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (Image.new("RGB", (64, 32), (1, 0, 0)), "1.png is in colour .RGB."),
        (Image.new("RGBA", (64, 32)), "1.png is in colour .RGBA."),
        (Image.new("LA", (64, 32)), "1.png is gray with transparency"),
        (Image.fromarray(GRAY.astype(np.uint16) + 300), "1.png is 16-bit or 32-bit and has the value 300"),
        (Image.new("L", (32, 64)), "1.jpg is 64 x 32 pixels, .* and its label .*1.png 32 x 64"),
        (Image.new("L", (64, 32), 7), "1.png has the value 7 in 2048 pixels; allowed are the classes 0 to 3, and 255"),
    ],
)
def test_labels_that_are_refused(picture, words, root):
    picture.save(root / "labels" / "1.png")
    refused(root, words)


def test_a_palette_counts_by_its_indices(root):
    picture = Image.open(root / "labels" / "1.png").convert("L")
    picture.putpalette([0, 0, 0, 255, 0, 0] + [9] * 762)
    assert picture.mode == "P"
    picture.save(root / "labels" / "1.png")
    assert data.check_data(job_of(root), "train").lines() == []
    painted = Image.fromarray(np.full((32, 64), 9, np.uint8))
    painted.putpalette([0] * 768)
    painted.save(root / "labels" / "1.png")
    refused(root, "has the value 9 .*; it has a palette, and the indices of its colours count")


def test_files_that_are_no_pictures(root):
    whole = (root / "images" / "2.jpg").read_bytes()
    (root / "images" / "2.jpg").write_bytes(whole[:-100])
    refused(root, "train_dataset: .*2.jpg: is truncated or damaged")
    (root / "images" / "2.jpg").write_bytes(whole + bytes(100))  # what a camera appends does no harm
    assert data.check_data(job_of(root), "train").lines() == []
    (root / "images" / "2.jpg").write_text("<!DOCTYPE html>")
    refused(root, "2.jpg: is not a picture that Pillow can read")
    Image.new("RGB", (64, 32)).save(root / "images" / "2.jpg", "GIF")
    refused(root, "2.jpg is a GIF, which PaddleSeg does not read")
    (root / "images" / "2.jpg").write_bytes(whole)
    Image.new("L", (64, 32)).save(root / "labels" / "2.png", "JPEG")
    refused(root, "2.png is a JPEG; labels must be stored without loss")


def test_a_photograph_that_is_shown_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(root / "images" / "1.jpg", exif=exif)
    refused(root, "1.jpg is 32 x 64 pixels, as it is shown, and its label .* 64 x 32")


def test_masks_of_0_and_255_and_classes_without_pixels(root):
    for index in range(3):
        label(root, np.where(np.arange(64) < 32, 0, 255).astype(np.uint8), name=f"labels/{index}.png")
    two = ["model.num_classes=2", "train_dataset.num_classes=2", "val_dataset.num_classes=2", "class_names=[road, car]"]
    refused(root, r"class 0 alone, and 255 does not count; .* need label_map: \{0: 0, 255: 1\}", *two)
    job = job_of(root, *two, "label_map={0: 0, 255: car}")
    assert data.check_data(job, "train").lines() == []
    assert sorted(np.unique(data.open_dataset(job, "val")[0]["label"])) == [0, 1]
    drawn = data.in_own_values(job, np.uint8([[0, 1]]))
    assert drawn.tolist() == [[0, 255]]
    for index in range(3):
        label(root, np.uint8(255), name=f"labels/{index}.png")
    refused(root, "every pixel of the labels is 255", *two)


def test_the_labels_that_are_read_are_spread(root, monkeypatch):
    monkeypatch.setattr(data, "LABELS_READ", 2)
    (note,) = data.check_data(job_of(root), "train").lines()
    assert note == "train_dataset: labels whose values were checked, spread evenly over 3: 2"
    label(root, np.uint8(9), name="labels/2.png")
    refused(root, "2.png has the value 9")
    label(root, np.uint8(1), name="labels/2.png")
    label(root, np.uint8(9), name="labels/1.png")  # not among the two; training finds it when it reads it
    dataset = data.open_dataset(job_of(root), "train")
    with pytest.raises(UserError, match=r"train_dataset: .*1.png has the value 9 in 2048 pixels; allowed are"):
        dataset[1]
    refused(root, "1.png has the value 9", part="val")  # of which every label is read


def test_crops_larger_than_every_picture(root):
    crop = "train_dataset.transforms.1.crop_size="
    refused(
        root, r"crop of 256 x 256 is .* is 64 x 32 pixels, 1.5 times that at most, and fills 7 %", crop + "[256, 256]"
    )
    assert data.check_data(job_of(root, crop + "[128, 64]"), "train").lines() == []  # 96 x 48 fill 56 %
    resized = "train_dataset.transforms.0={type: Resize, target_size: [256, 256]}"
    assert data.check_data(job_of(root, resized, crop + "[256, 256]"), "train").lines() == []


def city(folder, names=("a_000000_000001", "a_000000_000002"), kind="labelTrainIds"):
    """A small set in Cityscapes' layout."""
    for name in names:
        image = folder / cityscapes.image_file("train", name)
        target = folder / cityscapes.label_file("train", name, kind)
        for path in (image, target):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 32)).save(image)
        Image.new("L", (64, 32), 3).save(target)
    return folder


def city_job(folder):
    overrides = [
        f"{part}_dataset={{type: Cityscapes, dataset_root: {folder}, mode: {part}, transforms: [{{type: Normalize}}]}}"
        for part in ("train", "val")
    ]
    return config.load(write_config(folder.parent / "tiny.yml", folder), [*overrides, "model.num_classes=19"])


def refused_city(folder, words):
    with pytest.raises(UserError, match=words) as caught:
        data.check_data(city_job(folder), "train")
    assert "\n" not in str(caught.value)


def test_cityscapes(tmp_path):
    folder = city(tmp_path / "city")
    (note,) = data.check_data(city_job(folder), "train").lines()
    assert "classes without a pixel, never learned: 18 (0 road, 1 sidewalk, 2 building, ...)" in note
    with pytest.raises(UserError, match=r"leftImg8bit/val holds no CITY/\*_leftImg8bit.png"):
        data.check_data(city_job(folder), "val")
    labels = sorted((folder / "gtFine").rglob("*.png"))
    ids = labels[1].with_name(labels[1].name.replace("labelTrainIds", "labelIds"))
    labels[1].rename(ids)
    refused_city(folder, f"000002_gtFine_labelIds.png is there .*: densebone prepare cityscapes {folder}")
    ids.unlink()
    refused_city(folder, "a_000000_000002_leftImg8bit.png has no label .*a_000000_000002_gtFine_labelTrainIds.png")


def test_cityscapes_with_a_label_too_many_or_a_folder_too_few(tmp_path):
    folder = city(tmp_path / "city")
    (folder / cityscapes.image_file("train", "a_000000_000001")).unlink()
    refused_city(folder, "000001_gtFine_labelTrainIds.png has no picture .* would pair the pictures after it wrongly")
    for path in sorted((folder / "gtFine").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (folder / "gtFine").rmdir()
    refused_city(folder, "has no folder gtFine; --data DIR names the folder that holds leftImg8bit and gtFine")


def test_a_set_of_paddleseg_in_its_own_layout(root):
    voc = root.parent / "voc"
    block = f"{{type: PascalVOC, dataset_root: {voc}, mode: MODE, transforms: [{{type: Normalize}}]}}"
    overrides = [f"{p}_dataset={block.replace('MODE', p)}" for p in ("train", "val")] + ["model.num_classes=21"]
    voc.mkdir()
    refused(root, "PascalVOC: .*No such file.*train.txt", *overrides)
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (voc / "VOC2012" / name).mkdir(parents=True)
    (voc / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt").write_text("x\n")
    refused(root, "JPEGImages/x.jpg does not exist; PascalVOC expects it", *overrides)
    Image.new("RGB", (64, 32)).save(voc / "VOC2012" / "JPEGImages" / "x.jpg")
    Image.new("L", (64, 32), 30).save(voc / "VOC2012" / "SegmentationClass" / "x.png")
    refused(root, "x.png has the value 30", *overrides)


def test_names_and_colours(root):
    job = job_of(root)
    assert data.class_names(job) == ["class 0", "class 1", "class 2", "class 3"]
    colours = data.palette(job)
    assert colours.shape == (256, 3) and colours.dtype == np.uint8
    assert len(np.unique(colours[:4], axis=0)) == 4 and not colours[4:].any()
    assert data.class_names(job_of(root, "class_names=[a, b, c, 4]")) == ["a", "b", "c", "4"]
    job = city_job(city(root.parent / "city"))
    assert tuple(data.class_names(job)) == cityscapes.CLASS_NAMES
    assert (data.palette(job)[:19] == cityscapes.PALETTE).all() and not data.palette(job)[19:].any()
