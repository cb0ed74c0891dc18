"""Variants of one clean data set in COCO's layout, and what is right for each.

A case changes the content of both annotation files, and may change the folder. It is right that the variant

    "same"           means what the clean set means: the same boxes of the same classes on the same pictures
    "rest"           means what the clean set means without what is left out, which is reported
    ("refused", words)   is refused with one line that holds these words
"""

import gzip
import json
import random
import shutil

from PIL import Image

CASES = {}


def case(right="same", says=None, name=None):
    """Registers change(content, split, folder); `says` is a part of what the report must say."""

    def register(change):
        CASES[name or change.__name__] = (change, right, says)
        return change

    return register


def refused(words):
    return ("refused", words)


@case()
def clean(d, split, folder):
    pass


@case()
def ids_from_zero(d, split, folder):
    for number, row in enumerate(d["annotations"]):
        row["id"] = number


@case()
def ids_anew_in_each_picture(d, split, folder):
    seen = {}
    for row in d["annotations"]:
        row["id"] = seen[row["image_id"]] = seen.get(row["image_id"], 0) + 1


@case()
def all_ids_alike(d, split, folder):
    for row in d["annotations"]:
        row["id"] = 1


@case()
def annotations_without_ids(d, split, folder):
    for row in d["annotations"]:
        del row["id"]


@case()
def classes_reversed_in_val(d, split, folder):
    if split == "val":
        d["categories"].reverse()


@case()
def class_ids_differ_in_val(d, split, folder):
    if split == "val":
        for row in d["categories"]:
            row["id"] = row["id"] * 5 + 2
        for row in d["annotations"]:
            row["category_id"] = row["category_id"] * 5 + 2


@case()
def class_ids_from_zero(d, split, folder):
    places = {row["id"]: place for place, row in enumerate(d["categories"])}
    for row in d["categories"]:
        row["id"] = places[row["id"]]
    for row in d["annotations"]:
        row["category_id"] = places[row["category_id"]]


@case(says="of which there is no box: 1 (unicorn)")
def another_class_in_val_without_boxes(d, split, folder):
    if split == "val":
        d["categories"].insert(0, {"id": 999, "name": "unicorn"})


@case(says="classes without a box, which are passed over: 1 (background)")
def a_background_that_is_no_class(d, split, folder):
    """A class more than the detector has, without a box."""
    d["categories"].insert(0, {"id": 0, "name": "background"})


@case("rest", says="boxes of class 'unicorn', which the network does not know, left out")
def another_class_in_val_with_boxes(d, split, folder):
    if split == "val":
        d["categories"].insert(0, {"id": 999, "name": "unicorn"})
        d["annotations"].append({**d["annotations"][0], "id": 10**6, "category_id": 999, "bbox": [5, 5, 20, 20]})


@case("rest", says="classes without a box, left out of the mean: 1 (circle)")
def a_class_is_absent_from_val(d, split, folder):
    if split == "val":
        d["annotations"] = [row for row in d["annotations"] if row["category_id"] != 1]
        d["categories"] = [row for row in d["categories"] if row["id"] != 1]


@case(says="'CIRCLE' is 'circle'")
def class_names_in_capitals_in_val(d, split, folder):
    if split == "val":
        for row in d["categories"]:
            row["name"] = row["name"].upper()


@case(refused("two categories with the name 'circle'"))
def two_classes_of_one_name(d, split, folder):
    d["categories"][1]["name"] = d["categories"][0]["name"]


@case(refused("none is in both"))
def other_classes_in_val(d, split, folder):
    if split == "val":
        for row in d["categories"]:
            row["name"] += " of another world"


@case(says="listed twice, used once")
def pictures_listed_twice(d, split, folder):
    d["images"] += d["images"][:3]


@case(says="whose boxes are joined")
def one_picture_under_two_ids(d, split, folder):
    first = d["images"][0]
    rows = [row for row in d["annotations"] if row["image_id"] == first["id"]]
    d["images"].append({**first, "id": 777_777})
    rows[-1]["image_id"] = 777_777


