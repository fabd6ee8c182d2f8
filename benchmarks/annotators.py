"""Every annotator without learned weights on a megapixel, one thread: seconds; with --pictures also their docs.

python benchmarks/annotators.py [--runs 5] [--pictures]

Writes docs/annotators.json; with --pictures docs/annotators/*.jpg and docs/annotators.md (needs scikit-image).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from hackamore.annotators.catalog import ALIASES, ANNOTATORS, annotate, annotator_class
from hackamore.annotators.legend import legend
from hackamore.core import palette
from hackamore.core.image import Picture, resize
from hackamore.core.skeleton import People, Person
from hackamore.data.worlds import TRUTHS
from hackamore.worlds import render

DOCS = Path(__file__).parent.parent / "docs"
MEGAPIXEL = (1224, 816)
WORK, SHOWN = (512, 384), (256, 192)
"""Hints are made at the first size and shown at the second."""

KINDS = (
    "canny", "softedge", "scribble", "scribble_drawing", "lineart", "mlsd", "seg", "pose_json", "normal_depth",
    "inpaint", "shuffle", "tile", "blur", "color", "recolor", "threshold", "invert", "none",
)  # fmt: skip
WITH_SOURCE = ("scribble_drawing", "normal_depth")
"""What they read is no photograph, and is shown above the hint."""

STANDING = [
    (256, 62), (256, 104), (216, 106), (200, 160), (190, 212), (296, 106), (312, 160), (322, 212), (232, 208),
    (230, 278), (228, 346), (280, 208), (282, 278), (284, 346), (247, 53), (265, 53), (234, 58), (278, 58),
]  # fmt: skip
WAVING = [*STANDING[:6], (342, 82), (330, 28), *STANDING[8:]]
RUNNING = [
    (276, 66), (262, 106), (230, 110), (192, 140), (220, 176), (292, 108), (324, 146), (360, 120), (240, 204),
    (296, 236), (288, 306), (276, 204), (232, 264), (166, 290), (270, 56), (286, 58), (256, 60), (0, 0),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", action="store_true")
    told = parser.parse_args()
    cv2.setNumThreads(1)
    measured = {kind: seconds(kind, told.runs) for kind in KINDS if kind != "none"}
    for kind, figure in measured.items():
        print(f"{kind:17} {1000 * figure:8.1f} ms")
    settings = {"picture": "china.jpg at {}x{}".format(*MEGAPIXEL), "runs": told.runs, "threads": 1}
    machine = {"processor": platform.machine(), "python": platform.python_version(), "opencv": cv2.__version__}
    report = {**settings, **machine, "seconds": {kind: round(figure, 4) for kind, figure in measured.items()}}
    (DOCS / "annotators.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if told.pictures:
        write_pictures()
        write_page(measured)


def seconds(kind: str, runs: int) -> float:
    """The median processor time of a hint of one megapixel: other work on the machine hardly counts."""
    size = MEGAPIXEL
    photo = resize(load_sample_image("china.jpg"), size)
    parameters: dict[str, Any] = {}
    source: Any = photo
    if kind == "seg":
        source, parameters = palette.WORLDS.paint(palette.WORLDS.read(photo, nearest=True)), {}
    elif kind == "inpaint":
        parameters = {"mask": middle_mask(size)}
    elif kind == "pose_json":
        source = people(WAVING, size=size)
    annotate(kind, source, **parameters)
    took = []
    for _ in range(runs):
        started = time.process_time()
        annotate(kind, source, **parameters)
        took.append(time.process_time() - started)
    return statistics.median(took)


def middle_mask(size: tuple[int, int]) -> Picture:
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.ellipse(mask, (size[0] // 2, size[1] // 2), (size[0] // 5, size[1] // 3), 0, 0, 360, 255, -1)
    return mask


def people(*spots: list[tuple[int, int]], size: tuple[int, int] = WORK) -> People:
    scale = np.array([size[0] / 512, size[1] / 384], np.float32)
    bodies = [
        np.array([(*(np.array(spot) * scale), float(spot != (0, 0))) for spot in one], np.float32) for one in spots
    ]
    return People(tuple(Person(body) for body in bodies), size)


def moved(spots: list[tuple[int, int]], x: int) -> list[tuple[int, int]]:
    return [(spot[0] + x, spot[1]) if spot != (0, 0) else spot for spot in spots]


def drawings() -> list[Picture]:
    """A house in pen, in chalk, and photographed by lamplight."""

    def house(ink: tuple[int, ...], paper: tuple[int, ...], width: int) -> Picture:
        drawn = np.full((WORK[1], WORK[0], 3), paper, np.uint8)
        lines = [(120, 190, 390, 190), (120, 190, 120, 340), (390, 190, 390, 340), (60, 340, 450, 340),
                 (95, 205, 255, 80), (415, 205, 255, 80), (220, 340, 220, 250), (220, 250, 290, 250),
                 (290, 250, 290, 340)]  # fmt: skip
        for x1, y1, x2, y2 in lines:
            cv2.line(drawn, (x1, y1), (x2, y2), ink, width, cv2.LINE_AA)
        cv2.circle(drawn, (430, 70), 32, ink, width, cv2.LINE_AA)
        return drawn

    y, x = np.mgrid[: WORK[1], : WORK[0]] / WORK[0]
    light = (0.3 + 0.65 * np.exp(-3 * ((x - 0.25) ** 2 + (y - 0.2) ** 2)))[..., None]
    grain = np.random.default_rng(0).normal(0, 3, (WORK[1], WORK[0], 1))
    lamp = np.clip(house((50, 60, 120), (240, 230, 210), 4) * light + grain, 0, 255).astype(np.uint8)
    return [house((30, 30, 30), (255, 255, 255), 3), house((215, 220, 210), (40, 75, 60), 9), lamp]


def sources(kind: str) -> list[Any]:
    """Three things that an annotator reads."""
    if kind == "scribble_drawing":
        return drawings()
    if kind == "pose_json":
        return [people(STANDING), people(WAVING), people(moved(RUNNING, -80), moved(WAVING, 120))]
    if kind in ("seg", "normal_depth"):
        worlds = [render(seed, WORK) for seed in (9_000_101, 9_000_104, 9_000_109)]
        return [palette.paint(w.segmentation) if kind == "seg" else TRUTHS["depth"](w) for w in worlds]
    return photographs()


def photographs() -> list[Picture]:
    from skimage import data

    three = load_sample_image("china.jpg"), load_sample_image("flower.jpg"), data.astronaut()[:384]
    return [resize(photo, WORK) for photo in three]


def write_pictures() -> None:
    """docs/annotators/KIND.jpg: three hints side by side, what they were made of above where it is no photograph."""
    folder = DOCS / "annotators"
    folder.mkdir(exist_ok=True)
    save(folder / "photographs.jpg", row(photographs()))
    for kind in KINDS:
        if kind == "none":
            continue
        parameters: dict[str, Any] = {"inpaint": {"mask": middle_mask(WORK)}, "tile": {"factor": 8}}.get(kind, {})
        read = sources(kind)
        hints = row([annotate(kind, source, **parameters) for source in read])
        save(folder / f"{kind}.jpg", np.concatenate([row(read), hints]) if kind in WITH_SOURCE else hints)
    for known in palette.PALETTES.values():
        Image.fromarray(legend(known)).quantize(256).save(folder / f"legend-{known.name}.png", optimize=True)


def row(pictures: list[Picture]) -> Picture:
    return np.concatenate([cv2.resize(p, SHOWN, interpolation=cv2.INTER_AREA) for p in pictures], axis=1)


def save(path: Path, picture: Picture) -> None:
    grey = bool((picture == picture[..., :1]).all())
    Image.fromarray(picture[..., 0] if grey else picture).save(path, quality=82, optimize=True)


def write_page(measured: dict[str, float]) -> None:
    """docs/annotators.md: one section a kind."""
    lines = [
        "# Annotators without learned weights",
        "",
        "An annotator turns a picture into a hint. Those on this page need no download and no GPU; they are our own,",
        "in OpenCV and numpy, and give the same bytes each time. `hackamore annotate KIND IMAGE -o HINT.png` runs one,",
        "`--control KIND=IMAGE` makes a control's hint with it. Parameters are options (`--density 0.05`) or keys of",
        "the control (`density=0.05`). Annotators with learned weights are on [another page](learned-annotators.md).",
        "",
        "An annotator that finds nothing (no edge, no line, nobody) is an error with a remedy: no hint is blank in",
        "silence.",
        "",
        "Canny equals, pixel for pixel, the algorithm written out in numpy (`tests/equivalence/test_annotators.py`);",
        "scikit-image's, which takes another norm of the gradient, agrees with it to an F1 of 0.82 to 0.89, and of",
        "0.92 to 0.97 within a pixel. Thinning equals scikit-image's `thin` pixel for pixel.",
        "",
        "Times are processor time for one megapixel on one thread (`benchmarks/annotators.py`, `annotators.json`).",
        "The hints below are of these photographs, made at 512×384 and shown at half of that:",
        "",
        "![three photographs](annotators/photographs.jpg)",
        "",
    ]
    for kind in KINDS:
        lines += section(kind, measured.get(kind))
    assert set(KINDS) <= set(ANNOTATORS)
    (DOCS / "annotators.md").write_text("\n".join(lines), encoding="utf-8")


def section(kind: str, figure: float | None) -> list[str]:
    """What an annotator is, how long it takes, its picture and its parameters."""
    lines = [f"## {kind}", "", " ".join((annotator_class(kind).__doc__ or "").split("\n\n")[0].split())]
    also = [f"`{alias}`" for alias, name in ALIASES.items() if name == kind]
    lines += [f"Also called {', '.join(also)}."] if also else []
    if figure is not None:
        lines.append(f"{1000 * figure:.0f} ms." if figure >= 0.001 else "Under 1 ms.")
        lines += ["Shown with factor 8."] if kind == "tile" else []
        lines += ["", f"![{kind}](annotators/{kind}.jpg)"]
    for name in palette.PALETTES if kind == "seg" else ():
        lines += ["", f"![the classes of {name}](annotators/legend-{name}.png)"]
    if kind == "seg":
        lines += ["", "Road and skyscraper of ADE20K share a colour; it is read as road."]
    return [*lines, "", *table(kind), ""]


def table(kind: str) -> list[str]:
    """The parameters of an annotator as a table, told from its class."""
    fields = annotator_class(kind).model_json_schema().get("properties", {})
    if not fields:
        return ["No parameters."]
    rows = ["| parameter | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for name, told in fields.items():
        default = told.get("default", "required")
        words = "automatic" if default is None else str(default).lower()
        rows.append(f"| `{name}` | {words} | {allowed(told)} | {told['description']} |")
    return rows


SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {"integer": "whole", "number": "number", "boolean": "true, false", "string": "a file"}


def allowed(told: dict[str, Any]) -> str:
    """The values that a parameter takes, from its schema."""
    told = next((part for part in told.get("anyOf", [told]) if part.get("type") != "null"), told)
    if "enum" in told:
        return ", ".join(told["enum"])
    bounds = ", ".join(f"{sign} {told[name]:g}" for name, sign in SIGNS.items() if name in told)
    return f"{TYPES[told['type']]} {bounds}".strip()


if __name__ == "__main__":
    main()
