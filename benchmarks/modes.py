"""What each mode and a few layer weights do on Meadow: canny F1, and distance to the picture without control.

python benchmarks/modes.py [--count 16]
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import hackamore as hk
from hackamore.evaluation.verify import Judge
from hackamore.worlds import render

WAYS = {
    "balanced": {},
    "prompt": {"mode": "prompt"},
    "control": {"mode": "control"},
    "guess": {"mode": "guess"},
    "layer weights: mid only": {"weights": [0.0] * 6 + [1.0]},
    "layer weights: three shallowest": {"weights": [1.0] * 3 + [0.0] * 4},
    "layer weights: four deepest": {"weights": [0.0] * 3 + [1.0] * 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=16)
    told = parser.parse_args()
    base = hk.load_base("meadow")
    control = hk.load_control("meadow/canny", base)
    worlds = [render(9_200_000 + k, base.size) for k in range(told.count)]
    rows: dict[str, list[tuple[float, float]]] = {"no control": [], **{name: [] for name in WAYS}}
    for number, world in enumerate(worlds):
        hint = hk.annotate("canny", world.picture, size=base.size)
        free = None
        for name in rows:
            unit = control.unit(hint, **(WAYS.get(name) or ({"scale": 0} if name == "no control" else {})))
            made = hk.generate(base, world.caption, controls=[unit], seed=number)
            figures = hk.verify(made, Judge([control.unit(hint)])).images[0].recipe.units[0].fidelity
            pixels = made.images[0].pixels.astype(float)
            free = pixels if free is None else free
            rows[name].append((figures["canny F1 (2 px)"], float(np.abs(pixels - free).mean())))
    print(f"{told.count} held-out worlds, {base.size[0]}×{base.size[1]}, 20 steps")
    print("| way | canny F1 (2 px) | levels from the free picture |\n| --- | ---: | ---: |")
    for name, found in rows.items():
        f1, far = (statistics.mean(row[k] for row in found) for k in range(2))
        print(f"| {name} | {f1:.3f} | {far:.1f} |")


if __name__ == "__main__":
    main()
