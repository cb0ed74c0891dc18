"""The data sets of a segmentation job: checks before anything is built on them, class names and colours."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
from paddleseg.cvlibs import manager
from PIL import Image

from ...datasets import cityscapes
from ...errors import UserError
from ...pictures.drawing import class_colours
from ...pictures.reading import looks_like_a_picture, read_image, whole_pictures
from .checks import argument
from .job import Job

# Labels of 2 million pixels take about 20 ms each to read: all of Cityscapes would be a minute before every training.
LABELS_READ = 200
# The picture that fills a training crop best must give this share of its pixels.
LEAST_FILLED = 0.5
# OpenCV reads the pictures. Pillow reads the labels, which must be stored without loss.
_PICTURES = ("JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
_LABELS = ("PNG", "BMP", "TIFF", "GIF", "PPM")
_LAST_BYTES = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_BAD_MODES = {
    "1": "1-bit",
    "I": "16-bit or 32-bit",
    "I;16": "16-bit",
    "I;16B": "16-bit",
    "F": "of floating-point numbers",
    "LA": "gray with transparency",
    "RGB": "in colour (RGB)",
    "RGBA": "in colour (RGBA)",
}


def check_data(job: Job, part: str) -> list[str]:
    """Checks a data set before training or evaluation.

    Every picture and its label must exist, begin as pictures do, be complete and have the same size. A label must be
    8-bit with one channel; a PNG with a palette counts by its indices, as PaddleSeg reads it. In up to LABELS_READ
    labels, spread evenly, every value must be a class or ignore_index. For training, some picture must fill a part of
    the crop. Of data sets whose class in PaddleSeg reads labels in its own way, only the first bytes are checked.

    Args:
        job: from `segmentation.config.load`.
        part: "train" or "val".

    Returns:
        Notes for the user.

    Raises:
        UserError: one line with the name of the file that is wrong.
    """
    name = f"{part}_dataset"
    block = job.dic.get(name)
    if not block:
        raise UserError(f"{job.path} has no {name}; give it the block that says where the pictures are")
    component = manager.DATASETS[block["type"]]
    mode = str(block.get("mode", _default(component, "mode"))).lower()
    if part == "val" and mode.startswith("train"):
        raise UserError(f"{name}.mode is {mode!r}; evaluation needs the pictures of mode val")
    pairs = _pairs(job, name, block, mode)
    if not issubclass(component, manager.DATASETS["Dataset"]) or (
        component.__getitem__ is not manager.DATASETS["Dataset"].__getitem__
    ):
        _check_begin(pairs, name)
        return []
    sizes = [_check_pair(image, label, name) for image, label in pairs]
    if part == "train":
        _check_crop(block.get("transforms") or (), [image for image, _ in pairs], sizes, name)
    return _check_values([label for _, label in pairs], job, name)


def _default(component, name):
    parameter = inspect.signature(component).parameters.get(name)
    return None if parameter is None else parameter.default


def _pairs(job, name, block, mode):
    """Lists (picture, label), two paths that exist."""
    root = block.get("dataset_root")
    if root is not None and not Path(root).is_dir():
        raise UserError(
            f"{name}: data set folder {root} does not exist; put the data there, or say where it is with --data DIR or "
            f"-o {name}.dataset_root=DIR"
        )
    if block["type"] == "Cityscapes":
        return _cityscapes_pairs(Path(root), mode, name)
    if block["type"] == "Dataset":
        return _listed_pairs(block, mode, name)
    try:
        files = getattr(getattr(job.builder, name), "file_list", [])
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except AssertionError as error:  # PaddleSeg: there are none
        raise UserError(f"{name}: {root} holds no pictures in the layout of {block['type']}") from error
    pairs = [(Path(image), Path(label)) for image, label in files if label]
    for path in (path for pair in pairs for path in pair):
        if not path.is_file():
            raise UserError(f"{name}: {path} does not exist; {block['type']} expects it")
    return pairs


def _cityscapes_pairs(root, mode, name):
    for folder in (cityscapes.IMAGES, cityscapes.LABEL_PICTURES):
        if not (root / folder).is_dir():
            raise UserError(
                f"{name}: {root} has no folder {folder}; --data DIR names the folder that holds {cityscapes.IMAGES} "
                f"and {cityscapes.LABEL_PICTURES}"
            )
    images = _frames(root / cityscapes.IMAGES / mode, f"_{cityscapes.IMAGES}.png")
    labels = _frames(root / cityscapes.LABEL_PICTURES / mode, f"_{cityscapes.LABEL_PICTURES}_labelTrainIds.png")
    if not images:
        raise UserError(f"{name}: {root / cityscapes.IMAGES / mode} holds no CITY/*_{cityscapes.IMAGES}.png")
    for frame in images:
        if frame not in labels:
            stem = root / cityscapes.LABEL_PICTURES / mode / f"{frame}_{cityscapes.LABEL_PICTURES}"
            if Path(f"{stem}_labelIds.png").is_file():
                raise UserError(
                    f"{name}: {stem}_labelIds.png is there and {stem.name}_labelTrainIds.png, which training needs, is "
                    f"not; write it with: densebone prepare cityscapes {root}"
                )
            raise UserError(f"{name}: {images[frame]} has no label {stem}_labelTrainIds.png")
    for frame in labels:
        if frame not in images:
            raise UserError(
                f"{name}: {labels[frame]} has no picture {frame}_{cityscapes.IMAGES}.png in "
                f"{root / cityscapes.IMAGES / mode}; PaddleSeg would pair the pictures after it wrongly"
            )
    return [(images[frame], labels[frame]) for frame in images]


def _frames(folder, ending):
    """{"CITY/CITY_SEQUENCE_FRAME": path}, sorted."""
    return {path.relative_to(folder).as_posix()[: -len(ending)]: path for path in sorted(folder.glob(f"*/*{ending}"))}


def _listed_pairs(block, mode, name):
    key, separator, root = f"{mode}_path", block.get("separator", " "), Path(block["dataset_root"])
    if not block.get(key):
        raise UserError(f"{name}: {key} is not set; it names the list of pictures and labels")
    file = Path(block[key])
    if not file.is_file():
        raise UserError(f"{name}: the list of pictures {file} does not exist; set {name}.{key}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: {file} is not text in UTF-8; a list of pictures is expected") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        columns = line.strip().split(separator)
        if len(columns) != 2:
            raise UserError(
                f"{name}: line {number} of {file} is {line!r}; a picture and its label with {separator!r} between them "
                f"are expected"
            )
        pairs.append((root / columns[0], root / columns[1]))
        for path in pairs[-1]:
            if not path.is_file():
                raise UserError(f"{name}: {path}, in line {number} of {file}, does not exist")
    if not pairs:
        raise UserError(f"{name}: {file} lists no pictures")
    return pairs


def _check_begin(pairs, name):
    for path in (path for pair in pairs for path in pair):
        if not looks_like_a_picture(path):
            raise UserError(f"{name}: {path} is not a picture; mend it")


def _check_pair(image, label, name):
    """Checks that a picture and its label fit each other; returns the picture's (width, height)."""
    size, kind, _ = _header(image, name)
    if kind not in _PICTURES:
        raise UserError(f"{name}: {image} is a {kind}, which PaddleSeg does not read; convert it to PNG or JPEG")
    label_size, kind, mode = _header(label, name)
    if kind not in _LABELS:
        raise UserError(f"{name}: {label} is a {kind}; labels must be stored without loss: 8-bit gray PNG")
    if mode not in ("L", "P"):
        raise UserError(
            f"{name}: {label} is {_BAD_MODES.get(mode, f'of mode {mode}')}; labels are 8-bit gray PNG (or PNG with a "
            f"palette), one channel, whose values are the classes"
        )
    if size != label_size:
        raise UserError(
            f"{name}: {image} is {size[0]} x {size[1]} pixels, as it is shown, and its label {label} "
            f"{label_size[0]} x {label_size[1]}; they must be alike"
        )
    return size


