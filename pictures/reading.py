"""Reading pictures into arrays, the same way for every command.

A picture is read as it is meant to be seen: upright (EXIF orientation), the first frame of an animation,
8 bits a channel, red-green-blue. Colour profiles are not applied, as the toolkits do not apply them.
"""

import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import UserError

# A small file can claim a size that fills the memory. Camera pictures of 108 million pixels still pass.
MAX_PIXELS = 128_000_000

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", b"P5", b"P6")


def looks_like_a_picture(path):
    """Whether a file begins as JPEG, PNG, BMP, TIFF, WebP or PPM files do: quick, for every picture of a data set."""
    with open(path, "rb") as stream:
        start = stream.read(12)
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _open(path):
    """Open a picture without decoding it; Pillow's warning about large ones is replaced by `_check_size`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _check_size(path, size, min_side):
    """Raise for a size, (width, height) in pixels, that is empty, too large to decode or too small to use."""
    width, height = size
    if width < 1 or height < 1:
        raise UserError(f"{path}: the picture is empty, {width} x {height} pixels; give one that has pixels")
    given = f"{path}: {width} x {height} pixels is too"
    if width * height > MAX_PIXELS:
        raise UserError(f"{given} large, at most {MAX_PIXELS // 10**6} million; make it smaller")
    if min(width, height) < min_side:
        raise UserError(f"{given} small, at least {min_side} each side; give a larger picture")


def _upright(image):
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block, which Pillow reports in many ways, does not spoil the picture
        return image


def _sixteen_to_eight(path, values):
    """(H, W) integers 0..65535 -> uint8, 65535 -> 255."""
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{path}: holds values outside 16 bits; allowed are 8 or 16 bits; convert it")
    return ((values + 128) // 257).astype(np.uint8)


def to_pixels(path, image):
    """A decoded Pillow picture of any mode -> (H, W, 3) uint8, red-green-blue, as its EXIF block says it is held.

    Args:
        path: what errors call it.

    Raises:
        UserError: it holds other values than of 8 or 16 bits.
    """
    image = _upright(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        gray = _sixteen_to_eight(path, np.asarray(image))
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode == "F":
        raise UserError(f"{path}: holds floating point values; allowed are 8 or 16 bits; convert it")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _reason(error):
    """What to tell the user about an exception of Pillow or of the system."""
    if isinstance(error, FileNotFoundError):
        return "does not exist; give a picture file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; give a picture file"
    if isinstance(error, PermissionError):
        return "may not be read by this user; change its permissions"
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large, at most {MAX_PIXELS // 10**6} million pixels; make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture that Pillow can read; give JPEG, PNG, BMP or WebP"
    words = " ".join(str(error).split()) or type(error).__name__
    return f"is truncated or damaged ({words}); fetch the file again"


class _WholePictures:
    """How many threads want Pillow to refuse pictures that are cut short, and what was set before the first did."""

    lock, count, before = threading.Lock(), 0, False


@contextmanager
def whole_pictures():
    """Pillow refuses pictures that are cut short, whatever is set for the process: PaddleDetection has them filled.

    The setting is Pillow's own and for all threads; it returns when the last of them has left.
    """
    with _WholePictures.lock:
        if not _WholePictures.count:
            _WholePictures.before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _WholePictures.count += 1
    try:
        yield
    finally:
        with _WholePictures.lock:
            _WholePictures.count -= 1
            if not _WholePictures.count:
                ImageFile.LOAD_TRUNCATED_IMAGES = _WholePictures.before


def read_image(path, min_side=32):
    """Read one picture completely.

    Gray pictures get three equal channels, palettes are looked up, CMYK and YCbCr are converted without a
    colour profile, transparent pixels are laid over white, 16 bits are scaled to 8 (65535 -> 255). The EXIF
    orientation is applied. Of an animation the first frame is read.

    Args:
        path: the file, str or Path.
        min_side: the smallest width and height accepted, in pixels.

    Returns:
        uint8 array (H, W, 3), red-green-blue, writable.

    Raises:
        UserError: no such file, not a picture, truncated or damaged, empty, smaller than `min_side`, larger
            than `MAX_PIXELS`, or values that are neither 8 nor 16 bits. The line starts with the path.
    """
    path = Path(path)
    try:
        with whole_pictures(), _open(path) as image:
            _check_size(path, image.size, min_side)
            image.load()
            return to_pixels(path, image)
    except UserError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... on damaged data
        raise UserError(f"{path}: {_reason(error)}") from error


def check_images(paths, min_side=32):
    """Decode every picture once and tell the readable ones from the others.

    Args:
        paths: files, as `find_images` returns them.
        min_side: the smallest width and height accepted, in pixels.

    Returns:
        (good, bad): list of Path, and list of (Path, reason in one line); both in the order given.
    """
    good, bad = [], []
    for path in map(Path, paths):
        try:
            read_image(path, min_side)
        except UserError as error:
            bad.append((path, str(error).removeprefix(f"{path}: ")))
        else:
            good.append(path)
    return good, bad
