"""Finding pictures, and naming what is drawn for them."""

from pathlib import Path

import pytest

from densebone.errors import UserError
from densebone.pictures.finding import find_images, is_hidden, is_picture_name, output_names


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "name, hidden, taken",
    [
        ("a.jpg", False, True),
        ("a.b.TIFF", False, True),
        ("._a.jpg", True, False),
        (".thumbnails", True, False),
        ("notes.txt", False, False),
        ("jpg", False, False),
    ],
)
def test_which_names_are_pictures(name, hidden, taken):
    assert (is_hidden(name), is_picture_name(name)) == (hidden, taken)


# find_images


def test_folder_is_searched_and_sorted(tmp_path):
    _touch(
        tmp_path,
        "b.JPG",
        "a.png",
        "sub/c.jpeg",
        "sub/deep/d.Webp",
        "notes.txt",
        "._a.png",
        ".thumbnails/e.png",
    )
    found = find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "a.png",
        "b.JPG",
        "sub/c.jpeg",
        "sub/deep/d.Webp",
    ]
    assert find_images(str(tmp_path)) == found


def test_pattern(tmp_path):
    _touch(tmp_path, "b.jpg", "a.jpg", "c.txt", "sub/d.jpg")
    assert find_images(str(tmp_path / "*")) == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert find_images(str(tmp_path / "**" / "*.jpg"))[-1] == tmp_path / "sub" / "d.jpg"


def test_list_keeps_its_order_without_duplicates(tmp_path):
    _touch(tmp_path, "a.jpg", "b.jpg", "scan.dat", "odd[1].png")
    given = [tmp_path / "scan.dat", tmp_path / "b.jpg", tmp_path, str(tmp_path / "odd[1].png")]
    found = find_images(given)
    assert [path.name for path in found] == ["scan.dat", "b.jpg", "a.jpg", "odd[1].png"]


def test_links_to_folders_are_followed_once(tmp_path):
    _touch(tmp_path, "real/a.jpg")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "real")
    assert find_images(tmp_path / "set") == [tmp_path / "set" / "link" / "a.jpg"]


def test_nothing_to_find(tmp_path):
    _touch(tmp_path, "empty/notes.txt")
    with pytest.raises(UserError, match=r"no pictures in the folder .*empty"):
        find_images(tmp_path / "empty")
    with pytest.raises(UserError, match=r"gone\.jpg does not exist; give"):
        find_images([tmp_path / "gone.jpg"])
    with pytest.raises(UserError, match=r"pattern .*\*\.png matches no picture"):
        find_images(str(tmp_path / "*.png"))
    with pytest.raises(UserError, match="no pictures were given"):
        find_images([])


# output_names


def test_names_keep_the_folders_below_the_common_one(tmp_path):
    given = [tmp_path / "a" / "x" / "1.jpg", tmp_path / "a" / "y" / "1.jpg", tmp_path / "a" / "2.PNG"]
    assert output_names(given, "out") == [Path("out/x/1.png"), Path("out/y/1.png"), Path("out/2.png")]
    assert output_names(given[:1], tmp_path / "o") == [tmp_path / "o" / "1.png"]


def test_pictures_that_differ_in_their_ending_keep_it(tmp_path):
    given = [tmp_path / "1.jpg", tmp_path / "1.png", tmp_path / "2.png"]
    assert output_names(given, "out") == [Path("out/1.jpg.png"), Path("out/1.png.png"), Path("out/2.png")]


def test_names_are_unique_after_any_number_of_clashes(tmp_path):
    given = [tmp_path / name for name in ("x.jpg", "x.png", "x.jpg.png", "x.bmp", "x.jpg.jpg", "y.png")]
    names = [path.name for path in output_names(given, "out")]
    assert names == ["x.jpg.png", "x.png.png", "x.jpg.png.png", "x.bmp.png", "x.jpg.jpg.png", "y.png"]
    three = [tmp_path / name for name in ("x.jpg", "x.png", "x.jpg.png")]
    assert [path.name for path in output_names(three, "out")] == ["x.jpg-2.png", "x.png.png", "x.jpg.png"]
    many = [tmp_path / f"{a}.{b}.{c}" for a in "xy" for b in ("jpg", "png", "x") for c in ("jpg", "png", "bmp", "gif")]
    assert len(set(output_names(many, "out"))) == len(many)


def test_two_links_to_one_file_are_two_pictures(tmp_path):
    _touch(tmp_path, "real/a.jpg")
    (tmp_path / "set").mkdir()
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "real" / "a.jpg")
    found = find_images(tmp_path / "set")
    assert [path.name for path in output_names(found, "out")] == ["one.png", "two.png"]
    assert find_images([tmp_path / "set" / "one.jpg", tmp_path / "set" / ".." / "set" / "one.jpg"]) == found[:1]


def test_long_names_are_cut_and_stay_different(tmp_path):
    given = [tmp_path / f"{'a' * 249}{n}.png" for n in "12"] + [tmp_path / ("\u5b57" * 83 + ".png")]
    names = output_names(given, tmp_path / "out")
    assert len(set(names)) == 3 and all(len(str(name.name).encode()) <= 230 for name in names)
    assert all(name.suffix == ".png" for name in names)


def test_a_picture_is_never_the_target(tmp_path):
    given = [tmp_path / "1.jpg", tmp_path / "2.png"]
    assert output_names(given[:1], tmp_path) == [tmp_path / "1.png"]
    with pytest.raises(UserError, match=r"2\.png is one of the pictures and would be overwritten"):
        output_names(given, tmp_path)
