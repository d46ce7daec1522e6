# SPDX-License-Identifier: MIT
"""The demo's world: captioned pictures of one or two shapes, drawn from distance functions, and a check that reads a
picture back.

    scenes.training(count, seed)   scenes to learn from
    scenes.held_out(count, seed)   scenes whose combination of words no training scene has
    scene.caption                  "a large red star on the left and a small blue ring on the right, at night"
    scenes.draw(scene, random)     [128, 128, 3] uint8
    scenes.judge(picture, scene)   is each object there, in its colour, at its place, and nothing else?

`style` of draw is what the demo's LoRAs teach: "ink" (black outlines on white paper) or "stripes" (a striped backdrop).
The models themselves never see either.
"""

import dataclasses
import hashlib
import itertools

import cv2
import numpy as np

SIZE = 128  # pixels, both ways
SHAPES = ("circle", "square", "triangle", "star", "ring")
COLOURS = {  # RGB in [0, 1]
    "red": (0.88, 0.12, 0.16),
    "orange": (0.98, 0.52, 0.06),
    "yellow": (0.98, 0.86, 0.12),
    "green": (0.10, 0.66, 0.26),
    "blue": (0.12, 0.36, 0.92),
    "purple": (0.58, 0.20, 0.80),
}
RADII = {"small": 17.0, "large": 26.0}  # pixels
BACKDROPS = {  # the colours at the top and at the bottom
    "on paper": ((0.97, 0.95, 0.90), (0.86, 0.84, 0.80)),
    "at night": ((0.03, 0.04, 0.12), (0.13, 0.13, 0.27)),
    "at dawn": ((0.80, 0.72, 0.82), (0.98, 0.88, 0.80)),
    "in the fog": ((0.72, 0.75, 0.77), (0.50, 0.53, 0.55)),
    "under the sky": ((0.66, 0.80, 0.92), (0.93, 0.96, 0.98)),
}
PLACES = {  # the centre, as a share of the width and of the height
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.27),
    "at the bottom": (0.5, 0.73),
    "in the middle": (0.5, 0.5),
}
PAIRS = (
    ("on the left", "on the right"),
    ("on the right", "on the left"),
    ("at the top", "at the bottom"),
    ("at the bottom", "at the top"),
)


@dataclasses.dataclass(frozen=True)
class Thing:
    size: str
    colour: str
    shape: str
    place: str

    @property
    def caption(self) -> str:
        article = "an" if self.size[0] in "aeiou" else "a"
        return f"{article} {self.size} {self.colour} {self.shape} {self.place}"


@dataclasses.dataclass(frozen=True)
class Scene:
    things: tuple[Thing, ...]
    backdrop: str

    @property
    def caption(self) -> str:
        return " and ".join(thing.caption for thing in self.things) + f", {self.backdrop}"


def is_held_out(scene: Scene) -> bool:
    """One scene in ten, by its caption."""
    return hashlib.sha256(scene.caption.encode()).digest()[0] < 26


def scenes(seed: int):
    random = np.random.default_rng(seed)

    def thing(place: str) -> Thing:
        return Thing(*(str(random.choice(list(words))) for words in (RADII, COLOURS, SHAPES)), place)

    while True:
        backdrop = str(random.choice(list(BACKDROPS)))
        if random.random() < 0.4:
            yield Scene((thing(str(random.choice(list(PLACES)))),), backdrop)
            continue
        first, second = (thing(place) for place in PAIRS[random.integers(len(PAIRS))])
        if first.colour != second.colour:  # two of one colour could not be told apart where they touch
            yield Scene((first, second), backdrop)


def training(count: int, seed: int) -> list[Scene]:
    return list(itertools.islice((scene for scene in scenes(seed) if not is_held_out(scene)), count))


def held_out(count: int, seed: int) -> list[Scene]:
    return list(itertools.islice((scene for scene in scenes(seed) if is_held_out(scene)), count))


