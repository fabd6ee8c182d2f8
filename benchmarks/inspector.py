"""How well Meadow's inspector reads held-out worlds: writes docs/inspector.json and docs/inspector.md.

python benchmarks/inspector.py [--count 500] [--noisy 100] [--people 0.3] [--out docs]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hackamore.annotators.inspector import ATTRIBUTES, WEIGHTS, load_inspector
from hackamore.bases.catalog import load_base
from hackamore.core import palette
from hackamore.core.image import from_hint, to_hint
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.data.worlds import TRUTHS
from hackamore.evaluation.score import ratio
from hackamore.metrics.depth import depth_rmse
from hackamore.metrics.intervals import bootstrap
from hackamore.metrics.normals import mean_angle
from hackamore.metrics.pose import pck_counts
from hackamore.metrics.regions import class_iou, confusion, table_miou
from hackamore.worlds import World, render

FIRST = EVALUATION_SEED + 50_000
NOISE = (0, 8, 16, 32, 64, 128)
"""Standard deviations of the noise, of 255."""
CLASSES = len(palette.CLASSES)


def statistics(world: World, picture: np.ndarray) -> dict[str, np.ndarray]:
    """What one picture gives to each figure, as numbers whose means over pictures give it."""
    eye = load_inspector()
    depth = TRUTHS["depth"](world)[..., 0]
    angle = mean_angle(eye.normals(picture), world.normals)
    told = eye.attributes(picture)
    known = {name: world.attributes[name] in words for name, words in ATTRIBUTES.items()}
    right = {name: float(told[name] == world.attributes[name]) for name in ATTRIBUTES}
    classes = eye.read(picture)
    return {
        "seg mIoU": confusion(classes, world.segmentation, CLASSES).ravel().astype(np.float64),
        "seg agreement": np.array([(classes == world.segmentation).mean(), 1.0]),
        "depth RMSE": np.array([depth_rmse(eye.depth(picture) * 255, depth), 1.0]),
        "normal angle": np.array([angle, 1.0]) if np.isfinite(angle) else np.zeros(2),
        "pose PCK": np.array(pck_counts(eye.people(picture).people, world.people.people), np.float64),
        "attributes": np.array([sum(right[n] for n in known if known[n]), sum(known.values())], np.float64),
        **{name: np.array([right[name] * known[name], float(known[name])]) for name in ATTRIBUTES},
    }


def figure(name: str, mean: np.ndarray) -> float:
    return table_miou(mean.reshape(CLASSES, CLASSES)) if name == "seg mIoU" else ratio(mean)


def measured(worlds: Sequence[World], pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    rows = [statistics(world, picture) for world, picture in zip(worlds, pictures, strict=True)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def noisy(picture: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--noisy", type=int, default=100)
    parser.add_argument("--people", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    told = parser.parse_args()
    base = load_base("meadow")
    worlds = [render(FIRST + k, base.size, people=told.people) for k in range(told.count)]
    sets = {"true pictures": [w.picture for w in worlds]}
    seen = [base.decode(base.encode(to_hint(w.picture) * 2 - 1)).float() / 2 + 0.5 for w in worlds]
    sets["through the autoencoder"] = [from_hint(x)[0] for x in seen]
    told_of = {name: measured(worlds, pictures) for name, pictures in sets.items()}
    rows = {
        name: {
            which: [figure(name, of[name].mean(0)), *bootstrap(of[name], lambda mean, name=name: figure(name, mean))]
            for which, of in told_of.items()
        }
        for name in told_of["true pictures"]
    }
    few = worlds[: told.noisy]
    falls = {
        sigma: {
            name: figure(name, of.mean(0))
            for name, of in measured(few, [noisy(w.picture, sigma, k) for k, w in enumerate(few)]).items()
        }
        for sigma in NOISE
    }
    iou = class_iou(told_of["true pictures"]["seg mIoU"].mean(0).reshape(CLASSES, CLASSES))
    by_class = {
        name: None if np.isnan(value) else float(value) for name, value in zip(palette.CLASSES, iou, strict=True)
    }
    result = {"worlds": told.count, "people": told.people, "rows": rows, "classes": by_class, "noise": falls}
    (told.out / "inspector.json").write_text(json.dumps(result, indent=1) + "\n")
    (told.out / "inspector.md").write_text(page(result))
    print(page(result))


def page(result: dict) -> str:
    lines = [
        "# Meadow's inspector",
        "",
        f"{WEIGHTS.stat().st_size / 2**20:.2f} MiB. {result['worlds']} held-out worlds of 128×128 (from seed {FIRST}), "
        f"{result['people']:.0%} of them with people; 95 % bootstrap intervals. Depth on 0–255 maps, angles in "
        "degrees, PCK at a tenth of the person's box. Made by `python benchmarks/inspector.py`.",
        "",
        "| figure | true pictures | through Meadow's autoencoder |",
        "| --- | --- | --- |",
    ]
    for name, told in result["rows"].items():
        cells = [f"{value:.3f} ({low:.3f}–{high:.3f})" for value, low, high in told.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "IoU of each class on true pictures: "
        + ", ".join(f"{name} {value:.2f}" for name, value in result["classes"].items() if value is not None)
        + ".",
    ]
    names = ["seg mIoU", "seg agreement", "depth RMSE", "normal angle", "pose PCK", "attributes"]
    lines += ["", "With noise of a known standard deviation (of 255) on the true pictures:", ""]
    lines += ["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    lines += [
        f"| {sigma} | " + " | ".join(f"{of[n]:.3f}" for n in names) + " |" for sigma, of in result["noise"].items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
