"""The parts of street scenes: labelled polygons seen by a camera, and ways to paint them.

The camera looks down a straight street. A place has three coordinates: `right`, in metres from the camera's axis; `t`,
which is 1 / distance and is 1 where the ground leaves the picture at its bottom; `up`, in metres above the ground.
"""

import colorsys
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .shared import smooth_noise

AWAY = 6.5  # distance in metres = AWAY / t

Point = tuple[float, float]  # x, y in pixels
Colour = tuple[int, int, int]  # red, green, blue
# (random generator, colours behind (h, w, 3), columns (1, w), rows (h, 1)) -> colours (h, w, 3); see `Part`
Paint = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# what `beside` and `facing` paint: (metres along, metres up, colour, colours behind) -> colours (h, w, 3)
Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# a detail of `solid`: (points in pixels, colour, width of the line or None to fill)
Detail = tuple[Sequence[Point], Colour, int | None]


@dataclass(frozen=True)
class Part:
    """A polygon with a label of Cityscapes, and how it looks.

    Attributes:
        label: name of the label, or None for a part that is only painted.
        outline: [(x, y)] in whole pixels.
        paint: gets a random generator, the colours painted so far in the polygon's box, float (h, w, 3) of about 0..1,
            and the columns (1, w) and rows (h, 1) of the box in the picture. Returns new colours for the whole box;
            those inside the polygon are used.
    """

    label: str | None
    outline: list[tuple[int, int]]
    paint: Paint


@dataclass(frozen=True)
class View:
    """Where the camera looks: the vanishing point of the street is (middle, horizon), in pixels."""

    height: int
    width: int
    middle: float
    horizon: float

    @property
    def metre(self) -> float:
        """Pixels per metre where t is 1."""
        return 0.34 * min(self.height, self.width / 2)

    @property
    def drop(self) -> float:
        """Pixels from the horizon down to the ground where t is 1."""
        return self.height - self.horizon

    def at(self, right: float, t: float, up: float = 0.0) -> Point:
        """Pixel (x, y) of a place."""
        return self.middle + right * t * self.metre, self.horizon + t * (self.drop - up * self.metre)

    def line(self, thickness: float, t: float) -> int:
        """Width in pixels, at least 1, of a line that is `thickness` metres wide."""
        return max(1, round(thickness * t * self.metre))


def rgb(hue: float, saturation: float, value: float) -> Colour:
    """Red, green and blue 0..255. The hue is cyclic with period 1."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def disc(x: float, y: float, across: float, down: float, corners: int = 20) -> list[Point]:
    """Outline of an ellipse with the centre (x, y) and the radii `across` and `down`."""
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def _clip(points, width, height):
    """Clips a polygon to the picture (Sutherland and Hodgman) and rounds it to whole pixels."""
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


def part(view: View, label: str | None, points: Iterable[Iterable[float]], paint: Paint) -> list[Part]:
    """A list with the Part, or an empty list when the polygon lies outside the picture."""
    outline = _clip([tuple(point) for point in points], view.width, view.height)
    return [Part(label, outline, paint)] if len(set(outline)) >= 3 else []


def paint(rng: np.random.Generator, parts: Iterable[Part], height: int, width: int) -> np.ndarray:
    """Paints the parts in the given order, the farthest first, into a float (H, W, 3) of about 0..1."""
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


def shadow(view: View, right: float, t: float, width: float) -> list[Part]:
    """A dark ellipse on the ground, `width` in metres, without a label."""
    x, y = view.at(right, t)
    reach = 0.55 * width * t * view.metre
    return part(view, None, disc(x, y, reach, 0.2 * reach), lambda rng, behind, x, y: 0.6 * behind)


# ways to paint


def solid(base: Colour | None, details: Sequence[Detail] = (), grain: float = 0.04, shade: float = 0.3) -> Paint:
    """One colour with details drawn on it, in the given order.

    Args:
        base: the colour. None lets the background show through, a little lighter.
        details: (points in pixels, colour, width of the line or None to fill).
        grain: strength of the noise.
        shade: how much darker the bottom is.
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


def sky(top: Colour, clouds: float) -> Paint:
    """A colour that fades to white towards the horizon. `clouds`, 0..1, is the amount of clouds."""
    above = _array(top)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        white = np.clip(0.8 * (y - y[0]) / height + clouds * smooth_noise(rng, height, width, 5), 0, 1)[..., None]
        return above * (1 - white) + 0.93 * white

    return paint


