"""Finding pictures and reading them into arrays, the same way for features, classification and predict.

A picture is read as it is meant to be seen: upright (EXIF orientation), the first frame of an animation,
8 bits a channel, red-green-blue. Colour profiles are not applied, as the toolkits do not apply them.
"""

import glob
import os
import threading
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from densebone.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

# A small file can claim a size that fills the memory. Camera pictures of 108 million pixels still pass.
MAX_PIXELS = 128_000_000

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", b"P5", b"P6")


def _is_picture_name(name):
    """Whether a file of that name is taken from a folder; hidden files (`._a.jpg` of macOS) are not."""
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _walk(folder):
    """All pictures below `folder`, sorted; links to folders are followed, each real folder once.

    Hidden folders, such as `.thumbnails` and `.ipynb_checkpoints`, are left out.
    """
    found, visited = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if _is_picture_name(name)]
    return sorted(found)


def _expand(given):
    """The pictures meant by one argument: a file, a folder or a glob pattern."""
    path = Path(given).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := _walk(path):
            return found
        raise UserError(f"no pictures in the folder {path} or below; looked for {' '.join(EXTENSIONS)}")
    if not glob.has_magic(str(given)):
        raise UserError(f"{path} does not exist; give a picture, a folder or a pattern like 'folder/*.jpg'")
    matched = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if found := [match for match in matched if match.is_file() and _is_picture_name(match.name)]:
        return found
    raise UserError(f"the pattern {given} matches no picture; looked for {' '.join(EXTENSIONS)}")


def find_images(paths):
    """List the pictures meant by `paths`; nothing is opened.

    Args:
        paths: a file, a folder (searched with its sub-folders), a glob pattern (`**` allowed), each str or
            Path, or a list of these. Folders and patterns give the files whose extension is in `EXTENSIONS`
            in upper or lower case, sorted, hidden ones left out; a file that is named is taken in any case.

    Returns:
        list of Path, in the order given, each file once.

    Raises:
        UserError: a path does not exist, a folder or a pattern holds no picture, or nothing was given.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise UserError("no pictures were given; give at least one picture, folder or pattern")
    found = {}
    for item in given:
        for path in _expand(item):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


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


def output_names(pictures, folder):
    """The PNG that is drawn for each picture: its place below their common folder, in `folder`; no two alike.

    Args:
        pictures: list of Path, as `find_images` returns them.
        folder: the folder to write to, str or Path.

    Returns:
        list of Path, one for each picture.

    Raises:
        UserError: one of these files is a picture that was given.
    """
    resolved = [path.resolve() for path in pictures]
    root = Path(*_common_parts([parent.parts for parent in {path.parent for path in resolved}]))
    plain = [Path(folder) / path.relative_to(root).with_suffix(".png") for path in resolved]
    count = Counter(plain)
    names = [name if count[name] == 1 else name.with_name(f"{path.name}.png") for name, path in zip(plain, pictures)]
    given = set(resolved)
    for name in names:
        if name.resolve() in given:
            raise UserError(f"{name} is one of the pictures and would be overwritten; give another folder to write to")
    return names


def _common_parts(paths):
    parts = []
    for level in zip(*paths):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return parts


def prepare(image, preprocessing):
    """Turn a picture into what weights were evaluated on: resize, middle crop, values 0..1, minus mean, over std.

    With the backend "pil", sizes are rounded as torchvision rounds them (`Resize`, `CenterCrop`), with "opencv" as
    PaddleClas does (`ResizeImage`, `CropImage`). A picture smaller than the crop is laid on black, in the middle.

    Args:
        image: uint8 array (H, W, 3), red-green-blue, as `read_image` returns it.
        preprocessing: `weights.catalog.Preprocessing`, or anything with its attributes.

    Returns:
        float32 array (3, H, W), contiguous, channels in the order of `preprocessing.channels`.

    Raises:
        UserError: resized, the picture would have more than `MAX_PIXELS`; OpenCV is needed and not installed.
    """
    image = resize_and_crop(image, preprocessing)
    return normalize(image, preprocessing.channels, preprocessing.mean, preprocessing.std)


def resize_and_crop(image, preprocessing):
    """The part of `prepare` that moves pixels: uint8 (H, W, 3) -> uint8 (H, W, 3)."""
    towards_even = preprocessing.backend == "pil"
    if preprocessing.resize is not None:
        image = _resized(image, preprocessing)
    if preprocessing.crop is not None:
        image = _middle(image, preprocessing.crop, towards_even)
    return image


def normalize(image, channels, mean, std):
    """uint8 (H, W, 3), red-green-blue -> float32 (3, H, W): values 0..1, minus `mean`, over `std`.

    Args:
        image: the picture.
        channels (str): "rgb" or "bgr", the order of the result and of the two lists.
        mean, std (list of float): one value for each channel.
    """
    values = image.astype(np.float32) / np.float32(255)
    if channels == "bgr":
        values = values[..., ::-1]
    values = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _resized(image, preprocessing):
    width, height = _new_size(image.shape[1], image.shape[0], preprocessing)
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{image.shape[1]} x {image.shape[0]} pixels become {width} x {height} when the shorter side is resized to "
            f"{preprocessing.resize}, at most {MAX_PIXELS // 10**6} million pixels; crop the picture"
        )
    if preprocessing.backend == "pil":
        method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(image).resize((width, height), method[preprocessing.interpolation]))
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"these pictures are resized with OpenCV, which cannot be imported ({error}); pip install opencv-python"
        ) from error
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    return cv2.resize(image, (width, height), interpolation=method[preprocessing.interpolation])


def _new_size(width, height, preprocessing):
    """(width, height) after resizing, in pixels."""
    side = preprocessing.resize
    if isinstance(side, (list, tuple)):
        return tuple(side)
    short, long = min(width, height), max(width, height)
    other = int(side * long / short) if preprocessing.backend == "pil" else round(long * (side / short))
    return (side, other) if width <= height else (other, side)


def _middle(image, side, towards_even):
    """The middle `side` x `side` pixels, with black around them where there are fewer.

    Where the two margins differ by one pixel, `towards_even` makes the first the even number, else it is the smaller.
    """
    missing = [max(side - length, 0) for length in image.shape[:2]]
    if any(missing):
        image = np.pad(image, [*((total // 2, total - total // 2) for total in missing), (0, 0)])
    margins = [length - side for length in image.shape[:2]]
    top, left = (round(margin / 2) if towards_even else margin // 2 for margin in margins)
    return image[top : top + side, left : left + side]
