"""Memory and open files do not grow with the length of a run: 20,000 pictures, 2,000 iterations.

Too long for every run (half an hour together): `-m acceptance`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import feature_runs
import numpy as np
import pytest
import writing
from PIL import Image

DENSEBONE = [sys.executable, "-m", "densebone.scripts"]
PICTURES = 20_000
MOST_MB = 60  # of growth: allocators keep some pages


def draw(folder):
    """Writes the pictures: 100 of them, under many names in folders of 1,000."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        path = folder / f"{number // 1000:02d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < 100:
            Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(path)
        else:
            os.link(folder / "00" / f"{number % 100:05d}.jpg", path)


def predict(folder):
    draw(folder / "pictures")
    command, _ = writing.export(folder)
    assert subprocess.run([*DENSEBONE, *command], cwd=folder).returncode == 0
    return ["predict", "--model", "models/hardnet39ds", "-O", "out", "pictures"]


def predict_boxes(folder):
    command = detection(folder)
    assert subprocess.run([*DENSEBONE, *command, "epoch=1"], cwd=folder).returncode == 0
    draw(folder / "pictures")
    size = "TestReader.sample_transforms.1.Resize.target_size=[64,64]"
    name = "smoke_ppyoloe_hardnet39ds_192_10e_sample"
    return ["predict", "-c", name, "--data", "data", "-o", size, "-O", "out", "--", "pictures"]


def features(folder):
    draw(folder / "pictures")
    feature_runs.write_weights(folder / "weights.safetensors")
    return feature_runs.command("pictures", "out", "weights.safetensors")


def classification(folder):
    return [*writing.classification(folder)[0], "epochs=500", "save_interval=50", "log_iters=50"]


def segmentation(folder):
    return [*writing.segmentation(folder)[0], "iters=2000", "save_interval=200", "log_iters=50"]


def detection(folder):
    return [*writing.detection(folder)[0], "epoch=500", "snapshot_epoch=50", "log_iter=50"]


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "prepared",
    [features, predict, predict_boxes, classification, segmentation, detection],
    ids=lambda function: function.__name__,
)
def test_memory_and_open_files_do_not_grow(prepared, tmp_path):
    command = prepared(tmp_path)
    process = subprocess.Popen([*DENSEBONE, *command], cwd=tmp_path, stdout=subprocess.DEVNULL)
    seen = []
    while process.poll() is None:
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            seen.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{process.pid}/fd"))))
        except OSError:
            break
        time.sleep(0.5)
    assert process.wait() == 0
    start, end = seen[len(seen) // 5 : len(seen) // 4], seen[-len(seen) // 20 - 2 : -1]
    rows = [[max(values) for values in zip(*part)] for part in (start, end)]
    print(
        f"\n{prepared.__name__}: {len(seen) / 2:.0f} s; after a fifth {rows[0][0]:.0f} MB and {rows[0][1]} open files, "
        f"at the end {rows[1][0]:.0f} MB and {rows[1][1]}"
    )
    assert rows[1][0] - rows[0][0] < MOST_MB and rows[1][1] <= rows[0][1] + 2