def _header(path, name):
    """((width, height) as OpenCV turns it, format, Pillow's mode) of a picture; UserError when it is cut short."""
    try:
        with Image.open(path) as picture:
            size, kind, mode = picture.size, picture.format, picture.mode
            if kind == "JPEG" and picture.getexif().get(0x0112) in _TURNED:
                size = size[::-1]
        if kind in _LAST_BYTES:
            with open(path, "rb") as stream:
                stream.seek(max(0, path.stat().st_size - 64))
                whole = _LAST_BYTES[kind] in stream.read()
            if not whole:  # a camera may append something; such a file can still be read
                read_image(path, min_side=1)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:  # Pillow reports damaged headers in many ways
        raise UserError(
            f"{name}: {path} cannot be read as a picture ({' '.join(str(error).split())}); mend it"
        ) from error
    return size, kind, mode


def _check_crop(transforms, images, sizes, name):
    """Raises UserError when even the picture that fills the crop best leaves more than half of it to padding."""
    largest = 1.0
    for step in transforms:
        if step["type"] == "ResizeStepScaling":
            largest *= argument(step, "max_scale_factor")
        elif step["type"].startswith(("Resize", "LimitLong", "Padding", "ScalePadding")):
            return  # from here on the size does not follow from the picture's
        elif step["type"] == "RandomPaddingCrop":
            crop = argument(step, "crop_size")
            filled = [min(w * largest, crop[0]) * min(h * largest, crop[1]) for w, h in sizes]
            best = int(np.argmax(filled))
            if filled[best] < LEAST_FILLED * crop[0] * crop[1]:
                scaled = f", {largest:g} times that at most," if largest != 1 else ""
                raise UserError(
                    f"{name}: the crop of {crop[0]} x {crop[1]} is larger than every picture ({images[best]} is "
                    f"{sizes[best][0]} x {sizes[best][1]} pixels{scaled} and fills "
                    f"{100 * filled[best] / (crop[0] * crop[1]):.0f} % of it); set a smaller crop_size"
                )
            return


