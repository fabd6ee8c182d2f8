"""Where a ray meets a part, and every part drawn into the layers: exact depth and normal, nearest surface first."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hackamore.worlds.draw import Eye, Layers
from hackamore.worlds.figures.parts import BOX, CONE, Casters, Parts
from hackamore.worlds.jit import compiled

MISS = -1.0
Hit = tuple[float, float, float, float]
"""Distance in lengths of the ray's direction (``MISS``: none) and the normal, unit length."""


@compiled
def _ball(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, radius: float) -> float:
    """Nearest distance to a ball around the origin."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - radius * radius
    h = b * b - a * c
    return (-b - math.sqrt(h)) / a if h >= 0.0 else MISS


@compiled
def _capsule(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    mx: float, my: float, mz: float, first: float, last: float,
) -> Hit:  # fmt: skip
    """The hull of a ball at the origin and one at m.

    A point q of its side obeys |q|²·g − (q·m)² + 2·(q·m)·first·w − L²·first² = 0 with w = first − last, g = L² − w²,
    from the distance to the axis being that of the two balls' common tangent cone.
    """
    length2, w = mx * mx + my * my + mz * mz, first - last
    g = length2 - w * w
    if g > 1e-12 * length2 and length2 > 0.0:
        dm, om = dx * mx + dy * my + dz * mz, ox * mx + oy * my + oz * mz
        dd, od, oo = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz
        a = g * dd - dm * dm
        b = g * od - om * dm + dm * first * w
        c = g * oo - om * om + 2.0 * om * first * w - length2 * first * first
        h = b * b - a * c
        if h < 0.0 and a > 0.0:
            return MISS, 0.0, 0.0, 0.0
        if h >= 0.0 and abs(a) > 1e-300:
            t = (-b - math.sqrt(h)) / a
            y = om + t * dm - first * w
            if 0.0 < y < g:
                nx, ny, nz = (ox + t * dx) * g - mx * y, (oy + t * dy) * g - my * y, (oz + t * dz) * g - mz * y
                scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
                return t, nx * scale, ny * scale, nz * scale
    t = _ball(ox, oy, oz, dx, dy, dz, first)
    cx, cy, cz, radius = 0.0, 0.0, 0.0, first
    s = _ball(ox - mx, oy - my, oz - mz, dx, dy, dz, last)
    if s > 0.0 and (t <= 0.0 or s < t):
        t, cx, cy, cz, radius = s, mx, my, mz, last
    return t, (ox + t * dx - cx) / radius, (oy + t * dy - cy) / radius, (oz + t * dz - cz) / radius


@compiled
def _cone(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    mx: float, my: float, mz: float, first: float, last: float,
) -> Hit:  # fmt: skip
    """The open side of a cone from radius ``first`` at the origin to ``last`` at m; from within, its inside."""
    length2 = mx * mx + my * my + mz * mz
    w = (last - first) / length2
    dm, om = dx * mx + dy * my + dz * mz, ox * mx + oy * my + oz * mz
    at = first + w * om
    a = dx * dx + dy * dy + dz * dz - dm * dm / length2 - w * w * dm * dm
    b = ox * dx + oy * dy + oz * dz - om * dm / length2 - at * w * dm
    c = ox * ox + oy * oy + oz * oz - om * om / length2 - at * at
    h = b * b - a * c
    if h < 0.0 or abs(a) < 1e-300:
        return MISS, 0.0, 0.0, 0.0
    root = math.sqrt(h)
    for k in range(2):
        t = (-b - root) / a if (k == 0) == (a > 0.0) else (-b + root) / a
        y = om + t * dm
        if t > 0.0 and 0.0 < y < length2:
            pull = y / length2 + w * (first + w * y)
            nx, ny, nz = ox + t * dx - mx * pull, oy + t * dy - my * pull, oz + t * dz - mz * pull
            scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
            if nx * dx + ny * dy + nz * dz > 0.0:
                scale = -scale
            return t, nx * scale, ny * scale, nz * scale
    return MISS, 0.0, 0.0, 0.0


@compiled
def _box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, mx: float, my: float, mz: float) -> Hit:
    """A box from the origin to m, seen from outside."""
    near, far, which = -1e30, 1e30, 0
    for k in range(3):
        o, d, m = (ox, dx, mx) if k == 0 else (oy, dy, my) if k == 1 else (oz, dz, mz)
        if abs(d) < 1e-12:
            d = 1e-12
        t0, t1 = -o / d, (m - o) / d
        if t0 > t1:
            t0, t1 = t1, t0
        if t0 > near:
            near, which = t0, k
        far = min(far, t1)
    if near > far or near <= 0.0:
        return MISS, 0.0, 0.0, 0.0
    if which == 0:
        return near, -1.0 if dx > 0.0 else 1.0, 0.0, 0.0
    if which == 1:
        return near, 0.0, -1.0 if dy > 0.0 else 1.0, 0.0
    return near, 0.0, 0.0, -1.0 if dz > 0.0 else 1.0


@compiled
def meet(parts: Parts, k: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> Hit:
    """Where the ray from o along d meets part ``k``.

    A squashed part is met by a stretched ray in its unsquashed shape: distances along the ray stay, and the normal
    is stretched once more (the inverse transpose of the squashing).
    """
    ox, oy, oz = ox - parts.start[k, 0], oy - parts.start[k, 1], oz - parts.start[k, 2]
    ax, ay, az, more = parts.axis[k, 0], parts.axis[k, 1], parts.axis[k, 2], parts.squash[k] - 1.0
    po, pd = more * (ox * ax + oy * ay + oz * az), more * (dx * ax + dy * ay + dz * az)
    ox, oy, oz = ox + po * ax, oy + po * ay, oz + po * az
    dx, dy, dz = dx + pd * ax, dy + pd * ay, dz + pd * az
    mx, my, mz = parts.along[k, 0], parts.along[k, 1], parts.along[k, 2]
    if parts.kind[k] == BOX:
        t, nx, ny, nz = _box(ox, oy, oz, dx, dy, dz, mx, my, mz)
    elif parts.kind[k] == CONE:
        t, nx, ny, nz = _cone(ox, oy, oz, dx, dy, dz, mx, my, mz, parts.first[k], parts.last[k])
    else:
        t, nx, ny, nz = _capsule(ox, oy, oz, dx, dy, dz, mx, my, mz, parts.first[k], parts.last[k])
    if t > 0.0 and more != 0.0:
        pn = more * (nx * ax + ny * ay + nz * az)
        nx, ny, nz = nx + pn * ax, ny + pn * ay, nz + pn * az
        scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * scale, ny * scale, nz * scale
    return t, nx, ny, nz


@compiled
def _misses(cx: float, cy: float, cz: float, bound: float, dx: float, dy: float, dz: float, farthest: float) -> bool:
    """Whether a ray from the origin along the unit vector d passes by a ball, or ends before it."""
    along = cx * dx + cy * dy + cz * dz
    return along < -bound or along > farthest + bound or cx * cx + cy * cy + cz * cz - along * along > bound * bound


@compiled
def shaded_from(
    those: Casters, px: float, py: float, pz: float, dx: float, dy: float, dz: float, farthest: float, least: float
) -> bool:
    """Whether a part lies on the way from p along the unit vector d, between ``least`` and ``farthest``."""
    parts = those.parts
    for g in range(those.bound.shape[0]):
        x, y, z = those.centre[g, 0] - px, those.centre[g, 1] - py, those.centre[g, 2] - pz
        if _misses(x, y, z, those.bound[g], dx, dy, dz, farthest):
            continue
        for k in range(those.first[g], those.first[g + 1]):
            x, y, z = parts.centre[k, 0] - px, parts.centre[k, 1] - py, parts.centre[k, 2] - pz
            if _misses(x, y, z, parts.bound[k], dx, dy, dz, farthest):
                continue
            t = meet(parts, k, px, py, pz, dx, dy, dz)[0]
            if least < t < farthest:
                return True
    return False


@compiled
def _window(parts: Parts, k: int, eye: Eye, rows: int, columns: int) -> tuple[int, int, int, int]:
    """First and last row, first and last column (exclusive) that part ``k`` can cover: those of its two ends."""
    low_u, high_u, low_v, high_v = 1e9, -1e9, 1e9, -1e9
    for end in range(8):
        x, y, z = parts.start[k, 0], parts.start[k, 1], parts.start[k, 2]
        other_x, other_y, other_z = (
            2.0 * parts.centre[k, 0] - x,
            2.0 * parts.centre[k, 1] - y,
            (2.0 * parts.centre[k, 2] - z),
        )
        radius = 0.0
        if parts.kind[k] == BOX:
            x, y, z = (
                other_x if end & 1 else x,
                other_y if end & 2 else y,
                other_z if end & 4 else z,
            )
        elif end == 1:
            x, y, z, radius = other_x, other_y, other_z, parts.last[k]
        elif end == 0:
            radius = parts.first[k]
        else:
            break
        y -= eye.height
        if z - radius <= 1e-4:
            return 0, rows, 0, columns
        near, far = 1.0 / (z - radius), 1.0 / (z + radius)
        low_u = min(low_u, (x - radius) * near, (x - radius) * far)
        high_u = max(high_u, (x + radius) * near, (x + radius) * far)
        low_v = min(low_v, (y - radius) * near, (y - radius) * far)
        high_v = max(high_v, (y + radius) * near, (y + radius) * far)
    top, bottom = eye.horizon - eye.focal * high_v, eye.horizon - eye.focal * low_v
    left, right = columns * 0.5 + eye.focal * low_u, columns * 0.5 + eye.focal * high_u
    return (
        int(min(max(top, 0.0), rows)),
        int(min(max(bottom + 1.0, 0.0), rows)),
        int(min(max(left, 0.0), columns)),
        int(min(max(right + 1.0, 0.0), columns)),
    )


@compiled
def draw_parts(parts: Parts, eye: Eye, layers: Layers, which: NDArray[np.int16]) -> None:
    """Draw every part where nothing nearer is; ``which`` gets the number of the part at each pixel.

    The layers' colour is left unlit.
    """
    rows, columns = layers.label.shape
    for k in range(parts.kind.shape[0]):
        top, bottom, left, right = _window(parts, k, eye, rows, columns)
        for py in range(top, bottom):
            v = (eye.horizon - py - 0.5) / eye.focal
            for px in range(left, right):
                u = (px + 0.5 - columns * 0.5) / eye.focal
                t, nx, ny, nz = meet(parts, k, 0.0, eye.height, 0.0, u, v, 1.0)
                if t <= 0.0 or t >= layers.depth[py, px]:
                    continue
                for c in range(3):
                    layers.colour[py, px, c] = parts.colour[k, c]
                layers.label[py, px], layers.depth[py, px], which[py, px] = parts.label[k], t, k
                layers.normal[py, px, 0], layers.normal[py, px, 1], layers.normal[py, px, 2] = nx, ny, nz
