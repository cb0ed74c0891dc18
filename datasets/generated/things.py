"""People, vehicles, poles and trees. Each function returns the Parts of one thing, the farthest first.

Most outlines are given in a unit frame, of width 1 and height 1, that stands on the ground at (right, t).
"""

import numpy as np

from .painting import Colour, Part, Point, View, disc, part, rgb, shadow, solid, speckled

GLASS, RUBBER, SKIN, METAL = (44, 58, 76), (24, 24, 27), (214, 160, 128), (88, 92, 97)


class _Frame:
    """Maps points of the unit frame, with (0, 0) at its bottom left, to pixels. Sizes and `up` are in metres."""

    def __init__(
        self,
        view: View,
        right: float,
        t: float,
        width: float,
        height: float,
        up: float = 0.0,
        mirrored: bool = False,
    ) -> None:
        self.left, self.bottom = view.at(right - width / 2, t, up)
        self.scale = width * t * view.metre, height * t * view.metre
        self.mirrored = mirrored

    def __call__(self, *points: Point) -> list[Point]:
        return [
            (self.left + (1 - u if self.mirrored else u) * self.scale[0], self.bottom - v * self.scale[1])
            for u, v in points
        ]

    def box(self, left: float, bottom: float, right: float, top: float) -> list[Point]:
        """Corners of a rectangle, in pixels."""
        return self((left, bottom), (left, top), (right, top), (right, bottom))

    def disc(self, u: float, v: float, across: float, up: float) -> list[Point]:
        """Outline of an ellipse with the centre (u, v) and the radii `across` and `up`, in pixels."""
        return self(*disc(u, v, across, up))


_BODY = (  # a walker with the arms at the sides, from the left foot round to the right foot
    (0.14, 0), (0.36, 0), (0.48, 0.4), (0.56, 0.4), (0.66, 0), (0.88, 0), (0.78, 0.46), (0.98, 0.44), (0.92, 0.76),
    (0.7, 0.84), (0.62, 0.86), (0.7, 0.93), (0.62, 1), (0.38, 1), (0.3, 0.93), (0.38, 0.86), (0.3, 0.84),
    (0.08, 0.76), (0.02, 0.44), (0.22, 0.46),
)  # fmt: skip


