"""The words and numbers in which a run is told, the same on the terminal, the page and the card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hackamore.training import history

Row = Mapping[str, Any]
"""A line of ``log.jsonl``."""


def duration(seconds: float) -> str:
    """A time of any length in one or two units: ``42 s``, ``7 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def number(value: float) -> str:
    """A figure with four significant digits; ``–`` for one that is not finite."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def memory(mib: float) -> str:
    """Mebibytes as MiB or GiB."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def learned(probe: Row) -> str:
    """What a probe found, in one sentence: the share of what is possible, or the hint gain where no figure is known.

    What is hardly more than captions bring by themselves is called not learned.
    """
    share = probe.get("normalised")
    if share is not None:
        told = [
            f"{name} {number(probe[name])}"
            for name in ("figure", "floor", "ceiling")
            if history.known(probe, name) is not None
        ]
        idle = history.known(probe, "idle")
        told += [] if idle is None else [f"control off {idle:.2f}"]
        begun = history.Probed(0, share, True, probe).begun
        head = f"learned {share:.2f} of what is possible" if begun else f"not learned yet: {share:.2f}"
        return head + (f" ({', '.join(told)})" if told else "")
    gain = probe.get("gain")
    return "no figure yet" if gain is None else f"hint gain {gain:+.4f} (0 is a hint that is not heard)"


def warnings(rows: Iterable[Row]) -> list[tuple[int, str]]:
    """Step and words of every warning; one that repeats is told once, at its first step."""
    found: dict[str, int] = {}
    for row in rows:
        if "warning" in row:
            found.setdefault(str(row["warning"]), int(row["step"]))
    return [(step, words) for words, step in found.items()]


def points(rows: Iterable[Row], name: str) -> list[tuple[float, float]]:
    """Step and value of ``name`` in the rows that have it, logged or probed; what is no number is left out."""
    found = []
    for row in rows:
        value = history.known(row if name in row else row.get("probe") or {}, name)
        if value is not None:
            found.append((float(row["step"]), value))
    return found


def smoothed(values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points with their values smoothed."""
    return [(step, value) for (step, _), value in zip(values, history.smoothed(y for _, y in values), strict=True)]


def thinned(values: Sequence[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """At most ``most`` points: means of equal runs of neighbours, the last point kept as it is."""
    if len(values) <= most:
        return list(values)
    size = -(-(len(values) - 1) // (most - 1))
    parts = [values[i : min(i + size, len(values) - 1)] for i in range(0, len(values) - 1, size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts] + [values[-1]]