@case("rest", says="repeat another one, left out")
def annotations_listed_twice(d, split, folder):
    d["annotations"] += [{**row, "id": row["id"] + 10**6} for row in d["annotations"]]


@case("rest", says="does not list, left out: 2")
def annotations_of_pictures_that_are_not_listed(d, split, folder):
    d["annotations"] += [{**row, "id": 10**6 + row["id"], "image_id": 10**7} for row in d["annotations"][:2]]


@case("rest", says="are not in")
def a_listed_picture_is_absent(d, split, folder):
    d["images"].append({"id": 888_888, "file_name": "gone.jpg", "width": 90, "height": 80})
    d["annotations"].append({**d["annotations"][0], "id": 10**6, "image_id": 888_888, "bbox": [5, 5, 20, 20]})


def without(*keys):
    def change(d, split, folder):
        for row in d["annotations"] + d["images"]:
            for key in keys:
                row.pop(key, None)

    return change


case(name="no_iscrowd")(without("iscrowd"))
case(says="without an area", name="no_area")(without("area"))
case(says="without an area", name="no_area_and_no_masks")(without("area", "segmentation"))
case(says="without width and height", name="no_sizes")(without("width", "height"))
case(says="without", name="nothing_but_boxes")(without("iscrowd", "area", "segmentation", "width", "height"))


@case(says="wrong width or height")
def wrong_sizes(d, split, folder):
    for row in d["images"]:
        row["width"], row["height"] = 1, 7


@case(says="which are scaled")
def boxes_drawn_on_pictures_of_twice_the_size(d, split, folder):
    for row in d["images"]:
        row["width"], row["height"] = 2 * row["width"], 2 * row["height"]
    for row in d["annotations"]:
        row["bbox"] = [2 * value for value in row["bbox"]]


@case()
def ids_of_pictures_are_texts(d, split, folder):
    for row in d["images"]:
        row["id"] = f"picture-{row['id']}"
    for row in d["annotations"]:
        row["image_id"] = f"picture-{row['image_id']}"


@case()
def ids_of_classes_are_texts(d, split, folder):
    for row in d["categories"]:
        row["id"] = str(row["id"])
    for row in d["annotations"]:
        row["category_id"] = str(row["category_id"])


@case()
def ids_of_annotations_point_as_texts(d, split, folder):
    for row in d["annotations"]:
        row["image_id"], row["category_id"] = str(row["image_id"]), str(row["category_id"])


@case()
def ids_have_points(d, split, folder):
    for row in d["annotations"]:
        row["image_id"], row["category_id"] = float(row["image_id"]), float(row["category_id"])
    for row in d["images"] + d["categories"]:
        row["id"] = float(row["id"])


@case()
def numbers_are_texts(d, split, folder):
    for row in d["annotations"]:
        row["bbox"], row["area"], row["iscrowd"] = [str(v) for v in row["bbox"]], str(row["area"]), "0"
    for row in d["images"]:
        row["width"], row["height"] = str(row["width"]), str(row["height"])


def more_boxes(*boxes):
    def change(d, split, folder):
        for picture in random.Random(0).sample(d["images"], 3):
            for box in boxes:
                row = {"image_id": picture["id"], "category_id": 1, "bbox": box, "area": 100, "iscrowd": 0}
                d["annotations"].append({**row, "id": 10**6 + len(d["annotations"])})

    return change


case("rest", says="zero or negative size, left out: 6", name="boxes_without_size")(
    more_boxes([3, 3, 0, 5], [9, 9, 5, -3])
)
case("rest", says="outside their pictures, left out: 6", name="boxes_outside")(
    more_boxes([5000, 3, 20, 20], [-90, -90, 40, 40])
)
case("rest", says="not four numbers, left out: 9", name="boxes_not_of_numbers")(
    more_boxes([float("nan"), 3, 20, 20], [1, 2, 3], None)
)


