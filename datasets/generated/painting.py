"""What street scenes are made of: labelled polygons seen by a camera, and ways to paint them.

The camera looks down a straight street. A place is given by metres to the right of the camera, by `t`, which is
1 / distance in units of the distance at which the ground leaves the picture, and by metres above the ground.
"""

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .shared import smooth_noise

AWAY = 6.5  # distance in metres = this / t


@dataclass(frozen=True)
class Part:
    """A polygon with a label of Cityscapes (None: painted only), and how it looks.

    `paint` is called with a random generator, what is there so far, (h, w, 3) float about 0..1, and the columns
    (1, w) and rows (h, 1) of those pixels in the picture. It returns new colours for all of them, of which those
    within the polygon are used.
    """

    label: str | None
    outline: list  # [(x, y)] whole pixels
    paint: Callable


@dataclass(frozen=True)
class View:
    """Where the camera looks: the vanishing point of the street is (middle, horizon), in pixels."""

    height: int
    width: int
    middle: float
    horizon: float

    @property
    def metre(self):
        """Pixels of a metre where t is 1."""
        return 0.34 * min(self.height, self.width / 2)

    @property
    def drop(self):
        """Pixels from the horizon down to the ground where t is 1."""
        return self.height - self.horizon

    def at(self, right, t, up=0.0):
        """Pixel (x, y) of a place."""
        return self.middle + right * t * self.metre, self.horizon + t * (self.drop - up * self.metre)

    def line(self, thickness, t):
        """Pixels of a line that is `thickness` metres wide, at least 1."""
        return max(1, round(thickness * t * self.metre))


