"""Four drawings by an unsteady hand, as strokes: what people scribble who have no picture to trace."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

Stroke = list[tuple[float, float]]

LAKE: list[Stroke] = [
    [(0.00, 0.52), (0.12, 0.44), (0.21, 0.30), (0.30, 0.18), (0.36, 0.27), (0.44, 0.38), (0.52, 0.47)],
    [(0.46, 0.40), (0.58, 0.28), (0.66, 0.20), (0.77, 0.34), (0.90, 0.45), (1.00, 0.50)],
    [(0.27, 0.24), (0.30, 0.28), (0.33, 0.25), (0.35, 0.29)],
    [(0.00, 0.56), (0.30, 0.55), (0.62, 0.57), (1.00, 0.55)],
    [(0.16, 0.70), (0.34, 0.64), (0.62, 0.65), (0.84, 0.71), (0.80, 0.86), (0.45, 0.92), (0.18, 0.84), (0.16, 0.70)],
    [(0.88, 0.86), (0.88, 0.66)],
    [(0.80, 0.80), (0.88, 0.62), (0.96, 0.81), (0.80, 0.80)],
]
HOUSE: list[Stroke] = [
    [(0.00, 0.66), (0.25, 0.60), (0.55, 0.63), (0.80, 0.57), (1.00, 0.60)],
    [(0.30, 0.76), (0.30, 0.52), (0.60, 0.52), (0.60, 0.77), (0.29, 0.76)],
    [(0.26, 0.53), (0.45, 0.34), (0.64, 0.53)],
    [(0.42, 0.76), (0.42, 0.62), (0.50, 0.62), (0.50, 0.76)],
    [(0.80, 0.74), (0.80, 0.52)],
    [(0.80, 0.53), (0.71, 0.46), (0.72, 0.33), (0.82, 0.27), (0.91, 0.35), (0.90, 0.47), (0.80, 0.53)],
    [(0.10, 0.16), (0.16, 0.12), (0.21, 0.17), (0.16, 0.22), (0.10, 0.17)],
]
BRIDGE: list[Stroke] = [
    [(0.00, 0.45), (0.18, 0.36), (0.34, 0.43), (0.55, 0.34), (0.78, 0.42), (1.00, 0.37)],
    [(0.38, 0.50), (0.30, 0.62), (0.20, 0.80), (0.10, 1.00)],
    [(0.60, 0.50), (0.70, 0.63), (0.80, 0.80), (0.92, 1.00)],
    [(0.12, 0.70), (0.30, 0.60), (0.50, 0.56), (0.70, 0.60), (0.90, 0.71)],
    [(0.12, 0.76), (0.30, 0.67), (0.50, 0.63), (0.70, 0.67), (0.90, 0.77)],
    [(0.30, 0.60), (0.30, 0.67)],
    [(0.50, 0.56), (0.50, 0.63)],
    [(0.70, 0.60), (0.70, 0.67)],
]
PERSON: list[Stroke] = [
    [(0.50, 0.24), (0.45, 0.20), (0.46, 0.13), (0.52, 0.11), (0.56, 0.16), (0.55, 0.22), (0.50, 0.24)],
    [(0.50, 0.24), (0.50, 0.55)],
    [(0.36, 0.30), (0.50, 0.31), (0.64, 0.29)],
    [(0.36, 0.30), (0.30, 0.46)],
    [(0.64, 0.29), (0.72, 0.16)],
    [(0.50, 0.55), (0.42, 0.73), (0.40, 0.90)],
    [(0.50, 0.55), (0.59, 0.73), (0.60, 0.90)],
    [(0.00, 0.60), (0.26, 0.55), (0.70, 0.57), (1.00, 0.52)],
]
DRAWINGS = {"a mountain lake": LAKE, "a hut": HOUSE, "a bridge": BRIDGE, "a person": PERSON}
PROMPTS = {
    "a mountain lake": "mountains with a lake at noon, clear sky, summer",
    "a hut": "hills with a hut and a tree at sunset",
    "a bridge": "a river with a bridge and hills in the afternoon, autumn",
    "a person": "a woman in a red dress waving, hills at noon",
}


def drawn(strokes: list[Stroke], side: int = 128, width: float = 2.4, seed: int = 0) -> np.ndarray:
    """White on black, side×side×3 uint8: each stroke a wavering line of uneven width."""
    rng, large = np.random.default_rng(seed), 4
    sheet = np.zeros((side * large, side * large), np.uint8)
    for stroke in strokes:
        points = np.array(stroke) * side
        steps = np.linspace(0, len(points) - 1, 14 * len(points))
        line = np.stack([np.interp(steps, np.arange(len(points)), points[:, axis]) for axis in (0, 1)], axis=1)
        waver = np.cumsum(rng.normal(0, 0.16, line.shape), axis=0)
        line += waver - np.linspace(0, 1, len(line))[:, None] * waver[-1] * 0.7
        for a, b in pairwise(line):
            thick = max(1, round(width * large * float(rng.uniform(0.75, 1.2))))
            ends = [tuple(int(v * large) for v in p) for p in (a, b)]
            cv2.line(sheet, ends[0], ends[1], 255, thick, cv2.LINE_AA)
    small = cv2.resize(sheet, (side, side), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)
