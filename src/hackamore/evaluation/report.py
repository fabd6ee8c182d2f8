"""An evaluation as one self-contained HTML file: tables, and examples side by side."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hackamore.core.files import written_whole
from hackamore.core.image import Picture, resize
from hackamore.data.evaluation import Example
from hackamore.evaluation.judge import Judged, Pictures, drawing
from hackamore.evaluation.plan import Asked
from hackamore.evaluation.results import ControlResult, Evaluation, Figure, Row
from hackamore.evaluation.score import Reading, Score

SHOWN = 8
"""Examples of each control in the report: the first ones, not chosen."""
SIDE = 264
"""Longest side of a picture in the report, twice what it is shown at."""


@dataclass(frozen=True)
class Panel:
    """One picture of a strip: what it is, its figure where it has one, and whether it is a hint (kept exact)."""

    title: str
    picture: Picture
    figure: str = ""
    exact: bool = False


@dataclass(frozen=True)
class Strip:
    """One example: its name and caption, and its pictures side by side."""

    name: str
    caption: str
    panels: tuple[Panel, ...]


def strips(examples: Sequence[Example], asked: Asked, score: Score, pictures: Pictures, judged: Judged) -> list[Strip]:
    """The first examples of a control: hint, true picture, outputs with their figures, and the hint read back."""
    made = []
    first = next(iter(pictures.on))
    for k, example in enumerate(examples[:SHOWN]):
        truth = example.truth(asked.kind, asked.parameters)

        def figure(column: str, truth: Reading = truth, k: int = k) -> str:
            value = score.compare(judged.readings[column][k], truth)
            return f"{value:.{digits(value)}f}{score.unit}" if np.isfinite(value) else "–"

        panels = [
            Panel("the hint", example.hint(asked.kind, asked.parameters), exact=True),
            Panel("the true picture", example.picture, figure("true")),
            Panel("the autoencoder", pictures.seen[k], figure("seen")),
        ]
        if pictures.off is not None:
            panels.append(Panel("control off", pictures.off[k], figure("off")))
        panels += [
            Panel("control on" if len(pictures.on) == 1 else f"scale {scale:g}", some[k], figure(f"on {scale:g}"))
            for scale, some in pictures.on.items()
        ]
        if judged.best is not None:
            panels.append(Panel(f"best of {len(pictures.candidates) + 1}", judged.best[k], figure("best")))
        name = "the hint read back" if len(pictures.on) == 1 else f"read back at scale {first:g}"
        panels.append(Panel(name, drawing(judged.readings[f"on {first:g}"][k]), exact=True))
        made.append(Strip(example.name, example.caption, tuple(panels)))
    return made


def write_report(path: Path, result: Evaluation, shown: Mapping[str, Sequence[Strip]]) -> None:
    """Write the report whole: one file that needs no other, in light and dark."""
    told = result.settings
    lead = (
        f"{result.count} pictures of {told['size'][0]}×{told['size'][1]} for each figure, {told['steps']} steps of "
        f"{told['scheduler']}, guidance {told['guidance']:g}. The autoencoder alone: {psnr_words(result)} PSNR."
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Control fidelity: {escape(told['base'])}</title>",
        f"<style>{files('hackamore.evaluation').joinpath('report.css').read_text(encoding='utf-8')}</style></head><body><main>",
        f"<h1>Control fidelity of {escape(told['base'])}</h1>",
        f'<p class="lead">{escape(lead)}</p>',
        fidelity_table(result),
        '<p class="note">Floor: the pictures made with the control against the hints of other pictures. Ceiling: the '
        "true pictures through the base's autoencoder. Normalised: 0 is the floor, 1 the ceiling. Small figures are "
        "95 % bootstrap intervals over pictures. ↓: lower is better.</p>",
        "<h2>Quality</h2>",
        quality_table(result),
        '<p class="note">Distances to the true pictures, measured on the features of the network that their name '
        "tells; figures of other networks or of other numbers of pictures cannot be compared with them.</p>",
    ]
    for control in result.controls:
        words = f"{control.control}: the first {len(shown[control.label])} examples, with {control.rows[0].name}"
        parts.append(f"<h2>{escape(control.label)}<small>{escape(words)}</small></h2>")
        parts += [_strip(strip) for strip in shown[control.label]]
    parts += ["<h2>Settings</h2>", _settings(told), "</main></body></html>"]
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8")


def psnr_words(result: Evaluation) -> str:
    """The autoencoder's PSNR, for each set of true pictures where there are several."""
    told = result.autoencoder_psnr
    return ", ".join(f"{value:.1f} dB" + (f" ({group})" if len(told) > 1 else "") for group, value in told.items())


