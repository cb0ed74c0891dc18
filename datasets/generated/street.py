"""Lays out street scenes: what stands where, the farthest first. Every class has its usual place, shape and colours.

The camera stands on the road. On both sides follow the sidewalk, the verge, a wall or fence, and houses or trees.
"""

import numpy as np

from . import things
from .painting import Part, View, bars, beside, blocks, facing, ground, part, rgb, sky, solid, speckled, windows

KERB, PAVED, EDGE, FACADES = 2.6, 3.9, 5.0, 5.6  # metres to the side: ends of road, sidewalk and verge; the houses
FAR = 0.075  # t at which the street ends
LONG_VEHICLES = (things.bus, things.truck, things.tram)
RIDERS = (things.cyclist, things.motorcyclist)
# Where the other things stand: ranges of metres to the side.
LANE, KERBSIDE, PAVEMENT, VERGE = (1.2, 1.6), (2.8, 3.2), (2.9, 3.7), (4.3, 4.8)
MAX_HIDDEN = 0.35  # share of a thing's box that a nearer thing may cover


def _quad(view, near, far, start=1.3, end=FAR):
    """Outline of the ground between `near` and `far` metres to the side, from t = `start` to t = `end`."""
    return [view.at(near, start), view.at(near, end), view.at(far, end), view.at(far, start)]


def _upright(view, right, start, end, low, high):
    """Outline of an upright surface along the street, from t = `start` to t = `end`, between two heights in metres."""
    return [
        view.at(right, start, low),
        view.at(right, start, high),
        view.at(right, end, high),
        view.at(right, end, low),
    ]


def _facade_colour(rng):
    return rgb(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.55), rng.uniform(0.45, 0.85))


def _windows(rng):
    return windows(rng.uniform(1.6, 2.4), rng.uniform(1.5, 1.9), rng.uniform(0.15, 0.35))


def _backdrop(rng, view):
    """The sky, and the houses and trees at the far end of the street."""
    top = rgb(rng.uniform(0.55, 0.62), rng.uniform(0.15, 0.5), rng.uniform(0.8, 0.97))
    parts = part(view, "sky", [(0, 0), (view.width, 0), (view.width, view.horizon + 2), (0, view.horizon + 2)],
                 sky(top, rng.uniform(0.1, 0.5)))  # fmt: skip
    bottom = view.at(0, FAR)[1] + 1
    right = -12.0
    while right < 12:
        step = rng.uniform(3, 6)
        left, top = view.at(right, 0.1)[0], bottom - rng.uniform(3, 8) * 0.1 * view.metre
        edge = view.at(right + step, 0.1)[0]
        outline = [(left, bottom), (left, top), (edge, top), (edge, bottom)]
        parts += part(view, "building", outline, facing(view, _facade_colour(rng), _windows(rng), bottom))
        right += step
    for _ in range(3):
        parts += things.tree(rng, view, rng.uniform(-8, 8), 0.1)
    return parts


def _houses(rng, view, side):
    """The houses on one side, the farthest first."""
    parts, t = [], FAR
    while t < 0.75:
        near = 1 / (1 / t - rng.uniform(1.6, 3.2)) if 1 / t > 4 else 0.8
        high = rng.uniform(4.5, 8)
        surface = beside(view, side * FACADES, _facade_colour(rng), _windows(rng), rng.uniform(0.8, 1.1))
        parts += part(view, "building", _upright(view, side * FACADES, near, t, -0.1, high), surface)
        t = near
    return parts


def _park(rng, view, side):
    """Trees and shrubs in place of houses, the farthest first."""
    grass = speckled(rgb(0.2, 0.5, 0.5), rgb(0.24, 0.45, 0.62), 12, 80)
    parts = part(view, "terrain", _quad(view, side * PAVED, side * 14), grass)
    for t in (0.1, 0.13, 0.17, 0.22, 0.29, 0.37):
        parts += things.tree(rng, view, side * rng.uniform(5.8, 7.5), t * rng.uniform(0.95, 1.1))
        parts += things.bush(rng, view, side * rng.uniform(5.6, 6.6), t * rng.uniform(1, 1.1))
    return parts


