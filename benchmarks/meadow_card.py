"""The pictures of Meadow's model cards: uncurated captions, one hint under eight prompts, and every control on held-out
worlds, photographs and scribbles.

python benchmarks/meadow_card.py [--out docs] [--only samples|captions|controls|live]

Of photographs only their hints are shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scribbles import DRAWINGS, PROMPTS, drawn
from sklearn.datasets import load_sample_image

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import embedded, load_control
from hackamore.core.image import resize
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.data.worlds import TRUTHS
from hackamore.evaluation.sheets import write_sheet
from hackamore.generate import generate
from hackamore.worlds import MIXTURE, World, render

TIMES = ("at sunrise", "at noon", "at sunset", "at night")
SEASONS = ("summer", "winter")
CAPTIONS = EVALUATION_SEED + 1000
HELD_OUT = EVALUATION_SEED + 2000
WORLDS, COLUMNS = 8, 8
LINES = ("canny", "softedge", "scribble", "lineart", "sketch")
"""Kinds of hints that a scribble is, as it stands."""


def photographs(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Four photographs that come with public packages, each with a prompt."""
    from skimage import data

    china, flower = (load_sample_image(f"{name}.jpg") for name in ("china", "flower"))
    told = {
        "a building before a lake and trees at noon": china,
        "flowers on a hill, spring": flower,
        "a woman standing, hills": data.astronaut(),
        "a plain at noon, clear sky": np.repeat(data.camera()[..., None], 3, axis=2),
    }
    return {prompt: resize(np.ascontiguousarray(picture), size, "crop") for prompt, picture in told.items()}


def world_hint(kind: str, world: World) -> np.ndarray:
    """The hint of a world: its truth where there is one, else made from its picture."""
    return np.asarray(TRUTHS[kind](world) if kind in TRUTHS else annotate(kind, world.picture))


def samples(base: Any, out: Path) -> None:
    """64 captions, seeds 0 to 63, as they come."""
    captions = [render(CAPTIONS + k, base.size, **MIXTURE).caption for k in range(64)]
    made = [generate(base, caption, seed=k).images[0].pixels for k, caption in enumerate(captions)]
    write_sheet(out / "meadow-samples.jpg", made, captions, COLUMNS)


def captions(base: Any, out: Path) -> None:
    """One hint, eight prompts."""
    world = render(EVALUATION_SEED + 14, base.size)
    prompts = [f"mountains with a lake {time}, {season}" for season in SEASONS for time in TIMES]
    pictures, words = [], []
    for kind in ("canny", "seg"):
        hint = world_hint(kind, world)
        made = generate(base, prompts, controls=[load_control(f"meadow/{kind}", base).unit(hint)], seed=3)
        pictures += [hint, *(image.pixels for image in made.images)]
        words += [f"{kind} hint", *prompts]
    write_sheet(out / "meadow-captions.jpg", pictures, words, columns=9)


def controls(base: Any, out: Path) -> None:
    """Each control on eight held-out worlds, four photographs and, where it takes lines, four scribbles."""
    photos = photographs(base.size)
    for name in embedded():
        control = load_control(name, base)
        for kind in control.types if hasattr(control, "types") else (name.partition("/")[2].removesuffix("-xs"),):
            write_control(base, control, kind, photos, out / f"{name.replace('/', '-')}-{kind}.jpg")


def write_control(base: Any, control: Any, kind: str, photos: dict[str, np.ndarray], path: Path) -> None:
    """A sheet of hints, each above its picture."""
    people = kind == "pose"
    worlds = [render(HELD_OUT + k, base.size, people=1.0 if people else 0.0, sights=0.3) for k in range(WORLDS)]
    asked = [(world_hint(kind, world), world.caption) for world in worlds]
    asked += [(annotate("seg_meadow" if kind == "seg" else kind, photo), prompt) for prompt, photo in photos.items()]
    if kind in LINES:
        asked += [(drawn(strokes, base.size[0]), PROMPTS[name]) for name, strokes in DRAWINGS.items()]
    hints, made = [], []
    for seed, (hint, prompt) in enumerate(asked):
        told = {"type": kind} if hasattr(control, "types") else {}
        hints.append(np.asarray(hint))
        made.append(generate(base, prompt, controls=[control.unit(hint, **told)], seed=seed).images[0].pixels)
    rows = [part for k in range(0, len(hints), COLUMNS) for part in (hints[k : k + COLUMNS], made[k : k + COLUMNS])]
    blank = np.full_like(made[0], 255)
    write_sheet(path, [p for row in rows for p in (*row, *[blank] * (COLUMNS - len(row)))], columns=COLUMNS)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("docs"))
    options.add_argument("--base", default="meadow")
    parts = {"samples": samples, "captions": captions, "controls": controls}
    options.add_argument("--only", choices=list(parts))
    told = options.parse_args()
    base = load_base(told.base)
    for name, write in parts.items():
        if told.only in (None, name):
            write(base, told.out)


if __name__ == "__main__":
    main()
