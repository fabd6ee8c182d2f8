"""Control fidelity of Meadow's controls on held-out worlds: writes docs/fidelity.json, .md and a contact sheet.

python benchmarks/fidelity.py [--count 64] [--steps 20] [--out docs]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core import palette
from hackamore.core.image import from_hint
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.evaluation.fidelity import measure, scores
from hackamore.evaluation.sheets import write_sheet
from hackamore.generate import generate
from hackamore.worlds import render

BATCH = 16


def through_autoencoder(base, pictures):
    made = []
    for first in range(0, len(pictures), BATCH):
        x = torch.from_numpy(np.stack(pictures[first : first + BATCH])).permute(0, 3, 1, 2).float() / 127.5 - 1
        made += from_hint(base.decode(base.encode(x)).float() / 2 + 0.5)
    return made


def pictures_of(base, captions, hints, control, steps):
    made = []
    for first in range(0, len(captions), BATCH):
        part = slice(first, first + BATCH)
        tensor = torch.from_numpy(np.stack(hints[part])).permute(0, 3, 1, 2).float() / 255
        units = [control.unit(tensor)] if control is not None else []
        result = generate(base, captions[part], controls=units, seed=first, steps=steps, batch=BATCH)
        made += [image.pixels for image in result.images]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    told = parser.parse_args()
    base = load_base("meadow")
    worlds = [render(EVALUATION_SEED + k, base.size) for k in range(told.count)]
    captions, true = [w.caption for w in worlds], [w.picture for w in worlds]
    seen = through_autoencoder(base, true)
    psnr = float(
        np.mean([10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)) for a, b in zip(true, seen, strict=True)])
    )
    rows, sheets = [], {"the true picture": true, "through the autoencoder": seen}
    free = None
    for kind in ("canny", "seg"):
        if kind == "canny":
            hints = [annotate("canny", picture) for picture in true]
        else:
            hints = [palette.paint(w.segmentation) for w in worlds]
        control = load_control(f"meadow/{kind}", base)
        on = pictures_of(base, captions, hints, control, told.steps)
        free = free or pictures_of(base, captions, hints, None, told.steps)
        sheets |= {f"{kind} hint": hints, f"with {kind}": on}
        for metric, score in scores(kind).items():
            told_on = measure(metric, score, on, hints, seen)
            off = measure(metric, score, free, hints)
            rows.append(
                {
                    "metric": metric,
                    "off": off.figure,
                    "on": told_on.figure,
                    "floor": told_on.floor,
                    "true": float(np.mean([score(p, h) for p, h in zip(true, hints, strict=True)])),
                    "ceiling": told_on.ceiling,
                    "normalised": told_on.normalised,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    told.out.mkdir(exist_ok=True, parents=True)
    figures = {"worlds": told.count, "steps": told.steps, "autoencoder_psnr": psnr, "rows": rows}
    (told.out / "fidelity.json").write_text(json.dumps(figures, indent=2))
    lines = [
        f"Meadow's controls on {told.count} held-out worlds (seeds from {EVALUATION_SEED}), {told.steps} steps, "
        f"guidance {base.guidance:g}. The autoencoder alone: {psnr:.1f} dB PSNR.",
        "",
        "| figure | off | on | shuffled (floor) | true pictures | through the autoencoder (ceiling) | normalised |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["metric"], *(f"{row[k]:.3f}" for k in ("off", "on", "floor", "true", "ceiling"))]
        lines.append("| " + " | ".join([*cells, f"**{row['normalised'] or 0:.2f}**"]) + " |")
    (told.out / "fidelity.md").write_text("# Control fidelity\n\n" + "\n".join(lines) + "\n")
    columns = 8
    shown = [p for pictures in sheets.values() for p in pictures[:columns]]
    write_sheet(told.out / "fidelity.png", shown, columns=columns)


if __name__ == "__main__":
    main()
