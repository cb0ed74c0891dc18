"""`densebone data check` finds every planted fault by its name, and nothing else."""

import shutil
from pathlib import Path

import numpy as np
import own_data
import pytest
from PIL import Image

from densebone.datasets import formats, inspection, own

COUNT = 200


def found_in(folder, **options):
    _, found = inspection.inspect(folder, **options)
    return {finding.kind: finding.examples for finding in found}, {finding.kind: finding.level for finding in found}


@pytest.fixture
def voc(tmp_path):
    """A clean set in VOC's layout, without a picture without objects."""
    scenes = own_data.write_scenes(tmp_path / "scenes", train=COUNT - 20, val=20, seed=2)
    data = own.open_data(scenes)
    for content in data.parts.values():
        content.keep_pictures(np.isin(np.arange(len(content.pictures)), content.picture))
        for picture in content.pictures:
            picture.name = Path(picture.name).name
    folder = tmp_path / "voc"
    formats.FORMATS["voc"].write(data.parts, formats.coco.Output(folder, "copy"))
    shutil.rmtree(scenes)
    assert found_in(folder)[0] == {}
    return folder


class Planter:
    """Plants faults in a set of VOC's layout, each in another picture."""

    def __init__(self, folder):
        self.folder = folder
        self.train = iter(sorted((folder / "ImageSets" / "Main" / "train.txt").read_text().split()))
        self.val = iter(sorted((folder / "ImageSets" / "Main" / "val.txt").read_text().split()))

    def next(self, part="train"):
        """(picture, annotation) of another picture."""
        stem = next(self.train if part == "train" else self.val)
        return self.folder / "JPEGImages" / f"{stem}.jpg", self.folder / "Annotations" / f"{stem}.xml"

    def add_box(self, left, top, right, bottom, name="circle"):
        """Adds a box to the annotation of another picture; returns the picture's name."""
        picture, sheet = self.next()
        text = sheet.read_text()
        box = f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"
        entry = f"<object><name>{name}</name><difficult>0</difficult>{box}</object>"
        sheet.write_text(text.replace("</annotation>", f"{entry}</annotation>"))
        return picture.name

    def repaint(self, change, **save):
        """Changes the picture of another entry; returns its name."""
        picture, _ = self.next()
        image = change(Image.open(picture))
        image.save(picture, **save)
        return picture.name


def test_every_planted_fault_of_boxes_and_pictures_is_named(voc):
    plant = Planter(voc)
    planted = {}
    picture, _ = plant.next()
    picture.write_text("no picture")
    planted["files that are no pictures"] = [picture.name]
    picture, _ = plant.next()
    picture.write_bytes(b"")
    planted["files that are no pictures"].append(picture.name)
    picture, _ = plant.next()
    picture.write_bytes(picture.read_bytes()[:-2000])
    planted["pictures that are truncated or damaged"] = [picture.name]
    picture, _ = plant.next()
    picture.unlink()
    planted["pictures of train that are not there"] = [picture.name]
    first, _ = plant.next()
    second, sheet = plant.next()
    shutil.copy(first, second)
    shutil.copy(sheet.with_name(f"{first.stem}.xml"), sheet)
    sheet.write_text(sheet.read_text().replace(first.name, second.name))
    planted["pictures that are there twice (same bytes)"] = [second.name]
    first, sheet = plant.next()
    other, other_sheet = plant.next("val")
    shutil.copy(first, other)
    other_sheet.write_text(sheet.read_text().replace(first.name, other.name))
    planted["pictures that are in several parts (same bytes)"] = [other.name]
    exif = Image.Exif()
    exif[0x0112] = 3
    planted["pictures that EXIF turns or mirrors"] = [plant.repaint(lambda image: image, exif=exif)]
    planted["gray pictures among coloured ones"] = [plant.repaint(lambda image: image.convert("L"))]
    planted["pictures in other modes than RGB"] = [
        plant.repaint(lambda image: image.convert("CMYK"), format="JPEG"),
        plant.repaint(lambda image: image.convert("RGBA"), format="PNG"),
        plant.repaint(lambda image: image.convert("P"), format="PNG"),
    ]
    deep = plant.repaint(
        lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), format="PNG"
    )
    planted["pictures of 16 bits or more"] = [deep]
    planted["pictures whose names say another format"] = [*planted["pictures in other modes than RGB"][1:], deep]
    planted["pictures that the toolkits do not read"] = [
        plant.repaint(lambda image: image.convert("RGB"), format="GIF")
    ]
    planted["pictures in other modes than RGB"].append(planted["pictures that the toolkits do not read"][0])
    planted["boxes outside their pictures"] = [plant.add_box(2000, 2000, 2050, 2050)]
    planted["boxes of zero or negative size"] = [plant.add_box(30, 30, 30, 60), plant.add_box(50, 50, 20, 70)]
    planted["boxes that reach beyond their pictures"] = [plant.add_box(20, 20, 90, 360)]
    planted["boxes of less than 4 pixels"] = [plant.add_box(30, 30, 33, 32)]
    planted["boxes that are not four numbers"] = [plant.add_box("x", 30, 33, 32)]
    picture, sheet = plant.next()
    text = sheet.read_text()
    entry = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    sheet.write_text(text.replace("</annotation>", f"{entry}</annotation>"))
    planted["boxes that are there twice"] = [picture.name]
    picture, sheet = plant.next()
    text = sheet.read_text()
    sheet.write_text(text[: text.index("<object>")] + "</annotation>")
    planted["pictures of train without an object"] = [picture.name]
    picture, sheet = plant.next()
    sheet.unlink()
    planted["pictures without an annotation"] = [picture.name]
    lists = voc / "ImageSets" / "Main" / "train.txt"
    lists.write_text(lists.read_text().replace(f"{picture.stem}\n", ""))
    picture, sheet = plant.next()
    sheet.write_text("<annotation><object>")
    planted["annotations that cannot be read"] = [sheet.name]
    planted["pictures without an annotation"].append(picture.name)
    planted["class names that differ in upper and lower case alone"] = [
        "circle",
        plant.add_box(10, 10, 60, 60, "Circle") and "Circle",
    ]
    planted["classes out of balance"] = ["Circle 1"]
    picture, sheet = plant.next()
    sheet.write_text(sheet.read_text().replace("<width>", "<width>1"))
    planted["pictures of another size than their annotation says"] = [picture.name]
    small, sheet = plant.next()
    Image.open(small).resize((24, 20)).save(small)
    sheet.write_text(sheet.read_text().replace("<size>", "<old>").replace("</size>", "</old>"))
    planted["pictures with a side below 32 pixels"] = [small.name]
    found, levels = found_in(voc)
    for kind, names in planted.items():
        assert kind in found, kind
        for name in names:
            assert any(name in example for example in found[kind]), (kind, name, found[kind])
    # nothing else: the shrunken picture's boxes lie outside it, as they were drawn on the large one
    assert set(found) == set(planted)
    for kind, names in planted.items():
        rest = [e for e in found[kind] if not any(name in e for name in names) and small.name not in e]
        assert rest == [], (kind, rest)
    assert levels["pictures that are truncated or damaged"] == "stops"