def speckled(first: Colour, second: Colour, cells: float, fine: float) -> Paint:
    """Leaves and grass: two colours mixed by coarse noise, with `cells` cells across, and `fine` noise."""
    one, other = _array(first), _array(second)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        mix = 0.5 + 0.6 * smooth_noise(rng, height, width, cells) + 0.5 * smooth_noise(rng, height, width, fine)
        mix = np.clip(mix, 0, 1)[..., None]
        return one * (1 - mix) + other * mix

    return paint


def ground(view: View, colour: Colour, pattern: Callable[[np.ndarray, np.ndarray], Any], rough: float = 0.05) -> Paint:
    """A level surface. `pattern` maps metres to the right and away to the light to add, (h, w)."""
    base = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        t = np.maximum((y - view.horizon) / view.drop, 0.02)
        sharp = np.clip((t - 0.1) / 0.3, 0, 1)  # the pattern fades before it becomes finer than the pixels
        light = sharp * pattern((x - view.middle) / (t * view.metre), AWAY / t + 0 * x)
        light = light + 0.05 * smooth_noise(rng, height, width, 6) + rough * smooth_noise(rng, height, width, 120)
        return base + light[..., None]

    return paint


def beside(view: View, right: float, colour: Colour, pattern: Pattern, sun: float) -> Paint:
    """An upright surface along the street, `right` metres from the middle. `sun`, about 1, is its brightness.

    `pattern` maps metres away, metres up, the colour and the colours behind to (h, w, 3).
    """
    base = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        t = np.maximum((x - view.middle) / (right * view.metre), 0.02)
        up = (view.drop - (y - view.horizon) / t) / view.metre
        sharp = np.clip((t - 0.06) / 0.12, 0, 1)[..., None]
        painted = pattern(AWAY / t + 0 * y, up, base, behind)
        noise = 0.06 * smooth_noise(rng, height, width, 5) + 0.05 * smooth_noise(rng, height, width, 80)
        return (sharp * painted + (1 - sharp) * painted.mean(axis=(0, 1))) * sun + noise[..., None]

    return paint


def facing(view: View, colour: Colour, pattern: Pattern, bottom: float) -> Paint:
    """A distant upright surface that faces the camera, with its foot at the row `bottom`. `pattern` as in `beside`."""
    base = _array(colour)

    def paint(rng, behind, x, y):
        height, width = behind.shape[:2]
        metre = 0.1 * view.metre
        painted = pattern((x - x[0, 0]) / metre + 0 * y, (bottom - y) / metre + 0 * x, base, behind)
        haze = 0.75 * painted + 0.15
        return haze + 0.05 * smooth_noise(rng, height, width, 10)[..., None]

    return paint


# patterns of upright surfaces


def windows(pitch: float, storey: float, shine: float) -> Pattern:
    """Panes every `pitch` metres along and `storey` metres up. `shine` is their brightness."""
    pane = np.array((0.8, 0.95, 1.1), np.float32) * shine

    def pattern(away, up, colour, behind):
        across, along = (away / pitch) % 1, (up / storey) % 1
        hole = (across > 0.3) & (across < 0.75) & (along > 0.3) & (along < 0.8)
        return np.where(hole[..., None], pane, colour)

    return pattern


def blocks(length: float, course: float) -> Pattern:
    """Stones of `length` metres in courses of `course` metres, under a light coping."""

    def pattern(away, up, colour, behind):
        row = np.floor(up / course)
        joint = ((up / course) % 1 < 0.18) | ((away / length + 0.5 * (row % 2)) % 1 < 0.08)
        light = np.where(joint, 0.65, 1.0) * np.where(up > 1.3, 1.25, 1.0)
        return colour * light[..., None].astype(np.float32)

    return pattern


def bars(pitch: float) -> Pattern:
    """A bar every `pitch` metres, and two rails. The background shows through."""

    def pattern(away, up, colour, behind):
        bar = ((away / pitch) % 1 < 0.4) | (np.abs(up - 1.25) < 0.1) | (np.abs(up - 0.25) < 0.1)
        return np.where(bar[..., None], colour, 0.8 * behind)

    return pattern
