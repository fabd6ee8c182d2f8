"""Trees that stand out one by one: upright pictures facing the viewer, drawn far to near with a depth test."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.jit import compiled
from hackamore.worlds.light import Light
from hackamore.worlds.materials import TREE, lit
from hackamore.worlds.noise import value_noise
from hackamore.worlds.sky import hazed

PINE, ROUND, BARE, PALM = range(4)
NONE, LEAF, TRUNK, SNOWED = range(4)
HALF_WIDTH = (0.26, 0.42, 0.42, 0.46)
"""Half the widest extent of each kind, as a share of its height."""


class Trees(NamedTuple):
    """One entry a tree, far ones first; lengths in world units, colours linear."""

    x: NDArray[np.float64]
    z: NDArray[np.float64]
    base: NDArray[np.float64]
    height: NDArray[np.float64]
    kind: NDArray[np.int64]
    variety: NDArray[np.float64]
    colour: NDArray[np.float64]
    snowed: bool


@compiled
def _pine(q: float, v: float, seed: float, snowed: bool) -> tuple[int, float, float, float]:
    """Part and normal (x, y) with brightness of a pine at q (sideways) and v (down), both in tree heights."""
    tier = v * (5.5 + 3.0 * seed)
    tier -= math.floor(tier)
    rough = value_noise(q * 26.0 + seed * 50.0, v * 30.0 + seed * 9.0)
    width = (0.02 + 0.23 * v) * (0.60 + 0.40 * tier) * (0.74 + 0.5 * rough)
    if v < 0.93 and abs(q) < width:
        part = SNOWED if snowed and tier < 0.6 and rough > 0.25 else LEAF
        return part, q / max(width, 0.01), 0.35 + 0.5 * (0.5 - tier), 0.8 + 0.7 * (rough - 0.4)
    if v >= 0.85 and abs(q) < 0.020:
        return TRUNK, q / 0.03, 0.0, 1.0
    return NONE, 0.0, 0.0, 0.0


@compiled
def _round(q: float, v: float, seed: float) -> tuple[int, float, float, float]:
    """A broad crown on a short trunk."""
    x, y = q / 0.36, (v - 0.40) / 0.42
    lobes = value_noise(q * 15.0 + seed * 50.0, v * 15.0 + seed * 9.0)
    leaves = value_noise(q * 42.0 + seed * 20.0, v * 42.0)
    r = math.sqrt(x * x + y * y) + 0.5 * (lobes - 0.5) + 0.22 * (leaves - 0.5)
    if r < 0.92:
        return LEAF, x * 0.9, -y * 0.9, 0.85 + 0.7 * (leaves - 0.5) + 0.45 * (lobes - 0.5)
    if abs(q) < 0.022 + 0.012 * v and v > 0.5:
        return TRUNK, q / 0.035, 0.0, 1.0
    return NONE, 0.0, 0.0, 0.0


@compiled
def _bare(q: float, v: float, seed: float) -> tuple[int, float, float, float]:
    """Leafless branches: the contour lines of a noise, inside a crown."""
    x, y = q / 0.36, (v - 0.40) / 0.42
    r = math.sqrt(x * x + y * y) + 0.4 * (value_noise(q * 17.0 + seed * 50.0, v * 17.0) - 0.5)
    branch = abs(value_noise(q * 34.0 + seed * 50.0, v * 13.0 + seed) - 0.5)
    if (r < 0.95 and branch < 0.09) or (abs(q) < 0.018 + 0.014 * v and v > 0.35):
        return TRUNK, q / 0.36, 0.2, 1.0
    return NONE, 0.0, 0.0, 0.0


@compiled
def _palm(q: float, v: float, seed: float) -> tuple[int, float, float, float]:
    """A leaning trunk and a fan of hanging fronds."""
    lean = (seed - 0.5) * 0.35
    top = lean * 0.75
    side = q - top
    reach = abs(side)
    if reach < 0.34:
        for frond in range(4):
            rise = 1.0 - 0.55 * frond
            centre = 0.20 - rise * reach + 2.6 * reach * reach
            if abs(v - centre) < 0.032 * (1.0 - reach / 0.36):
                return LEAF, side / 0.36, 0.6 - 0.3 * frond, 1.0 - 0.1 * frond
    if v > 0.2 and abs(q - lean * (1.0 - v) * (0.75 + 0.3 * v)) < 0.017:
        return TRUNK, 0.3, 0.0, 1.2
    return NONE, 0.0, 0.0, 0.0


@compiled
def _draw_tree(trees: Trees, k: int, light: Light, eye: Eye, layers: Layers) -> None:
    """Draw tree ``k`` where nothing nearer stands."""
    rows, columns = layers.label.shape
    x, z, base, kind, seed = trees.x[k], trees.z[k], trees.base[k], trees.kind[k], trees.variety[k]
    middle = columns * 0.5 + eye.focal * x / z
    foot = eye.horizon - eye.focal * (base - eye.height) / z
    tall = eye.focal * trees.height[k] / z
    wide = tall * HALF_WIDTH[kind]
    head = foot - tall
    distance = z * math.sqrt(1.0 + (x / z) * (x / z))
    for py in range(max(int(head), 0), min(int(foot) + 1, rows)):
        v = (py + 0.5 - head) / tall
        if v < 0.0 or v > 1.0:
            continue
        for px in range(max(int(middle - wide), 0), min(int(middle + wide) + 1, columns)):
            if layers.depth[py, px] < z:
                continue
            q = (px + 0.5 - middle) / tall
            if kind == PINE:
                part, nx, ny, shade = _pine(q, v, seed, trees.snowed)
            elif kind == ROUND:
                part, nx, ny, shade = _round(q, v, seed)
            elif kind == BARE:
                part, nx, ny, shade = _bare(q, v, seed)
            else:
                part, nx, ny, shade = _palm(q, v, seed)
            if part == NONE:
                continue
            nx, ny = min(max(nx, -0.85), 0.85), min(max(ny, -0.5), 0.85)
            nz = -math.sqrt(max(1.0 - nx * nx - ny * ny, 0.05))
            unit = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
            nx, ny, nz = nx * unit, ny * unit, nz * unit
            r, g, b = trees.colour[k, 0], trees.colour[k, 1], trees.colour[k, 2]
            if part == TRUNK and kind != BARE:
                r, g, b = 0.17, 0.105, 0.06
            elif part == SNOWED:
                r, g, b = 0.62, 0.66, 0.73
            colour = lit(light, (r * shade, g * shade, b * shade), nx, ny, nz, 0.85)
            colour = hazed(light, colour, x / z, distance, 0.5 * (base + eye.height))
            layers.colour[py, px, 0], layers.colour[py, px, 1], layers.colour[py, px, 2] = colour
            layers.label[py, px], layers.depth[py, px] = TREE, z
            layers.normal[py, px, 0], layers.normal[py, px, 1], layers.normal[py, px, 2] = nx, ny, nz


@compiled
def draw_trees(trees: Trees, light: Light, eye: Eye, layers: Layers) -> None:
    """Draw all trees, in the order given (far to near)."""
    for k in range(trees.x.shape[0]):
        _draw_tree(trees, k, light, eye, layers)
