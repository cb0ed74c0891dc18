"""How fast training pictures are prepared: densebone, a plain loop, and a PyTorch DataLoader, in the same run.

    python -m benchmarks.feeding pictures/ --peers .venv-peers/bin/python
    python -m benchmarks.feeding pictures/ --detection birds/config.yml birds/ --segmentation streets.yml streets/

Classification takes ImageNet's usual steps: RandomResizedCrop to 224, flip, normalise, in batches of 32. The plain loop
takes them with Pillow and NumPy as one would write them down, on one core, with the same draws; its values must be
ours. The PyTorch DataLoader runs the plain loop in its workers, in the environment of --peers. Detection and
segmentation run the toolkits' transforms of a configuration, through the loader of `densebone train`. Every row is a
process of its own.
"""

import argparse
import json
import sys
import time
from pathlib import Path

BATCH, SIZE, SEED = 32, 224, 0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS = (0, 1, 2, 4)


def part(width, height, rng):
    """RandomResizedCrop's draw, as `tasks.classification.transforms` makes it: left, top, width, height."""
    import math

    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            return int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1)), across, down
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def plain(path, key):
    """A training picture, float32 (3, 224, 224), with Pillow and NumPy as one would write it down."""
    import numpy as np
    from PIL import Image, ImageOps

    rng = np.random.default_rng(key)
    image = Image.open(path).convert("RGB")
    left, top, width, height = part(*image.size, rng)
    image = image.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    values = np.asarray(image, np.float32) / np.float32(255)
    values = (values - np.float32(MEAN)) / np.float32(STD)
    return values.transpose(2, 0, 1)


def torch_rate(files, workers):
    """Pictures a second of a PyTorch DataLoader over `plain`; runs in the peers' environment."""
    import torch

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            return torch.from_numpy(plain(files[index], [SEED, 0, index]).copy()), 0

    loader = torch.utils.data.DataLoader(Pictures(), BATCH, num_workers=workers)
    return _rate((len(images) for images, _ in loader), 2 * BATCH)


def plain_rate(files):
    """Pictures a second of the plain loop, collated."""
    import numpy as np

    batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    stacks = (
        np.stack([plain(f, [SEED, 0, BATCH * b + i]) for i, f in enumerate(batch)]) for b, batch in enumerate(batches)
    )
    return _rate(map(len, stacks), 2 * BATCH)


def our_rate(files, workers, reduced):
    """Pictures a second of `densebone train`'s classification input."""
    dataset = _classification(files, reduced)
    return _loaded(dataset, None, BATCH, len(files), workers)


def differences(files):
    """How our values differ from the plain loop's: (largest, mean with reduced decoding), in standard deviations."""
    import numpy as np

    exact, reduced = (_classification(files, flag) for flag in (False, True))
    largest, means = 0.0, []
    for index, file in enumerate(files):
        wanted = plain(file, [SEED, 0, index])
        largest = max(largest, float(np.abs(exact[0, index]["img"] - wanted).max()))
        means.append(float(np.abs(reduced[0, index]["img"] - wanted).mean()))
    return largest, sum(means) / len(means)


def toolkit_rate(task, config, data, workers):
    """Pictures a second of a configuration's training input, of detection or segmentation."""
    from densebone.tasks.task import TASKS

    job = TASKS[task].part("config").load(config, data=data)
    if task == "segmentation":
        from densebone.tasks.segmentation.batches import SeededDataset, sampler
        from densebone.tasks.segmentation.data import open_dataset

        dataset = SeededDataset(open_dataset(job, "train"), SEED)
        return _loaded(dataset, sampler(dataset, job.config.batch_size), job.config.batch_size, 400, workers)
    from densebone.tasks.detection.batches import Samples
    from densebone.tasks.detection.data import using

    with using(job, "train"):
        dataset = Samples(SEED)
        size = job.cfg.TrainReader["batch_size"]
        return _loaded(dataset, dataset.sampler, size, 400, workers, dataset.collate)


def stages(files):
    """Milliseconds of each stage of a classification picture, in one thread."""
    from densebone.system import timings
    from densebone.training.loading import stacked

    dataset = _classification(files, False)
    for index in range(BATCH):
        dataset[0, index]
    timings.begin()
    for start in range(0, len(files), BATCH):
        samples = [dataset[0, index] for index in range(start, min(start + BATCH, len(files)))]
        with timings.stage("collate"):
            stacked(samples)
    return timings.end(len(files))