def person(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A person on foot, in clothes of any colour and mostly dark trousers."""
    tall = rng.uniform(1.6, 1.85)
    frame = _Frame(view, right, t, rng.uniform(0.36, 0.42) * tall, tall)
    clothes = rgb(rng.uniform(0.55, 1.05), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.8))
    trousers = rgb(rng.uniform(0.55, 0.7), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.3))
    details = [
        (frame.box(0, 0, 1, 0.45), trousers, None),
        (frame.box(0.25, 0.85, 0.75, 1), SKIN, None),
        (frame.box(0.25, 0.95, 0.75, 1), rgb(rng.uniform(0.05, 0.12), 0.5, rng.uniform(0.1, 0.5)), None),
    ]
    return shadow(view, right, t, 0.8) + part(view, "person", frame(*_BODY), solid(clothes, details))


def _wheels(frame, view, t, radius, thickness, within):
    """Two wheels as details: `radius` (across, up) in the frame, tyres of `thickness` metres, the colour `within`."""
    details = []
    for u in (radius[0], 1 - radius[0]):
        details.append((frame.disc(u, radius[1], *radius), within, None))
        rim = frame.disc(u, radius[1], 0.88 * radius[0], 0.88 * radius[1])
        details.append((rim, RUBBER, view.line(thickness, t)))
    return details


_BICYCLE = (  # from the saddle over the rear wheel to the front wheel and the handlebar
    (0.26, 0.93), (0.26, 0.8), (0.1, 0.6), (0, 0.42), (0, 0.24), (0.07, 0.08), (0.17, 0), (0.27, 0), (0.37, 0.08),
    (0.44, 0.22), (0.56, 0.22), (0.63, 0.08), (0.73, 0), (0.83, 0), (0.93, 0.08), (1, 0.24), (1, 0.42), (0.94, 0.56),
    (0.82, 0.68), (0.8, 1), (0.6, 1), (0.62, 0.86), (0.46, 0.84), (0.46, 0.93),
)  # fmt: skip


def bicycle(rng: np.random.Generator, view: View, right: float, t: float, mirrored: bool = False) -> list[Part]:
    """A bicycle from the side. It is thin, and the background shows through."""
    frame = _Frame(view, right, t, 1.5, 1.0, mirrored=mirrored)
    paint = rgb(rng.uniform(0.42, 0.55), rng.uniform(0.6, 1), rng.uniform(0.5, 0.9))
    details = [
        *_wheels(frame, view, t, (0.22, 0.33), 0.09, (172, 172, 168)),
        (frame((0.24, 0.33), (0.36, 0.8), (0.7, 0.76), (0.48, 0.3)), paint, view.line(0.1, t)),
        (frame((0.71, 0.92), (0.78, 0.33)), paint, view.line(0.08, t)),
        (frame.box(0.26, 0.82, 0.46, 0.93), RUBBER, None),
        (frame.box(0.6, 0.92, 0.8, 1), RUBBER, None),
    ]
    return shadow(view, right, t, 1.5) + part(view, "bicycle", frame(*_BICYCLE), solid(None, details))


def motorcycle(rng: np.random.Generator, view: View, right: float, t: float, mirrored: bool = False) -> list[Part]:
    """A motorcycle from the side, with a solid body between thick wheels."""
    frame = _Frame(view, right, t, 1.75, 1.05, mirrored=mirrored)
    radius = (0.19, 0.31)
    paint = rgb(rng.uniform(0.94, 1.04), rng.uniform(0.75, 1), rng.uniform(0.45, 0.8))
    outline = [(0.02, 0.5), (0, 0.3), (0.04, 0.1), (0.19, 0), (0.34, 0.1), (0.4, 0.18), (0.6, 0.18), (0.66, 0.1)]
    outline += [(0.81, 0), (0.96, 0.1), (1, 0.3), (0.95, 0.55), (0.8, 0.7), (0.76, 1), (0.62, 1), (0.6, 0.85)]
    outline += [(0.45, 0.72), (0.05, 0.72)]
    details = [
        (frame.box(0.2, 0.15, 0.8, 0.5), (66, 66, 70), None),
        *_wheels(frame, view, t, radius, 0.17, (98, 98, 100)),
        (frame((0.02, 0.52), (0.06, 0.74), (0.46, 0.74), (0.62, 0.86), (0.95, 0.56), (0.6, 0.42), (0.4, 0.45)), paint,
         None),
        (frame.box(0.08, 0.64, 0.45, 0.74), RUBBER, None),
        (frame.disc(0.88, 0.66, 0.06, 0.09), (250, 240, 200), None),
    ]  # fmt: skip
    return shadow(view, right, t, 1.75) + part(view, "motorcycle", frame(*outline), solid((40, 40, 44), details))


_SEATED = (  # from the foot on the pedal up the back, over the head and down the arm
    (0.5, 0.02), (0.66, 0.02), (0.64, 0.14), (0.74, 0.42), (0.5, 0.5), (0.58, 0.66), (0.78, 0.52), (0.86, 0.58),
    (0.62, 0.8), (0.68, 0.9), (0.6, 1), (0.44, 1), (0.38, 0.9), (0.42, 0.82), (0.26, 0.74), (0.2, 0.4), (0.3, 0.28),
    (0.56, 0.3), (0.5, 0.12),
)  # fmt: skip


def _ridden(rng, view, right, t, machine, pedals):
    """A two-wheeler and its rider, in a bright jacket and helmet. `pedals`: height above the ground, in metres."""
    mirrored = rng.uniform() < 0.5
    frame = _Frame(view, right, t, 1.25, 1.4, up=pedals, mirrored=mirrored)
    jacket = rgb(rng.uniform(0.06, 0.16), rng.uniform(0.75, 1), rng.uniform(0.75, 1))
    trousers = rgb(0.6, 0.4, rng.uniform(0.1, 0.25))
    details = [
        (frame.box(0, 0, 1, 0.34), trousers, None),
        (frame.box(0.5, 0, 0.8, 0.48), trousers, None),
        (frame.box(0.36, 0.82, 0.7, 0.92), SKIN, None),
        (frame.box(0.36, 0.9, 0.7, 1), rgb(rng.uniform(), rng.uniform(0, 0.3), rng.uniform(0.8, 1)), None),
    ]
    rider = part(view, "rider", frame(*_SEATED), solid(jacket, details))
    return machine(rng, view, right, t, mirrored) + rider


def cyclist(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A bicycle with its rider."""
    return _ridden(rng, view, right, t, bicycle, 0.3)


def motorcyclist(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A motorcycle with its rider."""
    return _ridden(rng, view, right, t, motorcycle, 0.28)


def car(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A car from behind or from the front, with any paint, lamps and a licence plate."""
    frame = _Frame(view, right, t, rng.uniform(1.7, 1.9), rng.uniform(1.35, 1.55))
    paint = rgb(rng.uniform(0.55, 0.7), rng.choice([0.05, 0.7]), rng.uniform(0.2, 0.95))
    if rng.uniform() < 0.25:
        paint = rgb(0.0, 0.8, rng.uniform(0.4, 0.8))
    behind = rng.uniform() < 0.6
    lamp = (190, 24, 24) if behind else (250, 246, 220)
    details = [
        (frame((0.2, 0.6), (0.28, 0.94), (0.72, 0.94), (0.8, 0.6)), GLASS, None),
        (frame.box(0, 0, 1, 0.14), RUBBER, None),
        (frame.box(0.04, 0.4, 0.22, 0.54), lamp, None),
        (frame.box(0.78, 0.4, 0.96, 0.54), lamp, None),
        (frame.box(0.22, 0.16, 0.78, 0.2), (30, 30, 34), None),
    ]
    outline = [(0.03, 0), (0.2, 0), (0.22, 0.08), (0.78, 0.08), (0.8, 0), (0.97, 0), (1, 0.5), (0.86, 0.6), (0.76, 1)]
    outline += [(0.24, 1), (0.14, 0.6), (0, 0.5)]
    plate = part(view, "license plate", frame.box(0.38, 0.24, 0.62, 0.34), solid((232, 232, 226)))
    return shadow(view, right, t, 2.1) + part(view, "car", frame(*outline), solid(paint, details)) + plate


def _long_vehicle(view, label, right, t, size, paint, front, side, far=0.45, foot=0.1):
    """A box along the street: its front is at t, and its side ends at far * t.

    Args:
        size: (width, height) in metres.
        paint: colour of the front.
        front: details (left, bottom, right, top, colour), as shares of the front.
        side: details (near, bottom, far, top, colour), as shares of the side.
        far: where the side ends, as a share of t.
        foot: metres between the ground and the body.
    """
    width, height = size
    inner, outer = (right - width / 2, right + width / 2) if right > 0 else (right + width / 2, right - width / 2)

    def on_side(share, v):
        return view.at(inner, 1 / ((1 + share * (1 / far - 1)) / t), v * height)

    def on_front(u, v):
        return view.at(inner + u * (outer - inner), t, v * height)

    def quad(place, box):
        left, bottom, right_, top = box
        return [place(left, bottom), place(left, top), place(right_, top), place(right_, bottom)]

    dark = tuple(round(0.72 * value) for value in paint)
    details = [(quad(on_side, (0, 0, 1, 1)), dark, None)]
    details += [(quad(on_side, box), colour, None) for *box, colour in side]
    details += [(quad(on_front, box), colour, None) for *box, colour in front]
    low = foot / height
    outline = [on_front(1, low), on_front(1, 1), on_front(0, 1), on_side(1, 1), on_side(1, low), on_front(0, low)]
    outline += [on_front(0, 0), on_front(0.2, 0), on_front(0.2, low), on_front(0.8, low), on_front(0.8, 0)]
    return shadow(view, right, t, 1.1 * width) + part(view, label, [*outline, on_front(1, 0)], solid(paint, details))


# a detail of a vehicle's front or side; see `_long_vehicle`
_Panel = tuple[float, float, float, float, Colour]
_TYRES: list[_Panel] = [(0, 0, 0.2, 0.12, RUBBER), (0.8, 0, 1, 0.12, RUBBER)]


def bus(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A bright city bus, with windows all round and a destination board."""
    paint = rgb(rng.uniform(0.97, 1.02), rng.uniform(0.75, 0.95), rng.uniform(0.65, 0.9))
    front = [(0.06, 0.42, 0.94, 0.82, GLASS), (0.12, 0.86, 0.88, 0.96, (240, 170, 40)), *_TYRES]
    front += [(0.06, 0.2, 0.2, 0.28, (250, 246, 220)), (0.8, 0.2, 0.94, 0.28, (250, 246, 220))]
    side = [(k / 6 + 0.02, 0.45, k / 6 + 0.14, 0.85, GLASS) for k in range(6)]
    side += [(0.1, 0, 0.24, 0.16, RUBBER), (0.7, 0, 0.84, 0.16, RUBBER)]
    return _long_vehicle(view, "bus", right, t, (2.3, 2.9), paint, front, side)


def truck(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A lorry from behind: a plain box with doors, hazard stripes and a dark chassis."""
    paint = rgb(rng.uniform(0.55, 0.62), rng.uniform(0.05, 0.2), rng.uniform(0.75, 0.95))
    stripe = (206, 108, 28)
    front = [(0.485, 0.3, 0.515, 1, (70, 74, 82)), (0, 0.14, 1, 0.28, (52, 52, 56)), *_TYRES]
    front += [(0.05, 0.17, 0.2, 0.25, (200, 30, 30)), (0.8, 0.17, 0.95, 0.25, (200, 30, 30))]
    front += [(0.05, 0.33, 0.42, 0.42, stripe), (0.58, 0.33, 0.95, 0.42, stripe)]
    side: list[_Panel] = [(0, 0.12, 1, 0.26, (44, 44, 48)), (0, 0.55, 0.9, 0.68, stripe)]
    side += [(0.05, 0, 0.2, 0.16, RUBBER), (0.7, 0, 0.85, 0.16, RUBBER)]
    return _long_vehicle(view, "truck", right, t, (2.3, 2.8), paint, front, side, far=0.55, foot=0.3)


def tram(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A tram, which Cityscapes calls a train: tall and long, white over a green skirt, with a dark band of windows."""
    paint = rgb(rng.uniform(0.1, 0.16), rng.uniform(0.05, 0.15), rng.uniform(0.85, 0.98))
    skirt = rgb(rng.uniform(0.34, 0.42), rng.uniform(0.7, 0.9), rng.uniform(0.4, 0.6))
    front = [(0, 0, 1, 0.36, skirt), (0.14, 0.42, 0.86, 0.8, GLASS), (0.3, 0.86, 0.7, 0.95, (240, 170, 40))]
    front += [(0.4, 0.2, 0.6, 0.3, (250, 246, 220))]
    side = [(0, 0, 1, 0.36, skirt), (0.04, 0.5, 0.97, 0.8, GLASS)]
    return _long_vehicle(view, "train", right, t, (2.1, 3.2), paint, front, side, far=0.3, foot=0.05)


def _pole(view, right, t, tall):
    """A post, at least 6 pixels wide in a picture 256 high."""
    half = max(0.075, 3.2 / 256 * view.height / (t * view.metre))
    corners = [view.at(right + side, t, up) for side, up in ((-half, 0), (-half, tall), (half, tall), (half, 0))]
    shine = ([view.at(right - half / 3, t), view.at(right - half / 3, t, tall)], (132, 136, 140), view.line(0.05, t))
    return part(view, "pole", corners, solid(METAL, [shine], shade=0.1))


def lamp_post(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A bare pole."""
    return _pole(view, right, t, rng.uniform(3.5, 5))


def traffic_light(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A pole with a black case of three lamps, one of them lit."""
    foot = rng.uniform(1.75, 2.1)
    frame = _Frame(view, right, t, 0.44, 1.15, up=foot)
    lit = int(rng.integers(3))
    colours = [(40, 220, 110), (250, 190, 40), (240, 40, 30)]
    details = [
        (frame.disc(0.5, 0.2 + 0.3 * k, 0.36, 0.13), colours[k] if k == lit else (58, 56, 50), None) for k in range(3)
    ]
    case = part(view, "traffic light", frame.box(0, 0, 1, 1), solid((18, 20, 20), details, shade=0.1))
    return _pole(view, right, t, foot + 0.2) + case


def traffic_sign(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A pole with a round, triangular or square sign."""
    foot = rng.uniform(1.6, 2.0)
    frame = _Frame(view, right, t, 0.8, 0.8, up=foot)
    red, white, blue, yellow = (200, 24, 34), (244, 244, 240), (24, 80, 190), (250, 206, 30)
    whole, middle = frame.disc(0.5, 0.5, 0.5, 0.5), frame.disc(0.5, 0.5, 0.33, 0.33)
    warning = frame((0, 0.02), (1, 0.02), (0.5, 0.95)), frame((0.22, 0.14), (0.78, 0.14), (0.5, 0.66))
    priority = frame((0, 0.5), (0.5, 1), (1, 0.5), (0.5, 0)), frame((0.14, 0.5), (0.5, 0.86), (0.86, 0.5), (0.5, 0.14))
    outline, base, details = [
        (whole, red, [(middle, white, None), (frame.box(0.42, 0.3, 0.58, 0.7), RUBBER, None)]),
        (whole, red, [(frame.box(0.16, 0.42, 0.84, 0.58), white, None)]),
        (warning[0], red, [(warning[1], white, None)]),
        (frame.box(0.04, 0.04, 0.96, 0.96), blue, [(frame((0.2, 0.2), (0.8, 0.2), (0.5, 0.8)), white, None)]),
        (priority[0], white, [(priority[1], yellow, None)]),
    ][rng.integers(5)]
    return _pole(view, right, t, foot + 0.3) + part(view, "traffic sign", outline, solid(base, details, shade=0.1))


def _leaves(rng):
    hue = rng.uniform(0.24, 0.34)
    return speckled(rgb(hue, 0.65, rng.uniform(0.12, 0.22)), rgb(hue - 0.03, 0.55, rng.uniform(0.35, 0.55)), 14, 60)


def tree(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A crown on a trunk, in one outline: Cityscapes labels both as vegetation."""
    tall, reach = rng.uniform(3.2, 4.2), rng.uniform(1.0, 1.5)
    angles = np.linspace(-0.42 * np.pi, 1.42 * np.pi, 26)
    radii = reach * rng.uniform(0.85, 1.1, 26)
    crown = [
        view.at(right + r * np.cos(angle), t, tall - reach + 1.1 * r * np.sin(angle)) for angle, r in zip(angles, radii)
    ]
    trunk = [view.at(right + side, t, up) for side, up in ((-0.14, 1), (-0.2, 0), (0.2, 0), (0.14, 1))]
    return part(view, "vegetation", [*crown, *trunk], _leaves(rng))


def bush(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A low round shrub."""
    reach, tall = rng.uniform(0.8, 1.4), rng.uniform(0.9, 1.5)
    angles = np.linspace(0, np.pi, 14)
    radii = rng.uniform(0.85, 1.05, 14)
    points = [view.at(right + reach * r * np.cos(a), t, tall * r * np.sin(a)) for a, r in zip(angles, radii)]
    return part(view, "vegetation", points, _leaves(rng))


def dustbin(rng: np.random.Generator, view: View, right: float, t: float) -> list[Part]:
    """A dustbin, which Cityscapes labels as static and does not score."""
    frame = _Frame(view, right, t, 0.6, 1.0)
    details = [(frame.box(0, 0.8, 1, 1), (60, 62, 64), None)]
    outline = frame((0.1, 0), (0, 1), (1, 1), (0.9, 0))
    return shadow(view, right, t, 0.7) + part(view, "static", outline, solid((92, 66, 44), details))
