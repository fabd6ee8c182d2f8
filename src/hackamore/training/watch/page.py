"""``training.html``: how a run goes, in one file that needs no other and looks again by itself meanwhile."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from PIL import Image

from hackamore.core.files import written_whole
from hackamore.training import history
from hackamore.training.advice import advise
from hackamore.training.watch import words
from hackamore.training.watch.curves import Curve, curves_of, legend, svg
from hackamore.training.watch.record import Record, flat, named

SHARE = 0.05
"""Share of the run's time that the page may take; rows that come faster are written together."""
GRIDS = 3
"""Sample grids that are shown, newest first."""
WIDEST = 1600
"""Pixels of a grid in the page."""
HEAVY = 400_000
"""Bytes from which a grid is embedded as JPEG."""
SOONEST, LATEST = 5, 60
"""Seconds after which the page looks again, by how often it is written."""


class Page(Record):
    """Writes ``training.html`` beside the log at every row, as long as that takes little of the run's time."""

    def __init__(self) -> None:
        super().__init__()
        self._pictures: dict[Path, str] = {}
        self._written, self._took, self._waits = 0.0, 0.0, False

    def changed(self) -> None:
        """Write the page, now or, where it was written a moment ago, a little later."""
        late = time.monotonic() - self._written >= self._took / SHARE
        self._waits = not (late or self.outcome or not self._written)
        if not self._waits:
            self._write()

    def stepped(self, done: int) -> None:
        """Write what waits to be written, when it is time."""
        super().stepped(done)
        if self._waits:
            self.changed()

    def _write(self) -> None:
        began = time.monotonic()
        every = min(max(began - self._written, SOONEST), LATEST) if self._written else SOONEST
        shown = self.samples[-GRIDS:][::-1]
        self._pictures = {path: self._pictures.get(path) or picture_uri(path) for _, path in shown if path.exists()}
        grids = [(step, self._pictures[path]) for step, path in shown if path in self._pictures]
        with written_whole(self.started.output / "training.html") as temporary:
            temporary.write_text(page(self, grids, round(every)), encoding="utf-8")
        self._written = time.monotonic()
        self._took = self._written - began


def page(record: Record, grids: Sequence[tuple[int, str]], every: int) -> str:
    """The page as HTML; ``grids`` are steps and data URIs, ``every`` the seconds until a run under way is looked at."""
    what, base = named(record.started.settings)
    title = f"Training: {what}" if what else f"Training of {record.started.output.name}"
    refresh = "" if record.outcome else f'<meta http-equiv="refresh" content="{every}">'
    css = [files("hackamore.evaluation").joinpath("report.css"), files(__package__).joinpath("page.css")]
    styles = "".join(one.read_text(encoding="utf-8") for one in css)
    share = 100 * record.done / record.started.run.steps
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}',
        f"<title>{escape(title)}</title><style>{styles}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(_lead(record, base))}</p>',
        f'<div class="bar"><div style="width:{share:.1f}%"></div></div>',
        _learned(record),
        f'<div class="tiles">{"".join(_tile(*tile) for tile in _tiles(record))}</div>',
        _sentences("Advice", [(None, one) for one in _advice(record)]),
        _sentences("Warnings", words.warnings(record.rows)),
        _charts(curves_of(record.rows)),
        _grids(grids),
        f"<details><summary>Settings</summary>{_settings(record)}</details></main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _lead(record: Record, base: str) -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    told = f"On {base}. " if base else ""
    if record.outcome:
        return f"{told}{record.words[:1].upper()}{record.words[1:].rstrip('.')}. Written {now}."
    return f"{told}Under way; written {now}. This page looks again by itself until the run ends."


def _advice(record: Record) -> list[str]:
    run = record.started.run
    told = {"steps": run.steps, "batch_size": run.batch_size, "warmup": run.warmup}
    return advise(record.rows, **told, ended=record.outcome is not None)


def _learned(record: Record) -> str:
    """What the newest probe found, above all else."""
    last, best = record.last(), history.best(record.rows)
    if last is None:
        return ""
    head, _, rest = words.learned(last[1]).partition(" (")
    told = [f"step {last[0]}", *([] if best is None else [f"best {words.number(best.figure)} at step {best.step}"])]
    told += [rest.rstrip(")")] if rest else []
    return _tile(head[0].upper() + head[1:], "; ".join(told), " first")


def _tiles(record: Record) -> Iterable[tuple[str, str]]:
    """Values and what they are."""
    yield f"{record.done:,}", f"of {record.started.run.steps:,} steps"
    left = record.left()
    if record.outcome:
        yield words.duration(record.seconds()), "of training"
    elif left is not None:
        yield words.duration(left), "left"
    row = next((row for row in reversed(record.rows) if "loss" in row), None)
    if row is not None:
        yield words.number(words.smoothed(words.points(record.rows[-100:], "loss"))[-1][1]), "loss, smoothed"
        yield words.number(row.get("samples_per_second", float("nan"))), "samples a second"
        if row.get("memory_mib") is not None:
            yield words.memory(row["memory_mib"]), "of memory at most"


def _tile(value: str, told: str, more: str = "") -> str:
    return f'<div class="tile{more}"><b>{escape(value)}</b><span>{escape(told)}</span></div>'


def _sentences(title: str, told: Sequence[tuple[int | None, str]]) -> str:
    if not told:
        return ""
    lines = "".join(
        f"<li>{escape(text)}{'' if step is None else f' <small>step {step}</small>'}</li>" for step, text in told
    )
    return f'<h2>{title}</h2><ul class="{title.lower()}">{lines}</ul>'


def _charts(curves: Sequence[Curve]) -> str:
    if not curves:
        return ""
    return f'<h2>Curves</h2><div class="charts">{"".join(map(_chart, curves))}</div>'


def _chart(curve: Curve) -> str:
    key = "".join(f'<span><i class="pen {pen}"></i>{escape(text)}</span>' for pen, text in legend(curve))
    return f'<figure class="chart"><h3>{escape(curve.title)}</h3><p>{key}</p>{svg(curve)}</figure>'


def _grids(grids: Sequence[tuple[int, str]]) -> str:
    shown = "".join(
        f'<figure class="sample"><img src="{uri}" alt="samples of step {step}"><figcaption>step {step}</figcaption>'
        "</figure>"
        for step, uri in grids
    )
    return f"<h2>Samples</h2>{shown}" if shown else ""


def _settings(record: Record) -> str:
    told = flat(record.started.settings) or flat({"run": record.started.run.model_dump()})
    return "<dl>" + "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in told.items()) + "</dl>"


def picture_uri(path: Path) -> str:
    """A grid as a data URI, made narrower where it is wide; JPEG where PNG would be heavy."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    buffer, kind = BytesIO(), "png"
    image.save(buffer, "PNG")
    if buffer.tell() > HEAVY:
        buffer, kind = BytesIO(), "jpeg"
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
