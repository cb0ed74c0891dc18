"""Small generated pictures, each different, quick to write."""

import numpy as np
from PIL import Image


def draw(folder, count, size=(64, 64)):
    """Writes 0000.png, 0001.png, ... of `size` (height, width) pixels. The number of a picture decides its colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colours = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:04d}.png", compress_level=1)
    return folder
