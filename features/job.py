"""Features of many pictures into files: a job that may be killed, and shared by processes and machines."""

import os
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import UserError
from . import listing, shards
from .ahead import ahead, batches
from .extractor import READERS

#: pictures in a file: about 4 MB of vectors, or 250 MB of maps of HarDNet-68 at 224 x 224
SHARD_SIZES = {"vectors": 1000, "maps": 64}
#: skipped pictures that are named in the summary
EXAMPLES = 5


def extract(extractor, paths, output, file_format="npz", shard_size=None, part=(0, 1), draw=None):
    """Writes the features of pictures into a folder; what is there already is not computed again.

    The list of pictures is made when the folder is new, and stands. A shard of it is one file. Processes that share
    the work take every n-th shard; their number may change from run to run.

    Args:
        extractor (FeatureExtractor).
        paths (list): pictures, folders, patterns and lists, as for `listing.iterate`.
        output (str | Path): the folder; `shards` says what is in it.
        file_format (str): "npz" (default), "safetensors", or "parquet", for vectors alone.
        shard_size (int | None): pictures in a file; default None, that of `SHARD_SIZES`.
        part ((int, int)): this process is number i, from 0 on, of n.
        draw (callable | None): called for every picture that is computed, with its number in the list, its name, the
            input (3, H, W) and the features.

    Returns:
        dict: of this part, pictures (int, those with features), skipped (int) and examples (list of (name, reason));
        computed (int, pictures read in this run) and seconds (float, for these); complete (bool, whether all parts are
        done).

    Raises:
        UserError: nothing is found, the folder is of other settings, or cannot be written to.
    """
    extractor.check_takes_pictures()
    folder, (part, parts) = Path(output), part
    if shard_size is None:
        shard_size = SHARD_SIZES["vectors" if extractor.pooled else "maps"]
    settings = shards.begin(folder, _settings(extractor, paths, file_format, shard_size), paths)
    if parts == 1:
        shards.clean(folder, settings)
    numbers = range(part, shards.shard_count(settings), parts)
    done = {number for number in numbers if shards.record(folder, number).is_file()}
    todo = [number for number in numbers if number not in done]
    left = sum(_length(settings, number) for number in todo)
    before = sum(_length(settings, number) for number in done)
    with tqdm(total=before + left, initial=before, unit="picture", smoothing=0.05, desc="features") as bar:
        stream = listing.read(folder / shards.PICTURES, shard_size, set(todo).__contains__)
        _compute(extractor, stream, folder, settings, draw, bar.update)
        seconds = bar.format_dict["elapsed"]
    return {**_summary(folder, settings, numbers), "computed": left, "seconds": seconds}


def _settings(extractor, paths, file_format, shard_size):
    """What must be the same for a folder to be gone on with."""
    if file_format not in shards.FORMATS:
        raise UserError(f"format is {file_format!r}; give one of {', '.join(shards.FORMATS)}")
    if file_format == "parquet":
        if not extractor.pooled:
            raise UserError("Parquet is for vectors, and these are maps; give pooled, or another format")
        shards.import_pyarrow()
    if type(shard_size) is not int or not 1 <= shard_size <= 10**6:
        raise UserError(f"shard_size is {shard_size!r}; give a number of pictures from 1 to a million")
    sizes = extractor.sizes
    return {
        "paths": [os.path.abspath(os.path.expanduser(os.fspath(path))) for path in paths],
        "model": extractor.model,
        "weights": extractor.weights_hash,
        "pooled": extractor.pooled,
        "vector_size": extractor.vector_size,
        "strides": extractor.strides,
        "size_mode": sizes.mode,
        "size": list(sizes.size) if sizes.size else None,
        "multiple": sizes.multiple,
        "fixed_size": list(extractor.fixed_size) if extractor.fixed_size else None,
        "preprocessing": str(extractor.preprocessing),
        "precision": extractor.precision,
        "format": file_format,
        "shard_size": shard_size,
    }


def _length(settings, number):
    """Pictures in a shard."""
    return min(settings["shard_size"], settings["pictures"] - number * settings["shard_size"])


def _compute(extractor, stream, folder, settings, draw, advance):
    """Computes and writes shard after shard of a stream of (shard, line, path)."""
    prepared = ahead(lambda item: extractor.prepare(item[2]), stream, READERS, 2 * extractor.batch_size)
    for number, group in groupby(prepared, key=lambda pair: pair[0][0]):
        names, rows, skipped = [], {}, []
        pairs = _readable(group, settings["root"], names, skipped, advance)
        for keys, batch in batches(pairs, extractor.batch_size):
            for (place, line, array), row in zip(keys, extractor.split(_run(extractor, batch))):
                rows[place] = row
                if draw:
                    draw(line, names[place], array, row)
            advance(len(keys))
        shards.write(folder, number, settings, names, [rows[place] for place in range(len(names))], skipped)


def _run(extractor, batch):
    """The features of a batch, which is filled up to the usual size: engines prepare for every size that comes."""
    missing = extractor.batch_size - len(batch)
    if not extractor.fixed_size or not missing:
        return extractor.run(batch)
    filled = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), np.float32)])
    outputs = extractor.run(filled)
    return outputs[: len(batch)] if extractor.pooled else [maps[: len(batch)] for maps in outputs]


def _readable(prepared, root, names, skipped, advance):
    """Yields ((place in names, line, input), input) of the pictures that could be read; the others go into skipped."""
    for (_, line, path), future in prepared:
        name = shards.plain(os.path.relpath(path, root))
        try:
            array = future.result()
        except UserError as error:
            skipped.append((name, shards.plain(str(error).removeprefix(f"{path}: "))))
            advance(1)
        else:
            names.append(name)
            yield (len(names) - 1, line, array), array


def _summary(folder, settings, numbers):
    """Counts of the shards `numbers`, which are done, and the first of what was skipped."""
    pictures, skipped, examples = 0, 0, []
    for number in numbers:
        content = shards.read_record(folder, number)
        pictures += len(content["names"])
        skipped += len(content["skipped"])
        examples += [(row["name"], row["reason"]) for row in content["skipped"][: EXAMPLES - len(examples)]]
    return {"pictures": pictures, "skipped": skipped, "examples": examples, "complete": shards.finish(folder, settings)}
