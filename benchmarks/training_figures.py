"""The page of what training was measured to do: docs/training-figures.md and its curves, from the JSON beside it.

python benchmarks/training_figures.py [--docs docs]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from training_common import read, time_to

from hackamore.core.files import written_whole

STEP, TIME, SMALL, KINDS = (
    f"{name}.json" for name in ("training-step", "time-to-control", "small-data", "training-kinds")
)
CURVES = "time-to-control.svg"
Curves = Mapping[str, Mapping[str, Any]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)] + [""]


def number(value: float | None, places: int = 2, more: str = "") -> str:
    return "–" if value is None else f"{value:,.{places}f}{more}"


def step_page(measured: Mapping[str, Any]) -> list[str]:
    """A step at full shape."""
    sides = measured["sides"]
    whole = sides.get("finetune")
    head = ["what is trained"]
    for name in ("seconds a step", "processor seconds", "peak GiB"):
        head += [name, "of the fine-tune"]
    rows = []
    for name, side in sides.items():
        row = [name]
        for key, places in (("step", 1), ("cpu", 1), ("peak", 2)):
            row += [number(side[key], places), number(side[key] / whole[key] if whole else None)]
        rows.append(row)
    words = (
        f"Stable Diffusion 1.5's full shape ({measured['machine']}). *finetune* trains the whole U-Net, *diffusers* is "
        "the step of its `train_controlnet.py`. Each side runs in a process of its own, whose high-water mark is the "
        "peak; processor seconds are those of all threads, which a busy machine hardly changes."
    )
    return ["## A step at full shape", "", words, "", *table(head, rows)]


def time_page(curves: Curves, docs: Path) -> list[str]:
    """The time to control, beside the peer's; and what each choice buys."""
    words = (
        "Ours by default, and diffusers' `train_controlnet.py` as published (batch 4, constant rate) on Meadow, "
        "the same pairs, one core each, probed by the same code; seconds count from the start of the process, with "
        "nothing cached. The machine did other work beside, so processor seconds are what compares. A peer is "
        "stopped some times later than ours, and has one run a rate; between the two machines the samples it needed "
        "differ by up to 1.7 times, so a single ratio is no more certain than that."
    )
    lines = ["## Time to control", "", words, ""]
    for kind, machine in dict.fromkeys((one["kind"], one["machine"]) for one in curves.values()):
        own = {name: one for name, one in curves.items() if (one["kind"], one["machine"]) == (kind, machine)}
        usual = [one for one in own.values() if one["usual"]]
        target = min(one["target"] for one in own.values())
        ours = {key: _median([time_to(one["points"], target, key) for one in usual]) for key in ("seconds", "cpu")}
        lines += [f"### {kind}, to a normalised control fidelity of {target:g} ({machine})", ""]
        head = [
            "run",
            "seconds",
            "times ours",
            "processor seconds",
            "times ours",
            "samples",
            "peak MiB",
            "best reached",
        ]
        compared = {name: one for name, one in own.items() if one["label"] is None}
        lines += table(head, [_time_row(name.partition(",")[0], one, ours, target) for name, one in compared.items()])
        changed = {one["label"]: one for one in own.values() if one["label"] is not None}
        if changed:
            lines += ["With one choice taken back:", ""]
            lines += table(head, [_time_row(name, one, ours, target) for name, one in changed.items()])
    plot(docs / CURVES, curves)
    return [*lines, f"![Control fidelity over time]({CURVES})", ""]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _time_row(name: str, one: Mapping[str, Any], ours: Mapping[str, float | None], target: float) -> list[str]:
    cells = []
    for key in ("seconds", "cpu"):
        reached, own = time_to(one["points"], target, key), ours[key]
        value = one["points"][-1][key] if reached is None and one["points"] else reached
        more = "more than " if reached is None else ""
        cells += [more + number(value, 0), more + number(value / own if value is not None and own else None)]
    best = max((point["normalised"] or 0.0 for point in one["points"]), default=None)
    return [
        name,
        *cells,
        number(time_to(one["points"], target, "samples"), 0),
        number(one["peak_mib"], 0),
        number(best),
    ]


