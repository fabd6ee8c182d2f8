"""Control fidelity of Meadow's controls on held-out worlds: writes docs/fidelity.json, .md and .png.

python benchmarks/fidelity.py [--count 256] [--steps 20] [--best-of 4] [--dtype fp32] [--out FOLDER] [--docs docs]

Goes on where it was stopped; the pictures and the whole report are in OUT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hackamore.bases.catalog import load_base
from hackamore.cli.evaluate import load_asked, own_controls, stages
from hackamore.core.files import written_whole
from hackamore.core.image import load_picture
from hackamore.core.recipe import extract, read_recipe
from hackamore.data.evaluation import open_source
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.evaluation.cells import Sampling
from hackamore.evaluation.evaluate import evaluate
from hackamore.evaluation.plan import Request
from hackamore.evaluation.report import cells, columns, digits, psnr_words, title
from hackamore.evaluation.results import Evaluation, Figure
from hackamore.evaluation.sheets import write_sheet
from hackamore.worlds import render

SHOWN = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--best-of", type=int, default=4)
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/fidelity"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    told = parser.parse_args()
    base = load_base("meadow", dtype=told.dtype)
    asked = [load_asked(spec, "meadow", base) for spec in own_controls("meadow")]
    how = Sampling(told.steps, base.guidance, base.scheduler, seed=0, batch=16)
    source = open_source("worlds", told.count, [one.kind for one in asked])
    with stages() as show:
        result = evaluate(base, asked, source, told.out, Request(best_of=told.best_of), how, progress=show)
    short = result.model_dump_json(indent=2, exclude={"controls": {"__all__": {"chosen"}}})
    with written_whole(told.docs / "fidelity.json") as path:
        path.write_text(short + "\n", encoding="utf-8")
    with written_whole(told.docs / "fidelity.md") as path:
        path.write_text(page(result), encoding="utf-8")
    write_pictures(told.docs / "fidelity.png", told.out / "pictures", result)
    print(page(result))


def page(result: Evaluation) -> str:
    """The figures as a page of Markdown."""
    told = result.settings
    names = list(dict.fromkeys(name for one in result.quality for name in one.figures))
    rows = [
        [title(control, row), *map(words, cells(row)[:-1]), f"**{words(cells(row)[-1])}**"]
        for control in result.controls
        for row in control.rows
    ]
    quality = [
        [
            one.pictures + (" (worlds with people)" if one.data == "people" else ""),
            *(words(one.figures.get(name)) for name in names),
        ]
        for one in result.quality
    ]
    lines = [
        "# Control fidelity",
        "",
        f"Meadow's controls on {result.count} held-out worlds (seeds from {EVALUATION_SEED}; poses: with people), "
        f"{told['steps']} steps of {told['scheduler']}, guidance {told['guidance']:g}, {told['dtype']}. "
        f"The autoencoder alone: {psnr_words(result)} PSNR. Every figure is defined in [evaluation.md](evaluation.md); "
        "behind it stands half the width of its 95 % bootstrap interval. ↓: lower is better.",
        "",
        *table(["figure", *columns(result)], rows),
        "",
        "## Quality",
        "",
        *table(["pictures", *names], quality),
        "",
        "Distances are those of the inspector's features, so they compare only with each other.",
        "",
        "![The first worlds](fidelity.png)",
        "",
        "`python benchmarks/fidelity.py` makes this page again.",
    ]
    return "\n".join(lines) + "\n"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def words(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    places = digits(figure.value)
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return f"{figure.value:.{places}f}"
    return f"{figure.value:.{places}f} ± {(figure.high - figure.low) / 2:.{places}f}"


def write_pictures(path: Path, folder: Path, result: Evaluation) -> None:
    """A sheet of the first worlds, a row for each kind of picture; hints are those that the recipes hold."""
    shown = min(SHOWN, result.count)
    pictures, captions = [], []

    def row(name: str, made: list) -> None:
        pictures.extend(made)
        captions.extend([name, *[""] * (shown - 1)])

    def files(cell: str) -> list[Path]:
        return [folder / cell / f"{k:05d}.png" for k in range(shown)]

    width, height = result.settings["size"]
    for group in dict.fromkeys(control.data for control in result.controls):
        people = 1.0 if group == "people" else 0.0
        row(
            "true pictures", [render(EVALUATION_SEED + k, (width, height), people=people).picture for k in range(shown)]
        )
        row("through the autoencoder", [load_picture(file) for file in files(f"{group}-autoencoder")])
        row("control off", [load_picture(file) for file in files(f"{group}-off")])
        for control in (control for control in result.controls if control.data == group):
            made = files(f"{control.label}-{control.rows[0].on[0].scale:g}")
            row(f"{control.label}: hint", [extract(read_recipe(file).units[0].hint) for file in made])
            row(f"with {control.label}", [load_picture(file) for file in made])
    write_sheet(path, pictures, captions, columns=shown)


if __name__ == "__main__":
    main()
