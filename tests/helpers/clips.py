"""Videos for tests: written frame by frame by OpenCV, and changed afterwards where a test needs an unusual one."""

import struct

import cv2
import numpy as np

#: around the table of times in an mp4
_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")


def frame(number, size=(96, 64)):
    """uint8 (H, W, 3) in RGB: a gray picture with a white bar that tells the number, and a moving red square."""
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[:8, : 1 + number % (size[0] - 1)] = 255
    left = 4 + number % (size[0] - 30)
    image[20:44, left : left + 24] = 220, 30, 30
    return image


def number_of(image):
    """The number that `frame` drew, up to its width."""
    return int((image[2:6].mean((0, 2)) > 170).sum()) - 1


def write(file, count, rate=25.0, size=(96, 64), code="mp4v"):
    """Writes a video of the frames 0 to `count` - 1."""
    video = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), rate, size)
    assert video.isOpened()
    for number in range(count):
        video.write(cv2.cvtColor(frame(number, size), cv2.COLOR_RGB2BGR))
    video.release()
    return file


def vary(file, shares):
    """Gives the frames of an mp4 other durations, of the same sum; returns when each begins, in seconds."""
    data = bytearray(file.read_bytes())
    places, start = [], 0
    for name in _BOXES:
        start = data.index(name, start)
        places.append(start - 4)
    (entries,) = struct.unpack_from(">I", data, start + 8)
    assert entries == 1
    count, delta = struct.unpack_from(">II", data, start + 12)
    units = [round(share * delta * count / sum(shares)) for share in shares]
    units[-1] += delta * count - sum(units)
    table = b"".join(struct.pack(">II", 1, unit) for unit in units)
    data[start + 8 : start + 20] = struct.pack(">I", count) + table
    for place in places:
        (length,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, length + len(table) - 8)
    file.write_bytes(data)
    video = cv2.VideoCapture(str(file))
    seconds = count / video.get(cv2.CAP_PROP_FPS)
    scale = seconds / sum(units)
    return [scale * sum(units[:number]) for number in range(count)]
