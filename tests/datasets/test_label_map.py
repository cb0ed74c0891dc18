"""label_map: what values and colours of label pictures mean, and the way back."""

import numpy as np
import pytest
from PIL import Image

from densebone.datasets import label_map
from densebone.errors import UserError

NAMES = ["road", "car"]


def parse(settings, names=NAMES, folder=None):
    return label_map.parse(settings, names, 255, folder)


@pytest.mark.parametrize(
    ("settings", "values", "numbers"),
    [
        ({11: "ignore"}, [0, 1, 11, 255], [0, 1, 255, 255]),
        ({0: 0, 255: 1}, [0, 255], [0, 1]),
        ({0: "ignore", 1: "road", 2: "car"}, [0, 1, 2], [255, 0, 1]),
        ({7: "road", "8": "car", 9: None}, [7, 8, 9], [0, 1, 255]),
    ],
)
def test_values(settings, values, numbers, tmp_path):
    mapping = parse(settings)
    Image.fromarray(np.uint8([values])).save(tmp_path / "a.png")
    assert mapping.read(tmp_path / "a.png").tolist() == [numbers]
    back = mapping.write_back(np.uint8([[0, 1]]))
    assert mapping._table[back].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"#800000": "road", "0,128,0": 1, (0, 0, 128): "ignore"},
        {"128 0 0": 0, "#008000": "car", "(0, 0, 128)": "ignore"},
    ],
)
def test_colours(settings, tmp_path):
    mapping = parse(settings)
    colours = np.uint8([[[128, 0, 0], [0, 128, 0], [0, 0, 128]]])
    Image.fromarray(colours).save(tmp_path / "a.png")
    numbers = mapping.read(tmp_path / "a.png")
    assert numbers.tolist() == [[0, 1, 255]]
    assert np.array_equal(mapping.write_back(numbers), colours)
    Image.fromarray(colours).quantize(3).save(tmp_path / "palette.png")
    assert mapping.read(tmp_path / "palette.png").tolist() == [[0, 1, 255]]
    colours[0, 0] = 1
    Image.fromarray(colours).save(tmp_path / "b.png")
    with pytest.raises(
        UserError, match=r"b\.png has the colour #010101 in 1 pixels .1 such colours., which label_map does"
    ):
        mapping.read(tmp_path / "b.png")
    Image.fromarray(colours).save(tmp_path / "c.jpg")
    with pytest.raises(UserError, match=r"c\.jpg is a JPEG; labels must be stored without loss"):
        mapping.read(tmp_path / "c.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "name,value\nvoid,0\nroad,4\ncar,9\n",
        "4;road\n9;car\n0;unlabeled\n",
        "0\tignore\n4\troad\n\n9\tcar\n",
    ],
)
def test_files(text, tmp_path):
    (tmp_path / "classes.csv").write_text(text)
    mapping = parse("classes.csv", folder=tmp_path)
    assert mapping.entries == {0: None, 4: 0, 9: 1}
    assert parse("classes.csv", None, tmp_path).entries == {0: None, 4: 0, 9: 1}
    assert parse(mapping.as_settings(NAMES)).entries == mapping.entries


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({300: 0}, "the key 300; a value of 0 to 255 or a colour"),
        ({"blue": 0}, "the key 'blue'"),
        ({0: "lorry"}, "gives 0 the class 'lorry'; one of road, car, its number or \"ignore\""),
        ({0: 2}, "gives 0 the class 2"),
        ({0: 0, "#000000": 1}, "mixes values and colours"),
        ({}, "mixes values and colours, or is empty"),
        ([1, 2], r"label_map is \[1, 2\]"),
        (True, "label_map is True"),
        ("gone.csv", "gone.csv cannot be read"),
    ],
)
def test_what_is_refused(settings, message, tmp_path):
    with pytest.raises(UserError, match=message):
        parse(settings, folder=tmp_path)


def test_a_file_that_is_no_class_table(tmp_path):
    (tmp_path / "a.csv").write_text("road,1,2\n")
    with pytest.raises(
        UserError, match=r"a.csv is no class table \('road,1,2'\); NAME,R,G,B or VALUE,NAME is expected"
    ):
        parse("a.csv", folder=tmp_path)
    (tmp_path / "b.csv").write_text("1,road\n2,lorry\n")
    with pytest.raises(UserError, match="has the class 'lorry'; class_names are road, car"):
        parse("b.csv", folder=tmp_path)
