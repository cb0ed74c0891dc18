"""Small pictures, no two alike, drawn in a moment."""

import numpy as np
from PIL import Image


def draw(folder, count, size=(64, 64)):
    """Writes 0000.png, 0001.png, ... of (height, width) pixels: patches of colours that the number decides."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colours = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:04d}.png", compress_level=1)
    return folder
