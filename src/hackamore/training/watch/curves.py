"""Curves of a run: what is drawn, and two pens that draw it, SVG for the page and PNG for the card."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hackamore.core.files import written_whole
from hackamore.training import history
from hackamore.training.watch import words
from hackamore.training.watch.words import Row

WIDTH, HEIGHT = 380, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 26
PENS = {"raw": "#cfc8bb", "main": "#9a5b25", "floor": "#8a8479", "ceiling": "#4d7a4a", "mark": "#3b6ea5"}
"""Colours of the PNG; the page has its own for light and dark."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One line: its name, its points, its pen (a name of ``PENS``), and whether each point is marked by a dot."""

    name: str
    points: Points
    pen: str = "main"
    dots: bool = False


@dataclass(frozen=True)
class Curve:
    """One chart over steps: its series, vertical marks (step, words), and values its axis has to hold."""

    title: str
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()
    hold: tuple[float, ...] = ()


def curves_of(rows: Sequence[Row]) -> list[Curve]:
    """Every curve that the rows of a log have something for; a sudden convergence is marked where there is one."""
    jump = history.sudden(rows)
    marks = () if jump is None else ((float(jump.step), "sudden convergence"),)
    made = [
        _fidelity(rows, marks),
        _several(rows, "Figure, as it is measured", {"floor": "floor", "ceiling": "ceiling", "figure": "main"}, marks),
        _loss(rows),
        _several(rows, "Hint gain", {"gain_training": "raw", "gain": "main"}, marks, (0.0,)),
        _several(rows, "Caption accuracy", {"captions": "main"}),
        _several(rows, "Learning rate", {"lr": "main"}, hold=(0.0,)),
        _several(rows, "Gradient norm", {"norm": "main"}, hold=(0.0,)),
        _several(rows, "Samples a second", {"samples_per_second": "main"}, hold=(0.0,)),
    ]
    return [curve for curve in made if curve is not None]


def _fidelity(rows: Sequence[Row], marks: tuple[tuple[float, str], ...]) -> Curve | None:
    """Normalised: floor and ceiling are the lines at 0 and 1. A union's kinds are pale lines beside their mean."""
    found = words.points(rows, "normalised")
    if not found:
        return None
    ends = found[0][0], found[-1][0]
    lines = [Series(name, [(x, y) for x in ends], name) for name, y in (("floor", 0.0), ("ceiling", 1.0))]
    idle = words.points(rows, "idle")
    lines += [Series("control off", idle, "floor")] if idle else []
    names = sorted({name for row in rows for name in row.get("probe") or () if name.endswith(".normalised")})
    lines += [Series(name.partition(".")[0], words.points(rows, name), "raw") for name in names]
    return Curve("Control fidelity", (*lines, Series("learned", found, dots=True)), marks, (0.0, 1.0))


def _loss(rows: Sequence[Row]) -> Curve | None:
    found = words.points(rows, "loss")
    if not found:
        return None
    smooth = words.thinned(words.smoothed(found))
    return Curve("Loss", (Series("raw", words.thinned(found), "raw"), Series("smoothed", smooth)))


def _several(
    rows: Sequence[Row],
    title: str,
    pens: Mapping[str, str],
    marks: tuple[tuple[float, str], ...] = (),
    hold: tuple[float, ...] = (),
) -> Curve | None:
    """The values of these names, each with its pen; the last name is the one that matters."""
    found = {name: words.thinned(words.points(rows, name)) for name in pens}
    series = tuple(
        Series(name.replace("_", ", "), points, pens[name], dots=name in ("figure", "gain", "captions"))
        for name, points in found.items()
        if points
    )
    return Curve(title, series, marks, hold) if found[list(pens)[-1]] else None


