"""Pictures in, feature maps or vectors out, on the fastest engine at hand."""

import os
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from ..backbones.base import check_count
from ..engines import opening as engines
from ..errors import UserError
from ..pictures.finding import EXTENSIONS
from ..pictures.reading import read_image, to_pixels
from .ahead import ahead, batches
from .listing import iterate
from .networks import build, named_preprocessing, preprocessing_of, weights_hash
from .sizes import SizePolicy

#: threads that read and prepare pictures; decoding and resizing run beside each other
READERS = min(4, os.cpu_count() or 1)


class FeatureExtractor:
    """Maps of several strides, or a vector, of every picture.

    Args:
        model (str | Network): a name of `densebone.list_models()`, or a network of `create_backbone` or
            `create_model`, which is copied and keeps its weights. Default "hardnet68".
        out_indices (sequence of int | None): ascending numbers from 0..4, the last maps at strides 2, 4, 8, 16, 32.
            Default None: (1, 2, 3, 4), or those of the backbone that was given.
        strides (list of int | None): the same said as strides, such as [8, 16, 32].
        pooled (str | None): None gives maps. "avg" gives one vector, the means of all maps asked for, one after the
            other, D = sum of `channels`. "penultimate" gives what the classifier's last layer reads, which is what
            retrieval and linear probes use; it takes no out_indices.
        pretrained (bool | str | path | None): True (default) the model's published weights; a name of `densebone
            weights list`, a path, a URL; None random ones. Not for a network, which has weights.
        engine (str): "auto" (default), "openvino", "onnxruntime", "paddle" or "eager".
        precision (str): "fp32" (default) or "bf16".
        threads (int | None): processor threads; default None, all.
        batch_size (int): inputs that are computed at a time, at most. Default 8.
        size_mode (str | None): "crop" as the weights were evaluated, "resize" or "letterbox" to `size`, "native" as the
            picture is. Default None: "resize" when a size is given, else "crop".
        size ((int, int) | None): height and width, in pixels.
        pad (bool): with "native", inputs get zeros below and to the right, to multiples of the largest stride, so that
            maps have exactly H / stride rows. Default False.
        preprocessing (Preprocessing | str | None): how pictures become inputs, or the name of published weights whose
            way it is. Default None: that of the weights, which the catalog knows. Weights that it does not know, such
            as your own, need it.
        cache (path | None): folder of exported models, of `engines.open_network`.

    Attributes:
        channels, strides (list of int): of the maps.
        vector_size (int | None): D, when vectors are given.
        description (str): the engine, as it describes itself.
        preprocessing (Preprocessing | None), sizes (SizePolicy), fixed_size ((int, int) | None): what pictures become;
            `fixed_size` is None where inputs differ in size.

    Raises:
        UserError: an option that is out of range, weights that do not fit, an engine that is not installed.
    """

    def __init__(
        self,
        model="hardnet68",
        out_indices=None,
        strides=None,
        pooled=None,
        pretrained=True,
        engine="auto",
        precision="fp32",
        threads=None,
        batch_size=8,
        size_mode=None,
        size=None,
        pad=False,
        preprocessing=None,
        cache=None,
    ):
        check_count("batch_size", batch_size)
        network = build(model, out_indices, strides, pooled, pretrained)
        given = preprocessing is not None
        self.preprocessing = named_preprocessing(preprocessing) if given else preprocessing_of(model, pretrained)
        self.pooled, self.batch_size = pooled, batch_size
        self.channels, self.strides = list(network.channels), list(network.strides)
        self.vector_size = {"avg": sum(self.channels), None: None}.get(pooled, getattr(network, "vector_size", None))
        self.in_channels = network.in_channels
        mode = size_mode or ("resize" if size is not None else "crop")
        multiple = max(self.strides) if pad else 1
        self.sizes = SizePolicy(mode, size, multiple, network.min_side)
        if pad and mode != "native":
            raise UserError(f"pad is for size_mode 'native', and here it is {mode!r}; leave pad out")
        self.fixed_size = self.sizes.fixed(self.preprocessing)
        self.weights_hash = weights_hash(network)
        self.model = model if isinstance(model, str) else model.model or type(model).__name__
        self.engine = engines.open_network(network, engine, precision, threads, self.fixed_size, cache)
        self.description, self.precision = self.engine.description, precision

    def __call__(self, images):
        """The features of pictures, in the order given; files of a folder or pattern are sorted by their paths.

        Args:
            images: a path of a picture, a folder, a glob pattern or a .txt file with a path in each line; a Pillow
                image; a uint8 array (H, W, 3), red-green-blue, or (N, H, W, 3); or a list of any of these. Or inputs
                that are prepared already: a float array (N, C, H, W).

        Returns:
            float32 arrays. Maps: list of (N, C_i, H_i, W_i), one for each stride; where pictures become inputs of
            different sizes (`fixed_size` is None and they are not float arrays), for each picture a list of
            (C_i, H_i, W_i). Vectors: (N, D).

        Raises:
            UserError: none of these; a picture that cannot be read or is too small.
        """
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            inputs = self._checked(images)
            results = [self.run(inputs[i : i + self.batch_size]) for i in range(0, len(inputs), self.batch_size)]
            return np.concatenate(results) if self.pooled else [np.concatenate(maps) for maps in zip(*results)]
        self.check_takes_pictures()
        pictures = _pictures(images)
        prepared = ahead(self.prepare, pictures, READERS, 2 * self.batch_size)
        pairs = ((number, future.result()) for number, (_, future) in enumerate(prepared))
        found = {}
        for numbers, batch in batches(pairs, self.batch_size):
            found.update(zip(numbers, self.split(self.run(batch))))
        if not found:
            raise UserError("no pictures were given; give at least one picture, folder or pattern")
        rows = [found[number] for number in range(len(found))]
        if self.pooled:
            return np.stack(rows)
        return [np.stack(maps) for maps in zip(*rows)] if self.fixed_size else rows

    def prepare(self, image):
        """A picture, as `__call__` takes it but for folders and lists -> the input, float32 (3, H, W).

        Raises:
            UserError: it cannot be read, is too small, or `check_takes_pictures` has something to say.
        """
        self.check_takes_pictures()
        try:
            return self.sizes.apply(_array(image), self.preprocessing)
        except UserError as error:
            if not isinstance(image, (str, os.PathLike)) or str(error).startswith(f"{Path(image)}: "):
                raise
            raise UserError(f"{Path(image)}: {error}") from error

    def check_takes_pictures(self):
        """UserError when only arrays can be given: nobody says how pictures are prepared, or it has other channels."""
        if self.preprocessing is None:
            raise UserError(
                "how pictures are prepared for these weights is not known; give preprocessing, for example the name of "
                "the published weights that they began with, such as hardnet68.official"
            )
        if self.in_channels != 3:
            raise UserError(f"this network wants {self.in_channels} channels, pictures have 3; give it float arrays")

    def run(self, inputs):
        """Float32 (N, C, H, W), any N -> list of maps (N, C_i, H_i, W_i), or vectors (N, D)."""
        outputs = self.engine.run(np.ascontiguousarray(inputs, np.float32))
        if self.pooled == "avg":
            return np.concatenate([m.mean((2, 3), dtype=np.float32) for m in outputs], 1)
        return outputs[0] if self.pooled else outputs

    def split(self, outputs):
        """What `run` returned, picture by picture: lists of (C_i, H_i, W_i), or vectors (D,)."""
        return list(outputs) if self.pooled else [list(maps) for maps in zip(*outputs)]

    def close(self):
        """Gives the engine's memory back."""
        self.engine.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _checked(self, inputs):
        if inputs.ndim != 4 or inputs.shape[1] != self.in_channels or not len(inputs):
            raise UserError(
                f"a float array is taken for prepared inputs, (N, {self.in_channels}, H, W), and this one has shape "
                f"{inputs.shape}; pictures are uint8 (H, W, 3)"
            )
        if min(inputs.shape[2:]) < self.sizes.min_side:
            raise UserError(f"inputs are {inputs.shape[2]} x {inputs.shape[3]}; give {self.sizes.min_side} or more")
        return inputs


def _pictures(images):
    """An iterator over single pictures: paths, Pillow images and arrays (H, W, 3)."""
    if isinstance(images, (str, os.PathLike)):
        path = os.fspath(images)
        plain = os.path.isfile(path) and not path.lower().endswith(".txt")
        found = [path] if plain else list(iterate([path]))
        return iter(found if path.lower().endswith(".txt") else sorted(found))
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return iter(images)
    if isinstance(images, (list, tuple)):
        return chain.from_iterable(map(_pictures, images))
    return iter([images])


def _array(image):
    """One picture -> uint8 (H, W, 3), red-green-blue."""
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image), min_side=1)
    if isinstance(image, Image.Image):
        return to_pixels("a Pillow image", image)
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
        given = f"{image.dtype} {image.shape}"
    else:
        given = type(image).__name__
    raise UserError(
        f"a picture is given as {given}; give a path ({' '.join(EXTENSIONS)}), a Pillow image or a uint8 array "
        f"(H, W, 3) in red-green-blue"
    )