def _tiles(right, away):
    return -0.1 * (((right / 0.6) % 1 < 0.1) | ((away / 0.9) % 1 < 0.1)) - 0.12 * (abs(abs(right) - KERB) < 0.12)


def _lane_marks(right, away):
    dashes = (abs(right) < 0.06) & ((away / 4) % 1 < 0.5)
    return 0.4 * (dashes | (abs(abs(right) - KERB + 0.25) < 0.05))


def _rails(right, away):
    return 0.35 * (abs(abs(right + 1.4) - 0.6) < 0.05) - 0.08 * ((away / 0.8) % 1 < 0.3)


def _floor(rng, view, rails):
    """Sidewalks, verges, the road, and the track of a tram."""
    paving = ground(view, rgb(rng.uniform(0.03, 0.1), rng.uniform(0.05, 0.14), rng.uniform(0.6, 0.72)), _tiles)
    parts = part(view, "sidewalk", _quad(view, -FACADES, FACADES), paving)
    first = rng.choice([-1, 1])
    for side in [first, -first][: rng.integers(1, 3)]:
        hue, light = rng.uniform(0.15, 0.22), rng.uniform(0.4, 0.55)
        grass = speckled(rgb(hue, 0.55, light), rgb(hue + 0.03, 0.5, light + 0.12), 12, 80)
        parts += part(view, "terrain", _quad(view, side * PAVED, side * FACADES), grass)
    grey = rng.uniform(0.28, 0.4)
    parts += part(view, "road", _quad(view, -KERB, KERB), ground(view, rgb(0.62, 0.06, grey), _lane_marks, 0.03))
    if rails:
        track = ground(view, rgb(0.08, 0.12, grey + 0.06), _rails)
        parts += part(view, "rail track", _quad(view, -2.3, -0.5), track)
    return parts


def _boundaries(rng, view, index):
    """A wall or a fence, in turn, on one side, and often the other kind on the other side."""
    parts = []
    side = rng.choice([-1, 1])
    first = (index + index // 2) % 2  # 0 1 1 0 0 1 1 0: out of step with the riders, which would predict it
    for number, kind in enumerate(("wall", "fence") if first else ("fence", "wall")):
        if number and rng.uniform() > 0.6:
            break
        if kind == "wall":
            colour = rgb(rng.uniform(0.6, 0.72), rng.uniform(0.08, 0.2), rng.uniform(0.5, 0.65))
            pattern, high = blocks(rng.uniform(0.7, 1.0), rng.uniform(0.28, 0.36)), 1.5
        else:
            colour = rgb(rng.uniform(0.3, 0.42), rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.32))
            pattern, high = bars(rng.uniform(0.4, 0.5)), 1.45
        surface = beside(view, side * EDGE, colour, pattern, rng.uniform(0.85, 1.1))
        parts += part(view, kind, _upright(view, side * EDGE, 1.0, rng.uniform(0.09, 0.13), 0, high), surface)
        side = -side
    return parts


def _box(parts):
    """(left, top, right, bottom) of the labelled parts."""
    points = [point for piece in parts if piece.label for point in piece.outline]
    columns, rows = zip(*points)
    return min(columns), min(rows), max(columns), max(rows)


def _covers(near, far):
    """Share of the box `far` that the box `near` hides."""
    across = min(near[2], far[2]) - max(near[0], far[0])
    down = min(near[3], far[3]) - max(near[1], far[1])
    return max(across, 0) * max(down, 0) / ((far[2] - far[0] + 1) * (far[3] - far[1] + 1))