def _classification(files, reduced):
    from densebone.datasets.labelled import PictureSet
    from densebone.system.memory import keep_freed
    from densebone.tasks.classification import config
    from densebone.tasks.classification.data import TrainSamples
    from densebone.tasks.classification.transforms import RandomFlip, RandomResizedCrop

    keep_freed()
    job = config.load(Path(__file__).resolve().parents[1] / "configs/classification/hardnet39ds_150e_imagenet.yml")
    job.transforms = [RandomResizedCrop(size=SIZE, reduced=reduced), RandomFlip()]
    return TrainSamples(job, PictureSet(files, [0] * len(files), None, "benchmark"), SEED)


def _loaded(dataset, sampler, size, pictures, workers, collate=None):
    from densebone.training.batches import Batches, EpochSampler
    from densebone.training.loading import load

    sampler = sampler or EpochSampler(len(dataset), size, SEED)
    batches = Batches(sampler, 0, -(-pictures // size) + 2)
    return _rate((size for _ in load(dataset, batches, workers, collate)), 2 * size)


def _rate(counts, first):
    """Pictures a second of a stream of batches, after the first pictures."""
    done, begun = 0, None
    for count in counts:
        done += count
        if begun is None and done >= first:
            begun, before = time.perf_counter(), done
    return (done - before) / (time.perf_counter() - begun)


def main():
    """Measures every row, in turns, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="folder of JPEG files")
    parser.add_argument("--peers", help="the interpreter that has PyTorch")
    parser.add_argument(
        "--detection", nargs=2, metavar=("CONFIG", "DATA"), help="a configuration and a data set for it"
    )
    parser.add_argument("--segmentation", nargs=2, metavar=("CONFIG", "DATA"), help="the same")
    parser.add_argument("--count", type=int, default=960, help="pictures of a row; files are repeated")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the best of each row counts")
    arguments = parser.parse_args()
    found = sorted(str(path) for path in Path(arguments.pictures).rglob("*.jpg"))
    files = (found * -(-arguments.count // len(found)))[: arguments.count]
    rows = {("plain loop, Pillow and NumPy", "0"): (sys.executable, "plain_rate", files)}
    for workers in WORKERS:
        rows["densebone", str(workers)] = (sys.executable, "our_rate", files, workers, False)
        rows["densebone, reduced", str(workers)] = (sys.executable, "our_rate", files, workers, True)
        if arguments.peers:
            rows["PyTorch DataLoader over the plain loop", str(workers)] = (
                arguments.peers,
                "torch_rate",
                files,
                workers,
            )
        for task in ("detection", "segmentation"):
            if given := getattr(arguments, task):
                name = f"{task}, {Path(given[0]).stem}"
                rows[name, str(workers)] = (sys.executable, "toolkit_rate", task, *given, workers)
    best = dict.fromkeys(rows, 0.0)
    for _ in range(arguments.rounds):
        for key, row in rows.items():
            best[key] = max(best[key], _call(*row))
    base = best["plain loop, Pillow and NumPy", "0"]
    print("| pictures/s with workers | " + " | ".join(map(str, WORKERS)) + " |\n|---|" + "---|" * len(WORKERS))
    for name in dict.fromkeys(name for name, _ in rows):
        cells = [best.get((name, str(workers))) for workers in WORKERS]
        print(f"| {name} | " + " | ".join("" if c is None else f"{c:.0f} ({c / base:.2f})" for c in cells) + " |")
    print("\nIn parentheses: over the plain loop.\n")
    largest, mean = _call(sys.executable, "differences", files[: len(found)])
    print(f"Values differ from the plain loop's by {largest:g} standard deviations at most.")
    print(f"With reduced decoding they differ by {mean:.4f} on average.\n")
    print("\n".join(_call(sys.executable, "stages", files)))


def _call(python, *what):
    from benchmarks.children import call_in  # which the peers' interpreter does not find

    return call_in(python, __file__, *what)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        name, *given = json.loads(Path(sys.argv[1]).read_text())
        print(json.dumps(globals()[name](*given)))
    else:
        main()
