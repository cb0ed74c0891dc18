"""Variants of one clean data set in VOC's layout, and what is right for each, as in coco_cases."""

import re
import shutil

CASES = {}
TRAIN, VAL, LABELS = "trainval.txt", "test.txt", "label_list.txt"


def case(right="same", says=None, name=None):
    """Registers change(folder)."""

    def register(change):
        CASES[name or change.__name__] = (change, right, says)
        return change

    return register


def sheets(folder):
    return sorted(folder.glob("VOCdevkit/*/Annotations/*.xml"))


def rewrite(pattern, new, which=slice(None)):
    """Replaces a pattern in the XML files."""

    def change(folder):
        for file in sheets(folder)[which]:
            file.write_text(re.sub(pattern, new, file.read_text()))

    return change


def relist(change_line):
    """Changes the lines of both lists."""

    def change(folder):
        for name in (TRAIN, VAL):
            file = folder / name
            file.write_text("".join(change_line(line) for line in file.read_text().splitlines()))

    return change


case(name="clean")(lambda folder: None)
case(says="without width and height", name="no_size")(rewrite("<size>.*</size>", ""))
case(says="without width and height", name="size_of_zero")(rewrite("<width>.*?</width>", "<width>0</width>"))
case(says="wrong width or height", name="wrong_size")(rewrite("<width>.*?</width>", "<width>9999</width>"))
case(name="boxes_with_points")(rewrite(r"(\d+)</(x|y)(min|max)>", r"\1.0</\2\3>"))
case(name="no_pose_and_no_truncated")(rewrite("<pose>.*?</truncated>", ""))
case(says="that name another picture", name="another_filename")(
    rewrite("<filename>.*?</filename>", "<filename>from_a_video.jpg</filename>")
)
case(name="no_filename")(rewrite("<filename>.*?</filename>", ""))
case(name="spaces_around_class_names")(rewrite("<name>(.*?)</name>", r"<name> \1\n</name>"))
case(name="class_names_in_capitals")(rewrite("<name>dog</name>", "<name>Dog</name>"))
case(("refused", "has an object 'fox'"), name="an_unknown_class")(rewrite("<name>dog</name>", "<name>fox</name>"))
case(("refused", "has an object ''"), name="a_class_without_name")(rewrite("<name>dog</name>", ""))
case(("refused", "cannot be read as an annotation"), name="cut_short")(rewrite("</annotation>", ""))
case(name="tabs_in_the_lists")(relist(lambda line: line.replace(" ", "\t") + "\n"))
case(name="commas_in_the_lists")(relist(lambda line: line.replace(" ", ", ") + "\n"))
case(name="blank_lines_in_the_lists")(relist(lambda line: f"\n  {line}  \n\n"))
case(name="windows_lines_in_the_lists")(relist(lambda line: line + "\r\n"))
case(("refused", "line 1 is"), name="one_name_in_a_line")(relist(lambda line: line.split()[0] + "\n"))


@case()
def byte_order_marks(folder):
    for name in (TRAIN, VAL, LABELS):
        file = folder / name
        file.write_text("\ufeff" + file.read_text(), encoding="utf-8")
    for file in sheets(folder):
        file.write_text("\ufeff" + file.read_text(), encoding="utf-8")


@case()
def another_encoding(folder):
    for file in sheets(folder):
        text = file.read_text().replace("<pose>", "<pose>caf\xe9 ")
        file.write_bytes(('<?xml version="1.0" encoding="iso-8859-1"?>' + text).encode("latin-1"))


@case()
def names_with_spaces(folder):
    for file in [*sheets(folder), *folder.glob("VOCdevkit/*/JPEGImages/*.jpg")]:
        file.rename(file.with_name(f"my {file.stem} (1){file.suffix}"))
    relist(lambda line: re.sub(r"/(\w+)\.(jpg|xml)", r"/my \1 (1).\2", line) + "\n")(folder)


@case("rest", says="zero or negative size, left out: 4")
def boxes_without_size(folder):
    more(folder, ["5", "5", "5", "9"])


@case("rest", says="outside their pictures, left out: 4")
def boxes_outside(folder):
    more(folder, ["5000", "5", "5020", "9"])


@case("rest", says="not four numbers, left out: 4")
def boxes_not_of_numbers(folder):
    more(folder, ["nan", "5", "", "x"])


@case("rest", says="repeat another one, left out")
def objects_listed_twice(folder):
    rewrite("(<object>.*</object>)", r"\1\1")(folder)


@case("rest", says="annotation does not exist, left out: 1")
def a_picture_without_annotation(folder):
    for name in (TRAIN, VAL):
        first = (folder / name).read_text().split()[0]
        copy = first.replace(".jpg", "_copy.jpg")
        shutil.copy(folder / first, folder / copy)
        with open(folder / name, "a") as stream:
            stream.write(f"{copy} {copy.replace('.jpg', '.xml')}\n")


@case("rest", says="are not in")
def a_picture_is_absent(folder):
    for name in (TRAIN, VAL):
        picture, sheet = (folder / name).read_text().split()[:2]
        copy = sheet.replace(".xml", "_copy.xml")
        shutil.copy(folder / sheet, folder / copy)
        with open(folder / name, "a") as stream:
            stream.write(f"{picture.replace('.jpg', '_copy.jpg')} {copy}\n")


@case()
def blank_lines_after_the_class_names(folder):
    with open(folder / LABELS, "a") as stream:
        stream.write("\n\n")


@case("another order")
def other_order_of_class_names_in_val(folder):
    names = (folder / LABELS).read_text().split()
    (folder / "val_labels.txt").write_text("\n".join(reversed(names)))


@case("never difficult")
def no_difficult(folder):
    rewrite("<difficult>.*?</difficult>", "")(folder)


@case(("refused", "nothing to"))
def no_objects(folder):
    rewrite("<object>.*</object>", "")(folder)


def more(folder, box):
    sides = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
    rewrite("</annotation>", f"<object><name>dog</name><bndbox>{sides}</bndbox></object></annotation>")(folder)
