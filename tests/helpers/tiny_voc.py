"""A VOCdevkit of six drawn pictures: a dog is a red rectangle on gray, a person a blue one."""

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"dog": (200, 40, 40), "person": (40, 60, 200)}
SPLITS = {("VOC2007", "trainval"): ("000005", "000007"), ("VOC2012", "trainval"): ("2008_000002", "2008_000003"),
          ("VOC2007", "test"): ("000001", "000002")}  # fmt: skip


def xml(name, size, objects):
    """The text of a VOC annotation; `objects` are (class, difficult, [x1, y1, x2, y2])."""
    rows = "".join(
        f"<object><name>{kind}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        "<bndbox>"
        + "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
        + "</bndbox></object>"
        for kind, difficult, box in objects
    )
    width, height = size
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size>{rows}</annotation>"
    )


def write(folder):
    """Writes FOLDER/VOCdevkit in the layout of the unpacked archives; returns the folder."""
    generator = np.random.default_rng(0)
    for (year, split), names in SPLITS.items():
        root = folder / "VOCdevkit" / year
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            size = tuple(int(side) for side in generator.integers(160, 240, 2))
            picture = Image.new("RGB", size, (120, 120, 120))
            objects = []
            for number, (kind, colour) in enumerate(COLOURS.items()):
                x, y = (int(v) for v in generator.integers(1, 70, 2))
                box = [x, y, x + 60 + 20 * number, y + 70]
                ImageDraw.Draw(picture).rectangle(box, fill=colour)
                objects.append((kind, number, box))
            picture.save(root / "JPEGImages" / f"{name}.jpg")
            (root / "Annotations" / f"{name}.xml").write_text(xml(name, size, objects))
    return folder