@case(refused("lie within 0..1"))
def boxes_in_shares(d, split, folder):
    sizes = {row["id"]: (row["width"], row["height"]) for row in d["images"]}
    for row in d["annotations"]:
        x, y, w, h = row["bbox"]
        width, height = sizes[row["image_id"]]
        row["bbox"] = [x / width, y / height, w / width, h / height]


@case("warned", says="look like left, top, right, bottom")
def boxes_as_corners(d, split, folder):
    for row in d["annotations"]:
        x, y, w, h = row["bbox"]
        row["bbox"] = [x, y, x + w, y + h]


@case(refused("nothing to"))
def no_annotations(d, split, folder):
    d["annotations"] = []


@case(refused("nothing to"))
def nothing_but_crowds(d, split, folder):
    for row in d["annotations"]:
        row["iscrowd"] = 1


@case(says="another spelling of their names")
def names_with_backslashes_and_a_drive(d, split, folder):
    for row in d["images"]:
        row["file_name"] = f"D:\\data\\{split}\\{row['file_name']}"


@case(says="another spelling of their names")
def names_with_other_folders(d, split, folder):
    for row in d["images"]:
        row["file_name"] = f"/home/somebody/{row['file_name']}"


@case()
def names_with_the_folder_of_the_set(d, split, folder):
    for row in d["images"]:
        row["file_name"] = f"{split}2017/{row['file_name']}"


@case(says="another spelling of their names")
def names_in_capitals(d, split, folder):
    for row in d["images"]:
        row["file_name"] = row["file_name"].upper()


@case()
def one_name_in_two_folders(d, split, folder):
    pictures = own_pictures(folder, split)
    for number, row in enumerate(d["images"]):
        place = pictures / str(number)
        place.mkdir()
        shutil.move(pictures / row["file_name"], place / "same.jpg")
        row["file_name"] = f"{number}/same.jpg"


@case(says="EXIF turns, whose boxes are turned with them")
def pictures_that_exif_turns(d, split, folder):
    """Stored turned by a quarter, with boxes in the stored frame. As shown, all is as in the clean set."""
    pictures = own_pictures(folder, split)
    sizes = {}
    for row in d["images"]:
        file = pictures / row["file_name"]
        with Image.open(file) as picture:
            stored = picture.transpose(Image.Transpose.ROTATE_90)
            exif = Image.Exif()
            exif[0x0112] = 6  # shown after a turn to the right
            stored.save(file, exif=exif, quality=100, subsampling=0)
        sizes[row["id"]] = row["width"], row["height"]
        row["width"], row["height"] = row["height"], row["width"]
    for row in d["annotations"]:
        x, y, w, h = row["bbox"]
        row["bbox"] = [y, sizes[row["image_id"]][0] - x - w, h, w]


def own_pictures(folder, split):
    """Puts copies in the place of the linked pictures; returns their folder."""
    place = folder / f"{split}2017"
    target = place.resolve()
    place.unlink()
    shutil.copytree(target, place)
    return place


def packed(write):
    def change(d, split, folder):
        d["write"] = write

    return change


case(name="byte_order_mark")(packed(lambda text: ("\ufeff" + text).encode()))
case(name="utf_16")(packed(lambda text: text.encode("utf-16")))
case(name="gzip")(packed(lambda text: gzip.compress(text.encode())))
case(refused("in each line"), name="lines")(packed(lambda text: f"{text}\n{text}".encode()))
case(refused("is not JSON"), name="cut_short")(packed(lambda text: text[: len(text) // 2].encode()))


def write(clean_set, folder, name):
    """Writes a case beside linked pictures; returns the folder."""
    change = CASES[name][0]
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"{split}2017").symlink_to(clean_set / f"{split}2017")
        file = f"annotations/instances_{split}2017.json"
        content = json.loads((clean_set / file).read_text())
        change(content, split, folder)
        pack = content.pop("write", str.encode)
        (folder / file).write_bytes(pack(json.dumps(content)))
    return folder