def plot(path: Path, curves: Curves) -> None:
    """Normalised control fidelity over processor seconds, a field for each kind of hint; ablations are left out."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.hashsalt": "hackamore", "font.size": 9})
    kinds = list(dict.fromkeys(one["kind"] for one in curves.values()))
    machines = list(dict.fromkeys(one["machine"] for one in curves.values()))
    shape = len(machines), len(kinds)
    figure, fields = pyplot.subplots(*shape, figsize=(5 * shape[1], 3.6 * shape[0]), squeeze=False, sharey=True)
    for field, (machine, kind) in zip(fields.flat, product(machines, kinds), strict=True):
        shown = [one for one in curves.values() if (one["kind"], one["machine"]) == (kind, machine)]
        shown = [one for one in shown if one["label"] is None]
        for one in shown:
            points = [point for point in one["points"] if point["normalised"] is not None]
            ours = one["side"] == "ours"
            name = f"ours, seed {one['seed']}" if ours else f"diffusers, lr {one['lr']:g}"
            style = "-" if ours else "--"
            field.plot([p["cpu"] for p in points], [p["normalised"] for p in points], style, label=name, linewidth=1.4)
        field.axhline(min((one["target"] for one in shown), default=0.6), color="grey", linewidth=0.6)
        field.set(title=f"{kind}, {machine.partition(',')[0]}", xlabel="seconds of one core", xscale="log")
        field.legend(fontsize=7)
    for first in fields[:, 0]:
        first.set_ylabel("normalised control fidelity")
    figure.tight_layout()
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def small_page(measured: Curves) -> list[str]:
    """How little data does."""
    head = ["pairs", "settings", "hint", "steps", "normalised", "caption accuracy", "hint gain", "on training pairs"]
    head += ["best probe at step"]
    ordered = sorted(measured.values(), key=lambda row: (row["kind"], row["pairs"]))
    rows = [
        [
            f"{row['pairs']:,}",
            row["settings"],
            row["kind"],
            f"{row['steps']:,}",
            number(row["normalised"]),
            number(row.get("captions")),
            number(row.get("gain"), 4),
            number(row.get("gain_training"), 4),
            "–" if row["best"] is None else f"{row['best']['step']:,}",
        ]
        for row in ordered
    ]
    words = (
        "Meadow at 128², held-out worlds. A hint gain on training pairs far above that on held-back ones is overfit."
    )
    return ["## Small data", "", words, "", *table(head, rows)]


def kinds_page(measured: Curves) -> list[str]:
    """Every form of control."""
    head = [
        "form",
        "hint",
        "reward",
        "steps",
        "minutes",
        "machine",
        "normalised",
        "figure",
        "floor",
        "ceiling",
        "caption accuracy",
    ]
    head += ["MB"]
    rows = [
        [
            row["form"],
            ", ".join(row["kinds"]),
            f"{row['reward']:g}" if row["reward"] else "none",
            f"{row['steps']:,}",
            number(row["seconds"] / 60, 1),
            row["machine"].partition(",")[0],
            number(row["normalised"]),
            *(number(row.get(name), 3) for name in ("figure", "floor", "ceiling")),
            number(row.get("captions")),
            number(row["bytes"] / 1e6, 1),
        ]
        for row in sorted(measured.values(), key=lambda row: (row["form"], row["reward"]))
    ]
    words = (
        "Each form trained on worlds for as many steps as one core of the AMD EPYC does in ten minutes, by a trial; "
        "the controlnet's by the rate of a whole run. What it took, and where, stands beside it. With a reward it has "
        "as many steps, which take longer; where the machines of a pair differ, its minutes do not compare."
    )
    return ["## Every form", "", words, "", *table(head, rows)]


def main() -> None:
    """The page, from what has been measured so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    docs: Path = parser.parse_args().docs
    lines = [
        "# Training, measured",
        "",
        "Control fidelity is normalised: 0 is the floor (the same pictures against shuffled hints), 1 the ceiling (the "
        "true pictures through the autoencoder). A control that is off is not at 0, since captions tell part of what "
        "hints do. [train.md](train.md) says how to train.",
        "",
    ]
    pages = ((TIME, lambda told: time_page(told, docs)), (STEP, step_page), (SMALL, small_page), (KINDS, kinds_page))
    for name, page in pages:
        measured = read(docs / name)
        if measured:
            lines += page(measured)
    lines.append("`python benchmarks/training_figures.py` makes this page again from the JSON files beside it.")
    with written_whole(docs / "training-figures.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
