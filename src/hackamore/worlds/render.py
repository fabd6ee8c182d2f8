"""Render a world: a picture, its exact truth and its caption, from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import People, Person
from hackamore.worlds.captions import write_caption
from hackamore.worlds.draw import Eye, Layers, draw_land
from hackamore.worlds.facts import observe
from hackamore.worlds.figures.company import Company
from hackamore.worlds.figures.drawing import draw_company
from hackamore.worlds.figures.notice import NOBODY, notice_people
from hackamore.worlds.figures.placing import grown_trees, place_company
from hackamore.worlds.figures.points import key_points
from hackamore.worlds.grid import build_grid
from hackamore.worlds.materials import WATER
from hackamore.worlds.people_words import write_people_caption
from hackamore.worlds.scene import Scene, make_scene
from hackamore.worlds.solids import draw_solids
from hackamore.worlds.stage.hall import choose_hall
from hackamore.worlds.stage.notice import NO_HALL, NO_LAND, notice_hall
from hackamore.worlds.stage.show import EXPOSURE, SATURATION, draw_show
from hackamore.worlds.styles import choose_style, restyle
from hackamore.worlds.tone import develop, precipitate, to_bytes
from hackamore.worlds.trees import draw_trees
from hackamore.worlds.truth import condense

SMALLEST, LARGEST = 8, 4096
MARGIN = 1 / 16
"""Columns of land on either side of the picture, as a share of its width, for shadows from outside."""


@dataclass(frozen=True)
class Camera:
    """Focal length and horizon row in pixels, eye height in world units.

    A pixel (px, py) of depth z shows the point x = (px + ½ - width/2) / focal · z,
    y = eye + (horizon - (py + ½)) / focal · z.
    """

    focal: float
    horizon: float
    eye: float
    width: int
    height: int

    def points(self, depth: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World x and y of every pixel of a depth map H×W (not finite where depth is infinite)."""
        px = np.arange(self.width) + 0.5
        py = np.arange(self.height)[:, None] + 0.5
        far = depth.astype(np.float64)
        with np.errstate(invalid="ignore"):
            return (px - self.width / 2) / self.focal * far, self.eye + (self.horizon - py) / self.focal * far


@dataclass(frozen=True)
class World:
    """A rendered world; all arrays are H×W and describe the same surface point at each pixel.

    ``picture`` uint8 RGB; ``segmentation`` indices of :data:`hackamore.core.palette.CLASSES`; ``depth`` distance
    along the view axis in world units, infinite for sky and cloud; ``normals`` unit vectors in camera axes (x right,
    y up, z towards the viewer), zero for sky and cloud, straight up for water, a rounded body's for trees.
    ``attributes`` holds everything the caption says or might say. ``people`` are the OpenPose key points of everyone of
    whom a joint is seen, in pixels of the picture; joints that something hides have confidence 0.
    """

    seed: int
    picture: NDArray[np.uint8]
    segmentation: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    caption: str
    attributes: dict[str, str]
    camera: Camera
    people: People


def render(
    seed: int,
    size: int | tuple[int, int] = 128,
    supersample: int = 2,
    people: float = 0.0,
    sights: float = 0.0,
    styles: float = 0.0,
) -> World:
    """The world of ``seed``, the same bytes every time.

    ``size`` is the width and height in pixels, one number for a square, 8 to 4096 each; ``supersample`` 1 to 4 is how
    many parts a side each pixel is drawn with; ``people`` is the probability, 0 to 1, that there are people,
    ``sights`` that something stands out (a hut, a village, a bridge, a waterfall, the inside of a forest) and, an
    eighth as often, that there is a storm, ``styles`` that the picture is a watercolour, pixel art or an ink drawing.
    Raises :class:`HackamoreError` for anything else.
    """
    width, height = _checked(seed, size, supersample, people=people, sights=sights, styles=styles)
    return render_scene(
        make_scene(seed, people, sights), width, height, supersample, choose_style(seed, styles) if styles else None
    )