def _wanted(rng, index):
    """(function, range of metres to the side, range of t) of the things in the street, the important ones first.

    They stand near enough to be seen at half the size.
    """
    rider, long_vehicle = RIDERS[index % 2], LONG_VEHICLES[index % 3]
    result = [
        (long_vehicle, (-1.4, -1.4) if long_vehicle is things.tram else LANE, (0.28, 0.4)),
        (things.traffic_light, KERBSIDE, (0.42, 0.55)),
        (things.traffic_sign, KERBSIDE, (0.42, 0.6)),
        (rider, (0.6, 1.8), (0.5, 0.68)),
        (things.car, LANE, (0.35, 0.55)),
        (things.person, PAVEMENT, (0.45, 0.65)),
        ((things.bicycle, things.motorcycle)[(index + 1) % 2], PAVEMENT, (0.45, 0.6)),
        (things.person, PAVEMENT, (0.4, 0.65)),
    ]
    extra = [
        (things.car, LANE, (0.15, 0.3)),
        (things.car, (2.0, 2.2), (0.2, 0.5)),
        (things.person, (0.5, 3.7), (0.35, 0.65)),
        (things.tree, VERGE, (0.25, 0.4)),
        (things.bush, VERGE, (0.3, 0.5)),
        (things.lamp_post, VERGE, (0.35, 0.5)),
        (things.traffic_sign, KERBSIDE, (0.4, 0.55)),
        (RIDERS[(index + 1) % 2], (0.6, 1.8), (0.45, 0.65)),
        (LONG_VEHICLES[rng.integers(2)], LANE, (0.22, 0.4)),
        (things.dustbin, PAVEMENT, (0.35, 0.6)),
    ]
    return result + [row for row in extra if rng.uniform() < 0.6]


def _standing(rng, view, index):
    """The Parts of the things in the street, the farthest first. Things that find no place are left out."""
    placed = []  # (t, box, parts)
    for make, across, depth in _wanted(rng, index):
        for _ in range(15):
            side = 1 if across[0] < 0 else rng.choice([-1, 1])
            t = rng.uniform(*depth)
            parts = make(rng, view, side * rng.uniform(*across), t)
            if not any(piece.label for piece in parts):
                continue
            box = _box(parts)
            inside = box[0] > 0 and box[2] < view.width - 1
            hidden = (_covers(box, other) if t > far else _covers(other, box) for far, other, _ in placed)
            if inside and all(share < MAX_HIDDEN for share in hidden):
                placed.append((t, box, parts))
                break
    return [piece for _, _, parts in sorted(placed, key=lambda row: row[0]) for piece in parts]


def frame_of_camera(view: View) -> list[Part]:
    """The hood of the camera's car and the borders of the picture. Test pictures have no other labels."""
    height, width = view.height, view.width
    hood = [(0.12, 1), (0.2, 0.955), (0.35, 0.93), (0.65, 0.93), (0.8, 0.955), (0.88, 1)]
    outline = [(u * width, v * height) for u, v in hood]
    line = max(1, round(height / 200))
    shine = [([(0.3 * width, 0.95 * height), (0.7 * width, 0.95 * height)], (96, 100, 108), line)]
    parts = part(view, "ego vehicle", outline, solid((34, 36, 40), shine))
    edge = [(0, 0), (width, 0), (width, line), (0, line)]
    parts += part(view, "out of roi", edge, lambda rng, behind, x, y: behind)
    for left in (0, width - line):
        edge = [(left, 0), (left + line, 0), (left + line, height), (left, height)]
        parts += part(view, "rectification border", edge, lambda rng, behind, x, y: behind)
    return parts


def lay_out(rng: np.random.Generator, height: int, width: int, index: int) -> tuple[list[Part], list[Part]]:
    """(Parts of the scene, the farthest first; Parts of the camera's frame).

    Rare classes take turns by `index`: any three consecutive scenes show all 19 classes, unless something hides one.
    """
    view = View(height, width, width * rng.uniform(0.44, 0.56), height * rng.uniform(0.38, 0.44))
    parts = _backdrop(rng, view) + _floor(rng, view, LONG_VEHICLES[index % 3] is things.tram)
    park = rng.choice([-1, 1]) if rng.uniform() < 0.35 else 0
    for side in (-1, 1):
        parts += _park(rng, view, side) if side == park else _houses(rng, view, side)
    return parts + _boundaries(rng, view, index) + _standing(rng, view, index), frame_of_camera(view)