def half_planes(x: np.ndarray, y: np.ndarray, corners: int, inner: float) -> np.ndarray:
    """Distances to the lines of a regular polygon whose inner radius is `inner`: [corners, height, width]."""
    angles = np.pi / 2 + np.pi / corners + 2 * np.pi * np.arange(corners) / corners
    return np.stack([x * np.cos(angle) - y * np.sin(angle) - inner for angle in angles])


def distance(shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Pixels to the outline, negative inside; x to the right and y down from the centre."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.75 * radius) - 0.27 * radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.86 * radius
    if shape == "triangle":
        return half_planes(x, y - 0.2 * radius, 3, 0.58 * radius).max(axis=0)
    assert shape == "star"
    # Inside a five-pointed star is what lies behind at least four of its five lines.
    return np.sort(half_planes(x, 0.1 * radius - y, 5, 0.4 * radius), axis=0)[-2]


def draw(scene: Scene, random: np.random.Generator, style: str | None = None, apart: float = 0.5) -> np.ndarray:
    """apart: how far, in pixels, an object may be from its place, and by half of that its radius from its size."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    top, bottom = (np.array(colour) for colour in BACKDROPS[scene.backdrop])
    down = (y / SIZE)[..., None]
    picture = (1 - down) * top + down * bottom
    if style == "ink":
        picture = np.ones_like(picture)
    elif style == "stripes":
        bands = 0.5 + 0.5 * np.clip(4 * np.sin(2 * np.pi * (x + y) / 16), -1, 1)
        picture = 0.25 + 0.75 * np.repeat(bands[..., None], 3, axis=2)
    for thing in scene.things:
        place_x, place_y = PLACES[thing.place]
        shift_x, shift_y = random.uniform(-apart, apart, 2)
        radius = RADII[thing.size] + random.uniform(-apart, apart) / 2
        right, below = x - place_x * SIZE - shift_x, y - place_y * SIZE - shift_y
        away = distance(thing.shape, right, below, radius)
        light = 1.0 if style == "ink" else 1.0 - 0.12 * (right + below)[..., None] / radius
        colour = np.clip(np.array(COLOURS[thing.colour]) * light, 0, 1)
        inside = np.clip(0.5 - away, 0, 1)[..., None]
        picture = (1 - inside) * picture + inside * colour
        if style == "ink":
            line = np.clip(2.5 - np.abs(away - 1.0), 0, 1)[..., None]
            picture = (1 - line) * picture
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


HUES = {
    name: np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    for name, (red, green, blue) in COLOURS.items()
}


def colour_masks(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Which pixels have which of the colours; backdrops are too pale or too dark to have one."""
    rgb = picture.astype(np.float32) / 255
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    highest, lowest = rgb.max(axis=2), rgb.min(axis=2)
    coloured = (highest - lowest > 0.5 * highest) & (highest > 0.4)
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    apart = np.stack([np.abs((hue - centre + 180) % 360 - 180) for centre in HUES.values()])
    nearest = apart.argmin(axis=0)
    return {name: coloured & (nearest == index) for index, name in enumerate(HUES)}


@dataclasses.dataclass(frozen=True)
class Found:
    colour: str
    shape: str
    x: float  # of the centre of its box, as a share of the width
    y: float
    area: int  # pixels


ANGLES = 72
WAVES = slice(2, 13)
CORNERED = ("triangle", "square", "star")


def outline_waves(mask: np.ndarray) -> np.ndarray:
    """The waves, two to a turn and more, in how far a mask reaches from its centre as a share of the mean."""
    y, x = np.nonzero(mask)
    right, below = x - x.mean(), y - y.mean()
    direction = np.floor((np.arctan2(below, right) / (2 * np.pi) + 0.5) * ANGLES).astype(int) % ANGLES
    reach = np.zeros(ANGLES)
    np.maximum.at(reach, direction, np.hypot(right, below))
    return np.fft.rfft(reach / reach.mean())[WAVES] / ANGLES


def drawn_waves() -> dict[str, np.ndarray]:
    y, x = np.mgrid[-64:64, -64:64] + 0.5
    return {shape: outline_waves(distance(shape, x, y, 50.0) < 0) for shape in CORNERED}


DRAWN_WAVES = drawn_waves()
LEAST_SHARE = 0.35  # of its waves that a shape with blunt corners still has


def shape_of(mask: np.ndarray) -> str:
    """The shape whose waves, weakened as a blur does, come closest; a circle has none."""
    y, x = np.nonzero(mask)
    middle_y, middle_x = round(float(y.mean())), round(float(x.mean()))
    if mask[middle_y - 1 : middle_y + 2, middle_x - 1 : middle_x + 2].mean() < 0.5:
        return "ring"
    found = outline_waves(mask)
    off = {"circle": float(np.linalg.norm(found))}
    for shape, waves in DRAWN_WAVES.items():
        share = np.clip(np.vdot(waves, found).real / np.vdot(waves, waves).real, LEAST_SHARE, 1)
        off[shape] = float(np.linalg.norm(found - share * waves))
    return min(off, key=off.get)


def find(picture: np.ndarray) -> list[Found]:
    """The objects of a picture; specks under 60 pixels (edges between two colours) are none."""
    found = []
    for colour, mask in colour_masks(picture).items():
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        for index in range(1, count):
            left, top, width, height, area = stats[index]
            if area >= 60 and min(width, height) >= 8:
                centre = ((left + width / 2) / SIZE, (top + height / 2) / SIZE)
                found.append(Found(colour, shape_of(labels == index), *centre, int(area)))
    return found


def is_at(found: Found, place: str) -> bool:
    x, y = PLACES[place]
    return abs(found.x - x) < 0.12 and abs(found.y - y) < 0.12


def judge(picture: np.ndarray, scene: Scene) -> dict[str, bool]:
    """right: as many objects as the caption has, each with its colour and shape at its place."""
    found = find(picture)
    verdict = {"count": len(found) == len(scene.things), "colour": True, "shape": True, "place": True}
    for thing in scene.things:
        here = [item for item in found if is_at(item, thing.place)]
        verdict["place"] &= bool(here)
        verdict["colour"] &= any(item.colour == thing.colour for item in here)
        verdict["shape"] &= any(item.shape == thing.shape for item in here)
    verdict["right"] = all(verdict.values())
    return verdict


def style_strength(picture: np.ndarray, style: str) -> float:
    """How plainly a picture has a style: about 1 with it, about 0 without."""
    luma = picture.astype(np.float64).mean(axis=2) / 255
    if style == "ink":
        paper = (luma > 0.93).mean()
        lines = (luma < 0.15).mean()
        return float(np.clip(paper / 0.6, 0, 1) * np.clip(lines / 0.03, 0, 1))
    # The share of the backdrop's variation that has the stripes' frequency (both ways round).
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    wave = np.exp(2j * np.pi * (x + y) / 16)
    return float(np.clip(2.2 * abs((luma * wave).mean()) / 0.25, 0, 1))


if __name__ == "__main__":  # the check must find drawn pictures right, with and without a style, sharp and blurred
    generator = np.random.default_rng(0)
    for style, blur in itertools.product((None, "ink", "stripes"), (0, 2)):
        verdicts = []
        strength = {name: [] for name in ("ink", "stripes")}
        for item in held_out(300, 1):
            drawn = draw(item, generator, style)
            seen = cv2.GaussianBlur(drawn, (0, 0), blur) if blur else drawn
            verdicts.append(judge(seen, item)["right"])
            for name, values in strength.items():
                values.append(style_strength(seen, name))
        means = {name: round(float(np.mean(values)), 2) for name, values in strength.items()}
        print(f"{style}, blurred by {blur} pixels: right {np.mean(verdicts):.3f}", means)