def rgb(hue, saturation, value):
    """Red, green and blue 0..255; the hue goes round at 1."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def disc(x, y, across, down, corners=20):
    """Outline of an ellipse."""
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def _clip(points, width, height):
    """The part of a polygon that lies in the picture (Sutherland and Hodgman), in whole pixels."""
    for axis, limit, sign in ((0, 0, 1), (0, width - 1, -1), (1, 0, 1), (1, height - 1, -1)):
        kept = []
        for start, end in zip(points, [*points[1:], *points[:1]]):
            first, second = (sign * (point[axis] - limit) >= 0 for point in (start, end))
            if first:
                kept.append(start)
            if first != second:
                share = (limit - start[axis]) / (end[axis] - start[axis])
                kept.append(tuple(a + share * (b - a) for a, b in zip(start, end)))
        points = kept
    return [(round(float(x)), round(float(y))) for x, y in points]


def part(view, label, points, paint):
    """The Part in a list; an empty list when nothing of it lies in the picture."""
    outline = _clip([tuple(point) for point in points], view.width, view.height)
    return [Part(label, outline, paint)] if len(set(outline)) >= 3 else []


def paint(rng, parts, height, width):
    """What parts look like, painted one over the other, the farthest first: (H, W, 3) float about 0..1."""
    scene = np.full((height, width, 3), 0.6, np.float32)
    for piece in parts:
        columns, rows = (sorted(values) for values in zip(*piece.outline))
        left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        mask = Image.new("1", (width, height))
        ImageDraw.Draw(mask).polygon(piece.outline, fill=1)
        inside = np.asarray(mask.crop((left, top, right, bottom)))[..., None]
        behind = scene[top:bottom, left:right]
        x, y = np.arange(left, right, dtype=np.float32)[None], np.arange(top, bottom, dtype=np.float32)[:, None]
        behind[:] = np.where(inside, piece.paint(rng, behind, x, y), behind)
    return scene


def _array(colour):
    return np.array(colour, np.float32) / 255


def shadow(view, right, t, width):
    """A dark ellipse on the ground, `width` in metres; it has no label."""
    x, y = view.at(right, t)
    reach = 0.55 * width * t * view.metre
    return part(view, None, disc(x, y, reach, 0.2 * reach), lambda rng, behind, x, y: 0.6 * behind)


# ways to paint


def solid(base, details=(), grain=0.04, shade=0.3):
    """One colour and on it, in this order, details: (points in pixels, colour, None to fill or width of a line).

    Without a base, what is behind shows through, a little lighter. `shade`: how much darker the bottom is.
    """

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        if base is None:
            canvas = Image.fromarray(np.uint8(np.clip(0.75 * behind + 0.17, 0, 1) * 255))
        else:
            canvas = Image.new("RGB", (width, height), base)
        draw = ImageDraw.Draw(canvas)
        for points, colour, line in details:
            moved = [(float(px - x[0, 0]), float(py - y[0, 0])) for px, py in points]
            if line is None:
                draw.polygon(moved, fill=colour)
            else:
                draw.line([*moved, moved[0]], fill=colour, width=line)
        down = np.linspace(shade / 3, -2 * shade / 3, height, dtype=np.float32)[:, None]
        light = 1 + down + grain * smooth_noise(rng, height, width, max(4, width / 3))
        return _array(canvas) * light[..., None]

    return paint


def sky(top, clouds):
    """A colour that gets white towards the horizon, with clouds, 0..1."""
    top = _array(top)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        white = np.clip(0.8 * (y - y[0]) / height + clouds * smooth_noise(rng, height, width, 5), 0, 1)[..., None]
        return top * (1 - white) + 0.93 * white

    return paint


def speckled(first, second, cells, fine):
    """Two colours mixed by coarse and fine noise of so many cells across: leaves and grass."""
    first, second = _array(first), _array(second)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        mix = 0.5 + 0.6 * smooth_noise(rng, height, width, cells) + 0.5 * smooth_noise(rng, height, width, fine)
        mix = np.clip(mix, 0, 1)[..., None]
        return first * (1 - mix) + second * mix

    return paint


def ground(view, colour, pattern, rough=0.05):
    """A level surface; `pattern` takes metres to the right and away, and returns the light to add, (h, w)."""
    colour = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        t = np.maximum((y - view.horizon) / view.drop, 0.02)
        sharp = np.clip((t - 0.1) / 0.3, 0, 1)  # a pattern fades before it gets finer than the pixels
        light = sharp * pattern((x - view.middle) / (t * view.metre), AWAY / t + 0 * x)
        light = light + 0.05 * smooth_noise(rng, height, width, 6) + rough * smooth_noise(rng, height, width, 120)
        return colour + light[..., None]

    return paint


def beside(view, right, colour, pattern, sun):
    """An upright surface along the street, `right` metres from the middle, lit by `sun`, about 1.

    `pattern` takes metres away and up, the colour and what is behind, and returns (h, w, 3).
    """
    colour = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        t = np.maximum((x - view.middle) / (right * view.metre), 0.02)
        up = (view.drop - (y - view.horizon) / t) / view.metre
        sharp = np.clip((t - 0.06) / 0.12, 0, 1)[..., None]
        painted = pattern(AWAY / t + 0 * y, up, colour, behind)
        noise = 0.06 * smooth_noise(rng, height, width, 5) + 0.05 * smooth_noise(rng, height, width, 80)
        return (sharp * painted + (1 - sharp) * painted.mean(axis=(0, 1))) * sun + noise[..., None]

    return paint


def facing(view, colour, pattern, bottom):
    """An upright surface that faces the camera, far away, its foot at the row `bottom`; `pattern` as for `beside`."""
    colour = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        metre = 0.1 * view.metre
        painted = pattern((x - x[0, 0]) / metre + 0 * y, (bottom - y) / metre + 0 * x, colour, behind)
        haze = 0.75 * painted + 0.15
        return haze + 0.05 * smooth_noise(rng, height, width, 10)[..., None]

    return paint


# patterns of upright surfaces


def windows(pitch, storey, shine):
    """Rows of panes, so many metres apart."""
    pane = np.array((0.8, 0.95, 1.1), np.float32) * shine

    def pattern(away, up, colour, behind):
        across, along = (away / pitch) % 1, (up / storey) % 1
        hole = (across > 0.3) & (across < 0.75) & (along > 0.3) & (along < 0.8)
        return np.where(hole[..., None], pane, colour)

    return pattern


def blocks(length, course):
    """Courses of stone under a light coping."""

    def pattern(away, up, colour, behind):
        row = np.floor(up / course)
        joint = ((up / course) % 1 < 0.18) | ((away / length + 0.5 * (row % 2)) % 1 < 0.08)
        light = np.where(joint, 0.65, 1.0) * np.where(up > 1.3, 1.25, 1.0)
        return colour * light[..., None].astype(np.float32)

    return pattern


def bars(pitch):
    """Bars and two rails; what is behind shows through."""

    def pattern(away, up, colour, behind):
        bar = ((away / pitch) % 1 < 0.4) | (np.abs(up - 1.25) < 0.1) | (np.abs(up - 0.25) < 0.1)
        return np.where(bar[..., None], colour, 0.8 * behind)

    return pattern