def render_scene(scene: Scene, width: int, height: int, supersample: int = 2, style: str | None = None) -> World:
    """A scene drawn ``width`` × ``height`` pixels large, in a manner of :data:`hackamore.worlds.styles.STYLES`, or as
    "photo"; None is a photo too, and no caption says so.
    """
    if scene.company is not None and scene.company.stage:
        return _render_show(scene, scene.company, width, height, supersample, style)
    w, h = width * supersample, height * supersample
    view, light = scene.view, scene.light
    focal = (w * h) ** 0.5 / view.field
    horizon = h * view.horizon
    eye = Eye(view.eye, focal, horizon)
    layers, people, seen = _draw(scene, eye, w, h, supersample)
    label, depth, normal = condense(layers, supersample)
    develop(layers.colour, light.exposure, light.saturation)
    if scene.plan.precipitation != "none":
        bright = {"night": 0.45, "dusk": 0.7}.get(scene.plan.time, 0.95)
        precipitate(
            layers.colour, scene.precipitation, (w * h) ** 0.5 / 200, scene.plan.precipitation == "rain", bright
        )
    camera = Camera(focal / supersample, horizon / supersample, view.eye, width, height)
    fall = (label == WATER) & (camera.points(depth)[1] > scene.land.water_level + 0.04)
    attributes = observe(scene.plan, light, label, camera.focal, camera.horizon, scene.sight, fall) | seen
    told = {} if style is None else {"style": style}
    write = write_caption if attributes["people"] == "none" else write_people_caption
    caption = write(np.random.default_rng((scene.seed, 1)), attributes | told)
    attributes["style"] = style or "photo"
    picture = restyle(style or "photo", to_bytes(layers.colour, supersample), scene.seed)
    return World(scene.seed, picture, label, depth, normal, caption, attributes, camera, people)


def _render_show(scene: Scene, company: Company, width: int, height: int, supersample: int, style: str | None) -> World:
    """The concert of a scene."""
    hall = choose_hall(company)
    setting, layers, parts, which = draw_show(company, hall, width * supersample, height * supersample)
    view = setting.view
    people = key_points(company.figures, setting.places, parts, view, layers, which, supersample)
    seen = notice_people(company, setting.places, people, parts, which) | notice_hall(hall, parts, which)
    label, depth, normal = condense(layers, supersample)
    develop(layers.colour, EXPOSURE, SATURATION)
    camera = Camera(view.focal / supersample, view.horizon / supersample, view.height, width, height)
    attributes = NO_LAND | seen
    told = {} if style is None else {"style": style}
    caption = write_people_caption(np.random.default_rng((scene.seed, 1)), attributes | told)
    attributes["style"] = style or "photo"
    picture = restyle(style or "photo", to_bytes(layers.colour, supersample), scene.seed)
    return World(
        scene.seed, picture, label, depth, normal, caption, attributes, camera, _shown(people, (width, height))
    )


def _shown(people: tuple[Person, ...], size: tuple[int, int]) -> People:
    """Those of whom any joint is seen."""
    return People(tuple(person for person in people if person.visible.any()), size)


def _draw(scene: Scene, eye: Eye, width: int, height: int, supersample: int) -> tuple[Layers, People, dict[str, str]]:
    """The land, its trees and its people: layers, key points, and words for who is seen."""
    margin = int(width * MARGIN)
    below = (height - eye.horizon) / eye.focal
    planned = (1.0 - scene.view.horizon) * scene.view.field
    nearest = scene.view.nearest * min(1.0, planned / below)
    steps = int(260 + 0.75 * max(width, height))
    grid = build_grid(scene.land, scene.light, nearest, eye.focal, width, margin, steps)
    layers = Layers(
        np.empty((height, width, 3), np.float32),
        np.empty((height, width), np.uint8),
        np.empty((height, width), np.float32),
        np.empty((height, width, 3), np.float32),
    )
    size = (width // supersample, height // supersample)
    draw_land(scene.land, scene.light, grid, eye, margin, 5.0, layers)
    draw_solids(scene.solids, scene.light, eye, layers)
    company = scene.company
    if company is None:
        draw_trees(scene.trees, scene.light, eye, layers)
        return layers, People((), size), NOBODY | NO_HALL
    places = place_company(company, scene.land, eye, width, height, nearest)
    company = replace(company, figures=company.figures[: len(places)])
    draw_trees(grown_trees(scene.trees, places), scene.light, eye, layers)
    overcast = 0.6 if scene.plan.weather in ("overcast", "stormy", "foggy") else 0.0
    parts, which = draw_company(company, places, scene.light, grid, eye, overcast, layers)
    people = key_points(company.figures, places, parts, eye, layers, which, supersample)
    return layers, _shown(people, size), NO_HALL | notice_people(company, places, people, parts, which)


def _checked(seed: int, size: int | tuple[int, int], supersample: int, **chances: float) -> tuple[int, int]:
    """Width and height, or the error that says what is wrong with the arguments."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise HackamoreError("a world's seed is a whole number from 0 up", received=repr(seed))
    width, height = (size, size) if isinstance(size, int | np.integer) else size
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise HackamoreError(
            "a world cannot be drawn at this size",
            received=f"{width} × {height}",
            expected=f"width and height from {SMALLEST} to {LARGEST} pixels",
        )
    for name, chance in chances.items():
        if not 0.0 <= chance <= 1.0:
            raise HackamoreError(f"the probability of {name} is 0 to 1", received=chance)
    if not 1 <= supersample <= 4:
        raise HackamoreError("a world's supersampling is 1 to 4", received=supersample)
    return int(width), int(height)