def test_label_pictures(tmp_path):
    folder = own_data.write_masks(own_data.write_scenes(tmp_path / "scenes", train=20, val=10), tmp_path / "set")
    assert found_in(folder)[0] == {}
    masks = sorted((folder / "masks").iterdir())
    values = np.asarray(Image.open(masks[0])).copy()
    values[:3] = 77
    Image.fromarray(values).save(masks[0])
    Image.open(masks[1]).resize((40, 40)).save(masks[1])
    masks[2].write_bytes(masks[2].read_bytes()[:60])
    Image.fromarray(np.full_like(np.asarray(Image.open(masks[3])), 255)).save(masks[3])
    masks[4].unlink()
    (folder / "images" / f"{masks[5].stem}.jpg").unlink()
    found, levels = found_in(folder)
    expected = {
        "label values outside the classes": masks[0].name,
        "label pictures of another size than their picture": masks[1].name,
        "label pictures that are damaged": masks[2].name,
        "label pictures without a pixel that counts": masks[3].name,
        "pictures without a label picture": masks[4].stem,
        "label pictures without a picture": masks[5].name,
    }
    assert set(found) == set(expected)
    for kind, name in expected.items():
        assert len(found[kind]) == 1 and name in found[kind][0]
    assert levels["label values outside the classes"] == "stops"


def test_folders_of_classes(tmp_path):
    folder = own_data.write_classes(tmp_path / "pets", count=101, classes=("cat", "dog"))
    (folder / "none").mkdir()
    assert found_in(folder) == ({"classes without a picture": ("none",)}, {"classes without a picture": "used"})
    for file in sorted((folder / "dog").iterdir())[1:]:
        file.unlink()
    assert found_in(folder)[0]["classes out of balance"] == ("dog has 1 pictures",)
    shutil.copy(folder / "cat" / "0.png", folder / "cat" / "copy.png")
    assert found_in(folder)[0]["pictures that are there twice (same bytes)"] == ("cat/0.png = cat/copy.png",)


def test_annotations_of_yolo_that_cannot_be_read_are_all_named(tmp_path):
    folder = own_data.write_as("yolo", own_data.write_scenes(tmp_path / "c"), tmp_path / "yolo")
    labels = sorted((folder / "labels" / "train").iterdir())
    labels[0].write_text("9 0.5 0.5 0.1 0.1\n0 0.5\n")
    found, _ = found_in(folder)
    assert len(found["annotations that cannot be read"]) == 2
