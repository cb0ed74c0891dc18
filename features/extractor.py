"""`FeatureExtractor`: pictures in, feature maps or vectors out, on the fastest installed engine."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..backbones.base import Network, check_count
from ..engines import opening as engines
from ..errors import UserError
from ..pictures.finding import EXTENSIONS
from ..pictures.manifests import is_list
from ..pictures.preparing import Preprocessing
from ..pictures.reading import read_picture, to_rgb, turn_of
from ..pictures.remote import Unreachable, path_of
from ..system.ahead import ahead
from ..system.memory import keep_freed
from ..system.timings import stage
from .batches import batches
from .listing import iterate
from .networks import build, named_preprocessing, preprocessing_of, weights_hash
from .sizes import SizePolicy

#: threads that read and prepare pictures while the engine computes
READERS = min(4, os.cpu_count() or 1)
#: pictures of a batch: of the only one, and of each of several that run side by side, whose maps should fit the cache
BATCH, SMALL_BATCH = 8, 2

#: one picture: a path, a Pillow image or a uint8 array (H, W, 3) in RGB
Picture = str | Path | Image.Image | np.ndarray


@dataclass
class Row:
    """What became of a picture.

    Attributes:
        features: a vector (D,), or a list of maps (C_i, H_i, W_i); None when it could not be used.
        inputs: what the network got, float32 (3, H, W), where it was asked for.
        error: why it could not be used.
    """

    features: Any = None
    inputs: np.ndarray | None = None
    error: UserError | None = None


class FeatureExtractor:
    """Computes feature maps at several strides, or one vector, for every picture.

    Args:
        model: a name of `densebone.list_models()`, or a network from `create_backbone` or `create_model`. A network is
            copied and keeps its weights.
        out_indices: ascending numbers from 0..4: the last maps at strides 2, 4, 8, 16, 32. None takes (1, 2, 3, 4), or
            all maps of a given backbone.
        strides: the same choice as strides, such as [8, 16, 32].
        pooled: None returns maps. "avg" returns one vector, the spatial means of the chosen maps concatenated, D = sum
            of `channels`. "penultimate" returns the input of the classifier's last layer, which retrieval and linear
            probes use; it takes no out_indices.
        pretrained: True loads the model's published weights. Or give a name of `densebone weights list`, a path or a
            URL; None initialises randomly. Ignored if `model` is a network.
        engine: "auto", "openvino", "onnxruntime", "paddle" or "eager".
        precision: "fp32", "bf16" or "int8".
        threads: processor threads; None uses all.
        batch_size: the most inputs that are computed at a time; None takes 8, or 2 with `throughput`.
        size_mode: "crop" as the weights were evaluated, "resize" or "letterbox" to `size`, or "native" for the
            picture's own size. None means "resize" if `size` is given, else "crop".
        size: (height, width) in pixels.
        pad: with "native", pad inputs with zeros below and to the right to multiples of the largest stride, so that
            maps have exactly H / stride rows.
        preprocessing: how pictures become inputs, or the name of published weights whose preprocessing to use. None
            takes that of the weights from the catalog. Weights that the catalog does not know, such as your own, need
            it.
        cache: folder for exported models, passed to `engines.opening.open_network`.
        throughput: whether each thread computes a batch of its own: more pictures a second when there are many, and
            longer for a single one. For OpenVINO and ONNX Runtime.
        reduced: whether JPEGs that are larger than the input may be decoded at a half, a quarter or an eighth of their
            size. It is faster on large pictures and changes the features a little.
        calibration: for "int8", a folder of pictures of the kind that will come: they tell the 8-bit network the range
            of its feature maps.

    Attributes:
        channels, strides: of the maps, one number each.
        vector_size: D if vectors are returned, else None.
        description: the engine in words.
        preprocessing: how pictures become inputs; None if unknown.
        sizes: the `SizePolicy` of the inputs.
        fixed_size: (height, width) of every input, or None if inputs differ in size.

    Raises:
        UserError: an option out of range, weights that do not fit, or an engine that is not installed.
    """

    def __init__(
        self,
        model: str | Network = "hardnet68",
        out_indices: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        pooled: str | None = None,
        pretrained: bool | str | Path | None = True,
        engine: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        batch_size: int | None = None,
        size_mode: str | None = None,
        size: tuple[int, int] | None = None,
        pad: bool = False,
        preprocessing: Preprocessing | str | None = None,
        cache: str | Path | None = None,
        throughput: bool = False,
        reduced: bool = False,
        calibration: str | Path | None = None,
    ):
        if batch_size is not None:
            check_count("batch_size", batch_size)
        network = build(model, out_indices, strides, pooled, pretrained)
        given = None if preprocessing is None else named_preprocessing(preprocessing)
        self.preprocessing = given or preprocessing_of(model, pretrained)
        self.pooled, self.reduced = pooled, reduced
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
        pictures = None
        if calibration is not None:
            pictures = engines.Calibration(calibration, self.preprocessing, self.fixed_size)
        self.calibration = pictures.key if pictures else None
        self.engine = engines.open_network(
            network, engine, precision, threads, self.fixed_size, cache, throughput, pictures
        )
        self.description, self.precision = self.engine.description, precision
        self.batch_size = batch_size or (SMALL_BATCH if self.engine.streams > 1 else BATCH)
        #: threads of `chunks`
        self.workers = self.engine.streams if self.engine.streams > 1 else READERS + 1
        keep_freed()

    def __call__(self, images: Picture | Sequence[Any]) -> np.ndarray | list[np.ndarray] | list[list[np.ndarray]]:
        """The features of pictures, in the order given. The files of a folder or pattern are sorted by path.

        Args:
            images: the path of a picture, a folder, a glob pattern or a .txt file with one path per line; a Pillow
                image; a uint8 array (H, W, 3) or (N, H, W, 3) in RGB; or a list of these. A float array (N, C, H, W)
                counts as prepared inputs.

        Returns:
            float32 arrays. Vectors are (N, D). Maps are a list of (N, C_i, H_i, W_i), one for each stride. If inputs
            differ in size (`fixed_size` is None and `images` is no float array), maps are a list of (C_i, H_i, W_i)
            for each picture.

        Raises:
            UserError: anything else, or a picture that cannot be read or is too small.
        """
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            inputs = self._checked(images)
            results = [self.run(inputs[i : i + self.batch_size]) for i in range(0, len(inputs), self.batch_size)]
            return np.concatenate(results) if self.pooled else [np.concatenate(maps) for maps in zip(*results)]
        self.check_takes_pictures()
        rows = []
        for _, found in self.chunks(_pictures(images)):
            for row in found:
                if row.error:
                    raise row.error
                rows.append(row.features)
        if not rows:
            raise UserError("no pictures were given; give at least one picture, folder or pattern")
        if self.pooled:
            return np.stack(rows)
        return [np.stack(maps) for maps in zip(*rows)] if self.fixed_size else rows

    def chunks(
        self,
        pictures: Iterator[Any],
        picture_of: Callable[[Any], Picture] | None = None,
        wants_inputs: Callable[[Any], bool] | None = None,
        fill: bool = False,
    ) -> Iterator[tuple[list[Any], list[Row]]]:
        """Computes the features of a stream of pictures, a batch in each thread.

        Args:
            pictures: the stream.
            picture_of: item of the stream -> picture, where they are not pictures themselves.
            wants_inputs: item -> whether its row is to hold the network's input.
            fill: whether the last batches are filled up with zeros, because engines prepare anew for every size.

        Yields:
            (at most `batch_size` items of the stream, a `Row` for each), in order.
        """

        def work(items):
            given = items if picture_of is None else [picture_of(item) for item in items]
            return self._rows(given, [bool(wants_inputs and wants_inputs(item)) for item in items], fill)

        parts = iter(lambda: list(islice(pictures, self.batch_size)), [])
        for items, future in ahead(work, parts, self.workers, 2 * self.workers):
            yield items, future.result()

    def _rows(self, pictures, kept, fill):
        """A `Row` for each of some pictures."""
        rows, inputs = [Row() for _ in pictures], []
        for place, picture in enumerate(pictures):
            try:
                inputs.append((place, self.prepare(picture)))
            except Unreachable:
                raise
            except UserError as error:
                rows[place].error = error
        for places, batch in batches(inputs, self.batch_size):
            with stage("network"):
                found = self.split(self._run_filled(batch) if fill else self.run(batch))
            for place, features, values in zip(places, found, batch):
                rows[place] = Row(features, values if kept[place] else None)
        return rows

    def _run_filled(self, batch):
        """The features of a batch that is filled to the usual size."""
        missing = self.batch_size - len(batch)
        if not self.fixed_size or missing <= 0:
            return self.run(batch)
        filled = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), np.float32)])
        outputs = self.run(filled)
        return outputs[: len(batch)] if self.pooled else [maps[: len(batch)] for maps in outputs]

    def prepare(self, image: Picture) -> np.ndarray:
        """One picture -> the input, float32 (3, H, W).

        Raises:
            UserError: it cannot be read or is too small, or `check_takes_pictures` fails. Or `Unreachable`: a store
                refuses or does not answer.
        """
        preprocessing = self.check_takes_pictures()
        try:
            with turn_of(image) if isinstance(image, (str, os.PathLike)) else nullcontext():
                with stage("decode"):
                    picture = _decoded(image, self.sizes.least(preprocessing) if self.reduced else None)
                with stage("prepare"):
                    return self.sizes.apply(picture, preprocessing)
        except Unreachable:
            raise
        except UserError as error:
            if not isinstance(image, (str, os.PathLike)) or str(error).startswith(f"{path_of(image)}: "):
                raise
            raise UserError(f"{path_of(image)}: {error}") from error

    def check_takes_pictures(self) -> Preprocessing:
        """The preprocessing of pictures. UserError if it is unknown, or if the network does not take 3 channels."""
        if self.preprocessing is None:
            raise UserError(
                "how pictures are prepared for these weights is not known; give preprocessing, for example the name of "
                "the published weights that they were fine-tuned from, such as hardnet68.official"
            )
        if self.in_channels != 3:
            raise UserError(f"this network wants {self.in_channels} channels, pictures have 3; give it float arrays")
        return self.preprocessing

    def run(self, inputs: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """float32 (N, C, H, W), any N -> list of maps (N, C_i, H_i, W_i), or vectors (N, D)."""
        outputs = self.engine.run(np.ascontiguousarray(inputs, np.float32))
        if self.pooled == "avg":
            return np.concatenate([m.mean((2, 3), dtype=np.float32) for m in outputs], 1)
        return outputs[0] if self.pooled else outputs

    def split(self, outputs: np.ndarray | list[np.ndarray]) -> list[np.ndarray] | list[list[np.ndarray]]:
        """What `run` returned, picture by picture: lists of maps (C_i, H_i, W_i), or vectors (D,)."""
        return list(outputs) if self.pooled else [list(maps) for maps in zip(*outputs)]

    def close(self) -> None:
        """Release the engine's memory."""
        self.engine.close()

    def __enter__(self) -> "FeatureExtractor":
        return self

    def __exit__(self, *error: object) -> None:
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


def _pictures(images) -> Iterator[Picture]:
    """Yields the single pictures: paths, Pillow images and arrays (H, W, 3)."""
    if isinstance(images, (str, os.PathLike)):
        path = os.fspath(images)
        plain = os.path.isfile(path) and not is_list(path)
        found = [path] if plain else list(iterate([path]))
        return iter(found if is_list(path) else sorted(found))
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return iter(images)
    if isinstance(images, (list, tuple)):
        return chain.from_iterable(map(_pictures, images))
    return iter([images])


def _decoded(image, least):
    """One picture -> a Pillow image in RGB, or uint8 (H, W, 3)."""
    if isinstance(image, (str, os.PathLike)):
        return read_picture(path_of(image), min_side=1, least=least)
    if isinstance(image, Image.Image):
        return to_rgb("a Pillow image", image)
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
        given = f"{image.dtype} {image.shape}"
    else:
        given = type(image).__name__
    raise UserError(
        f"a picture is given as {given}; give a path ({' '.join(EXTENSIONS)}), a Pillow image or a uint8 array "
        f"(H, W, 3) in RGB"
    )
