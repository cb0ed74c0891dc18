"""Reading pictures: every format, orientation and kind of damage."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageFile

from densebone.errors import UserError
from densebone.pictures import reading
from densebone.pictures.reading import opencv_reads, read_header, read_image, whole_pictures

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _halves(left=RED, right=BLUE, height=40, width=64):
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2] = left
    pixels[:, width // 2 :] = right
    return pixels


# read_image


def test_rgb_is_exact_and_writable(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(str(tmp_path / "a.png"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)
    read[0, 0] = 0


@pytest.mark.parametrize("extension", ["jpg", "webp", "bmp", "tif", "gif"])
def test_other_formats(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(_halves()).save(path)
    read = read_image(path)
    assert read.shape == (40, 64, 3)
    assert np.abs(read[20, 10].astype(int) - RED).max() <= 10


# EXIF orientation -> where the left (red) half of the stored picture is seen.
SEEN = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}


@pytest.mark.parametrize("orientation", SEEN)
def test_exif_orientation(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(_halves()).save(path, exif=exif, quality=95, subsampling=0)
    read = read_image(path)
    assert read.shape == ((40, 64, 3) if orientation < 5 else (64, 40, 3))
    place = {"left": (20, 4), "right": (20, -4), "top": (4, 20), "bottom": (-4, 20)}[SEEN[orientation]]
    assert np.abs(read[place].astype(int) - RED).max() <= 10


def test_broken_exif_does_not_spoil_the_picture(tmp_path):
    Image.fromarray(_halves()).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").shape == (40, 64, 3)


def test_gray_has_equal_channels(tmp_path):
    gray = np.tile(np.arange(64, dtype=np.uint8) * 4, (40, 1))
    Image.fromarray(gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(gray[..., None], 3, axis=2))


def test_one_bit(tmp_path):
    Image.fromarray(_halves((0, 0, 0), (255, 255, 255))).convert("1").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), _halves((0, 0, 0), (255, 255, 255)))


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path, extension):
    values = np.full((40, 64), 65535, np.uint16)
    values[:, :16], values[:, 16:32], values[:, 32:48] = 0, 257 * 100, 257 * 200 + 128
    path = tmp_path / f"a.{extension}"
    Image.fromarray(values).save(path)
    assert read_image(path)[0, ::16].tolist() == [[0] * 3, [100] * 3, [200] * 3, [255] * 3]


@pytest.mark.parametrize("dtype, words", [(np.float32, "floating point"), (np.int32, "outside 16 bits")])
def test_other_depths_are_refused(tmp_path, dtype, words):
    Image.fromarray(np.full((40, 64), -1, dtype)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif: holds .*{words}"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("extension", ["jpg", "tif"])
def test_cmyk(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(_halves(RED, GREEN)).convert("CMYK").save(path)
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    read = read_image(path).astype(int)
    assert np.abs(read[20, 4] - RED).max() <= 10
    assert np.abs(read[20, -4] - GREEN).max() <= 10


def test_palette(tmp_path):
    Image.fromarray(_halves(RED, GREEN)).quantize(4).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "P"
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), _halves(RED, GREEN))


def test_transparent_pixels_are_white(tmp_path):
    pixels = np.dstack([_halves(), np.full((40, 64), 255, np.uint8)])
    pixels[:20, :, 3], pixels[20:30, :, 3] = 0, 51
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    read = read_image(tmp_path / "rgba.png")
    assert read[[0, 25, 35], 0].tolist() == [[255, 255, 255], [255, 204, 204], [255, 0, 0]]
    palette = Image.fromarray(_halves(RED, GREEN)).quantize(4)
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    assert read_image(tmp_path / "p.png")[0, [0, -1]].tolist() == [[255, 255, 255], list(GREEN)]


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(_halves(colour, colour)) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == list(RED)


def _jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("tolerant", [False, True])
def test_truncated_picture(tmp_path, monkeypatch, tolerant):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)  # PaddleDetection sets it to True
    (tmp_path / "a.jpg").write_bytes(_jpeg()[:-500])
    with pytest.raises(UserError, match=r"a\.jpg: is truncated or damaged .*fetch the file again"):
        read_image(tmp_path / "a.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


def test_truncated_pictures_are_refused_in_every_thread(monkeypatch):
    """A thread that finishes must not turn the setting back while another thread still reads."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    first, second = whole_pictures(), whole_pictures()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    second.__exit__(None, None, None)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_truncated_png(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"not a picture, just text\n", b""])
def test_not_a_picture(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jpg: is not a picture"):
        read_image(tmp_path / "a.jpg")


def test_missing_file_folder_and_permission(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"gone\.jpg: does not exist"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path)

    def refuse(path, formats):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UserError, match="may not be read"):
        read_image(tmp_path / "a.jpg")


def test_smallest_side(tmp_path):
    Image.new("RGB", (200, 31)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: 200 x 31 pixels is too small, at least 32 each side"):
        read_image(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", min_side=31).shape == (31, 200, 3)


def test_empty_picture():
    with pytest.raises(UserError, match="the picture is empty, 0 x 5"):
        reading._check_size("a.png", (0, 5), 1, reading.MAX_PIXELS)


@pytest.mark.filterwarnings("error")
def test_a_pipe_and_a_device_are_no_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.png"):
        for read in (read_image, read_header, opencv_reads):
            with pytest.raises(UserError, match="is a pipe, a device or the like; give a picture file"):
                read(tmp_path / name)


def test_what_opencv_cannot_read_is_told_by_content(tmp_path):
    first, second = Image.new("RGB", (40, 40)), Image.new("RGB", (40, 40), "red")
    first.save(tmp_path / "a.jpg", "GIF")
    first.save(tmp_path / "b.webp", save_all=True, append_images=[second])
    first.save(tmp_path / "c.gif", "PNG")
    assert [opencv_reads(tmp_path / name) for name in ("a.jpg", "b.webp", "c.gif")] == [False, False, True]


def test_bombs_are_refused_before_decoding(tmp_path, monkeypatch):
    Image.new("1", (12000, 11000)).save(tmp_path / "wide.png")  # 132 million pixels in 20 kB
    Image.new("1", (20000, 10000)).save(tmp_path / "huge.png")  # Pillow refuses this one itself
    assert os.path.getsize(tmp_path / "wide.png") < 50_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match="12000 x 11000 pixels is too large, at most 128 million"):
        read_image(tmp_path / "wide.png")
    with pytest.raises(UserError, match="is too large, at most 128 million"):
        read_image(tmp_path / "huge.png")


def test_a_file_is_told_from_a_picture_by_its_first_bytes(tmp_path):
    for suffix in ("jpg", "png", "bmp", "tif", "webp"):
        Image.new("RGB", (40, 40)).save(tmp_path / f"a.{suffix}")
        assert reading.looks_like_a_picture(tmp_path / f"a.{suffix}")
    for content in (b"", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1"):
        (tmp_path / "b.jpg").write_bytes(content)
        assert not reading.looks_like_a_picture(tmp_path / "b.jpg")


def test_a_pipe_or_a_device_does_not_look_like_a_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "dead.jpg").symlink_to("nowhere.jpg")
    assert not any(reading.looks_like_a_picture(path) for path in tmp_path.iterdir())