def _check_values(labels, job, name):
    """Returns notes. Raises UserError for a label with a value that is neither a class nor ignore_index."""
    chosen = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), LABELS_READ)).round().astype(int))
    total = np.zeros(256, np.int64)
    for index in chosen:
        try:
            with whole_pictures(), Image.open(labels[index]) as picture:
                indexed = picture.mode == "P"
                counts = np.array(picture.histogram())  # of the values, 256 of them
        except Exception as error:  # Pillow reports damaged data in many ways
            raise UserError(f"{name}: {labels[index]} is damaged ({' '.join(str(error).split())}); mend it") from error
        wrong = [v for v in np.argsort(-counts) if counts[v] and v >= job.num_classes and v != job.ignore_index]
        if wrong:
            more = f" ({len(wrong)} such values)" if len(wrong) > 1 else ""
            palette = "; it has a palette, and the indices of its colours count" if indexed else ""
            raise UserError(
                f"{name}: {labels[index]} has the value {wrong[0]} in {counts[wrong[0]]} pixels{more}; allowed are the "
                f"classes 0 to {job.num_classes - 1}, and {job.ignore_index} where no class counts{palette}"
            )
        total += counts
    present = total[: job.num_classes] > 0
    ignored = total[job.ignore_index] if 0 <= job.ignore_index < 256 else 0
    if not present.any():
        raise UserError(f"{name}: every pixel of the labels is {job.ignore_index}, which does not count ({labels[0]})")
    return _notes(name, len(labels), len(chosen), np.flatnonzero(~present), job, ignored)


def _notes(name, count, read, absent, job, ignored):
    notes = []
    if read < count:
        notes.append(f"{name}: the values of {read} of the {count} labels were checked, spread evenly")
    if len(absent):
        names = class_names(job)
        listed = ", ".join(f"{i} ({names[i]})" for i in absent[:6]) + (", ..." if len(absent) > 6 else "")
        masks = ""
        if ignored and len(absent) == job.num_classes - 1 and absent[0] == 1:
            masks = f"; masks of 0 and {job.ignore_index} must hold 1 in place of {job.ignore_index}, which is left out"
        notes.append(f"{name}: no pixel of {listed} in the {read} labels that were checked{masks}")
    return notes


def class_names(job: Job) -> list[str]:
    """One name for each class: the configuration's class_names, else Cityscapes', else "class N"."""
    if job.class_names is not None:
        return list(job.class_names)
    if _is_cityscapes(job):
        return list(cityscapes.CLASS_NAMES)
    return [f"class {index}" for index in range(job.num_classes)]


def palette(job: Job) -> np.ndarray:
    """The colours of the classes, uint8 (256, 3): Cityscapes' own, else colours far apart; black past the classes."""
    colours = np.zeros((256, 3), np.uint8)
    names = class_names(job)
    if _is_cityscapes(job):
        colours[: len(names)] = cityscapes.PALETTE
    else:
        chosen = class_colours(names)
        colours[: len(names)] = [chosen[name] for name in names]
    return colours


def _is_cityscapes(job):
    """Whether the classes are those of Cityscapes, told by the data set's type or by their names."""
    if job.class_names is not None:
        return tuple(job.class_names) == cityscapes.CLASS_NAMES
    return job.dic["train_dataset"]["type"] == "Cityscapes"