class Frame:
    """Where values lie on a picture of ``WIDTH`` × ``HEIGHT``: the axes' ends, their ticks, and the two maps."""

    def __init__(self, curve: Curve) -> None:
        every = [point for series in curve.series for point in series.points]
        low, high = _ends([y for _, y in every] + list(curve.hold))
        self.across = ticks(min(x for x, _ in every), max(x for x, _ in every), 4, whole=True)
        self.up = ticks(low, high, 4)
        self.first, self.last = min(x for x, _ in every), max(x for x, _ in every)
        self.low, self.high = min(low, self.up[0]), max(high, self.up[-1])

    def x(self, step: float) -> float:
        """Pixels from the left."""
        share = (step - self.first) / ((self.last - self.first) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    room = (high - low) * 0.04
    return (low if low == 0 else low - room), (high if high == 0 else high + room)


def ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``, both included."""
    span = (high - low) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)] or [low]


def _tick(value: float) -> str:
    if abs(value) < 1e-12:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.0e}".replace("e-0", "e-") if abs(value) < 1e-3 else f"{value:.4g}"


def svg(curve: Curve) -> str:
    """The chart as SVG elements whose colours are the page's classes."""
    frame = Frame(curve)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.title)}">']
    for value in frame.up:
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
    for step in frame.across:
        x = frame.x(step)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{_anchor(x)}">{_tick(step)}</text>')
    for step, _ in curve.marks:
        x = frame.x(step)
        parts.append(f'<line class="pen mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    parts += [_svg_series(series, frame) for series in curve.series]
    return "".join([*parts, "</svg>"])


def _anchor(x: float) -> str:
    return "end" if x > WIDTH - 30 else "middle"


def _svg_series(series: Series, frame: Frame) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in series.points]
    line = f'<polyline class="pen {series.pen}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
    if not series.dots and len(places) > 1:
        return line
    told = [f"step {step:.0f}: {words.number(value)}" for step, value in series.points]
    dots = (
        f'<circle class="dot {series.pen}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{title}</title></circle>'
        for (x, y), title in zip(places, told, strict=True)
    )
    return line + "".join(dots)


def legend(curve: Curve) -> list[tuple[str, str]]:
    """Pen and words of everything in the chart that is more than one plain line."""
    told = [(series.pen, series.name) for series in curve.series if len(curve.series) > 1]
    return told + [("mark", f"{name} about step {step:.0f}") for step, name in curve.marks]


def write_png(path: Path, curves: Iterable[Curve], columns: int = 2, scale: int = 2) -> None:
    """Write the charts as one PNG on white, ``columns`` beside one another, ``scale`` pixels for one of the chart's."""
    drawn = list(curves)
    head = 54
    rows = -(-len(drawn) // columns)
    sheet = Image.new("RGB", (min(columns, len(drawn)) * WIDTH * scale, rows * (HEIGHT + head) * scale), "white")
    for place, curve in enumerate(drawn):
        corner = place % columns * WIDTH, place // columns * (HEIGHT + head) + head
        _draw(ImageDraw.Draw(sheet), curve, partial(_at, corner, scale), scale)
    with written_whole(path) as temporary:
        sheet.save(temporary, optimize=True)


def _at(corner: tuple[int, int], scale: int, x: float, y: float) -> tuple[float, float]:
    return (corner[0] + x) * scale, (corner[1] + y) * scale


def _draw(
    pen: ImageDraw.ImageDraw, curve: Curve, at: Callable[[float, float], tuple[float, float]], scale: int
) -> None:
    frame = Frame(curve)
    small, large = ImageFont.load_default(11 * scale), ImageFont.load_default(14 * scale)
    pen.text(at(LEFT, -48), curve.title, fill="#22201c", font=large)
    right, line = float(LEFT), -22
    for name, text in legend(curve):
        if right + 16 + small.getlength(text) / scale > WIDTH - RIGHT:
            right, line = float(LEFT), line + 14
        pen.line([at(right, line), at(right + 12, line)], fill=PENS[name], width=2 * scale)
        pen.text(at(right + 16, line), text, fill="#6d685f", font=small, anchor="lm")
        right += 28 + small.getlength(text) / scale
    for value in frame.up:
        pen.line([at(LEFT, frame.y(value)), at(WIDTH - RIGHT, frame.y(value))], fill="#e2ded5", width=scale)
        pen.text(at(LEFT - 6, frame.y(value)), _tick(value), fill="#6d685f", font=small, anchor="rm")
    for step in frame.across:
        anchor = "rm" if _anchor(frame.x(step)) == "end" else "mm"
        pen.text(at(frame.x(step), HEIGHT - 13), _tick(step), fill="#6d685f", font=small, anchor=anchor)
    for step, _ in curve.marks:
        pen.line([at(frame.x(step), TOP), at(frame.x(step), HEIGHT - BOTTOM)], fill=PENS["mark"], width=scale)
    for series in curve.series:
        places = [at(frame.x(x), frame.y(y)) for x, y in series.points]
        pen.line(places, fill=PENS[series.pen], width=round(1.5 * scale), joint="curve")
        for x, y in places if series.dots or len(places) == 1 else ():
            r = 2.6 * scale
            pen.ellipse([x - r, y - r, x + r, y + r], fill=PENS[series.pen])