def columns(result: Evaluation) -> list[str]:
    """The columns of the fidelity table, in words."""
    rows = [row for control in result.controls for row in control.rows]
    first = rows[0]
    names = ["off"] if first.off is not None else []
    names += ["on"] if len(first.on) == 1 else [f"on, scale {one.scale:g}" for one in first.on]
    if first.best is not None:
        names.append(f"best of {first.best.of}")
    return [*names, "shuffled (floor)", "true pictures", "autoencoder (ceiling)", "normalised"]


def cells(row: Row) -> list[Figure | None]:
    """The figures of a row, in the order of :func:`columns`."""
    found: list[Figure | None] = [row.off] if row.off is not None else []
    found += [one.figure for one in row.on]
    found += [row.best.figure] if row.best is not None else []
    return [*found, row.on[0].floor, row.true, row.ceiling, row.on[0].normalised]


def title(control: ControlResult, row: Row) -> str:
    """The name of a row: the figure, the control where it is not the kind's own, and an arrow where less is better."""
    return (
        row.name
        + (f" ({control.label})" if control.label != control.kind else "")
        + (" ↓" if row.better == "lower" else "")
    )


def digits(value: float) -> int:
    """Decimals that a figure is told with."""
    return 3 if abs(value) < 2 else 2 if abs(value) < 20 else 1


def fidelity_table(result: Evaluation) -> str:
    """The table of control fidelity as HTML; the normalised column is marked."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ["figure", *columns(result)])
    body = []
    for control in result.controls:
        for row in control.rows:
            told = cells(row)
            data = "".join(
                _cell(one, row.unit if k < len(told) - 1 else "", k == len(told) - 1) for k, one in enumerate(told)
            )
            body.append(f"<tr><td>{escape(title(control, row))}</td>{data}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def quality_table(result: Evaluation) -> str:
    """The table of quality as HTML."""
    names = list(dict.fromkeys(name for one in result.quality for name in one.figures))
    groups = {one.data for one in result.quality}
    head = "".join(f"<th>{escape(name)}</th>" for name in ["pictures", *names])
    body = []
    for one in result.quality:
        name = one.pictures + (f" ({one.data})" if len(groups) > 1 else "")
        body.append(f"<tr><td>{escape(name)}</td>{''.join(_cell(one.figures.get(n)) for n in names)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(figure: Figure | None, unit: str = "", marked: bool = False) -> str:
    mark = ' class="marked"' if marked else ""
    if figure is None or figure.value is None:
        return f"<td{mark}>–</td>"
    places = digits(figure.value)
    known = figure.low is not None and figure.high is not None
    spread = f"<i>{figure.low:.{places}f} to {figure.high:.{places}f}</i>" if known else ""
    return f"<td{mark}>{figure.value:.{places}f}{unit}{spread}</td>"


def _strip(strip: Strip) -> str:
    panels = "".join(
        f'<figure><img src="{_uri(panel)}" alt="{escape(panel.title)}">'
        f"<figcaption>{escape(panel.title)} <b>{escape(panel.figure)}</b></figcaption></figure>"
        for panel in strip.panels
    )
    words = f"<p>{escape(strip.caption)} <small>{escape(strip.name)}</small></p>"
    return f'<section class="strip">{words}<div class="panels">{panels}</div></section>'


def _uri(panel: Panel) -> str:
    """A small picture as a data URI: hints as PNG, photographs as JPEG."""
    height, width = panel.picture.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    size = max(8, round(width * factor)), max(8, round(height * factor))
    buffer = BytesIO()
    small = Image.fromarray(resize(panel.picture, size, "stretch", categorical=panel.exact))
    if panel.exact:
        small.save(buffer, format="PNG", optimize=True)
    else:
        small.save(buffer, format="JPEG", quality=88)
    kind = "png" if panel.exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _settings(told: Mapping[str, Any]) -> str:
    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {words(part)}" for name, part in value.items() if part not in ({}, []))
        return "; ".join(map(words, value)) if isinstance(value, list) else str(value)

    return "<dl>" + "".join(f"<dt>{escape(n)}</dt><dd>{escape(words(v))}</dd>" for n, v in told.items()) + "</dl>"
