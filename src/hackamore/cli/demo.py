"""``hackamore demo``: the main job on a real photograph."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hackamore.cli.show import progress_bar

PROMPTS = (
    "mountains with a lake at noon, clear sky, summer",
    "snowy mountains with a lake, winter, cloudy sky",
    "a canyon at sunset, clear sky",
    "islands in the sea at night, stars",
)


def run(
    out: Annotated[Path, typer.Option(help="Folder of the pictures; files of an earlier demo are replaced.")] = Path(
        "out/demo"
    ),
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first picture.")] = 7,
) -> None:
    """Steer Meadow with the edges of a photograph: four pictures, a contact sheet, and figures."""
    from hackamore.core.extras import require

    samples = require("sklearn.datasets", "demo", "the demonstration's photograph")

    import numpy as np

    from hackamore.annotators.catalog import annotate
    from hackamore.bases.catalog import load_base
    from hackamore.controls.catalog import load_control
    from hackamore.core.files import written_whole
    from hackamore.core.image import load_picture, png
    from hackamore.evaluation.fidelity import measure, scores
    from hackamore.evaluation.sheets import write_sheet
    from hackamore.generate import generate

    photo = load_picture(np.asarray(samples.load_sample_image("china.jpg")))
    other = load_picture(np.asarray(samples.load_sample_image("flower.jpg")))
    base = load_base("meadow")
    edges = load_control("meadow/canny", base)
    hint = annotate("canny", photo, size=base.size)
    pictures = []
    began = time.perf_counter()
    with progress_bar("generating", len(PROMPTS)) as show:
        for number, prompt in enumerate(PROMPTS):
            result = generate(base, prompt, controls=[edges.unit(hint)], seed=seed + number, steps=steps)
            show(number + 1)
            result.images[0].save(out / f"{number + 1}.png")
            pictures.append(result.images[0].pixels)
    seconds = (time.perf_counter() - began) / len(PROMPTS)
    with written_whole(out / "hint.png") as path:
        path.write_bytes(png(hint))
    shown = load_picture(photo, size=base.size)
    write_sheet(out / "sheet.png", [shown, hint, *pictures], ["the photograph", "its edges", *PROMPTS], columns=3)

    score = scores("canny")[0]
    figure = measure(score, pictures, [hint] * len(pictures)).figure
    wrong = annotate("canny", other, size=base.size)
    floor = sum(score(picture, h) for picture in pictures for h in (wrong, hint[:, ::-1])) / (2 * len(pictures))
    print(f"{out / 'sheet.png'}")
    print(f"{seconds:.2f} s a picture: {base.size[0]}×{base.size[1]}, {steps} steps, one control, on {base.device}")
    print(f"control fidelity (canny F1 within 2 pixels): {figure:.2f}; against other pictures' edges: {floor:.2f}")
