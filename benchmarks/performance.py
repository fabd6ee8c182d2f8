"""The page of what generation was measured to cost beside diffusers: docs/performance.md, its JSON and its curves.

Stages, each kept in the JSON as soon as it is measured; what is there is not measured again unless it is named:
``generation`` (the table: exact and fast, 1 and 3 controls), ``share`` (what controls cost), ``scale`` (by size and
steps), ``start`` (whole commands from nothing), ``roofline``; ``page`` writes the page from what is there. Policies and
their control fidelity come from ``docs/fast-mode.json`` (benchmarks/fast_mode.py). The machine should be quiet.

python benchmarks/performance.py [STAGE …] [--shapes meadow sd1] [--controls 1 3] [--sides NAME …] [--runs 5]
    [--folder DIR] [--compiled]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from training_common import merge, read
from training_figures import number, table

from hackamore.bench.compare import Side, compare
from hackamore.bench.job import Job
from hackamore.bench.peaks import machine, peak_bytes, peak_flops, step_work
from hackamore.bench.shapes import CONTROL, USUAL, write_shape
from hackamore.bench.table import HEAD, reference_row, row, sides
from hackamore.core.files import written_whole

STAGES = ("generation", "share", "scale", "start", "roofline", "page")
SIZES, STEPS = (128, 192, 256, 384), (10, 20, 40)
CURVES = "performance.svg"
THEIRS = """
import sys, torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image
control = ControlNetModel.from_pretrained(sys.argv[2])
pipeline = StableDiffusionControlNetPipeline.from_pretrained(sys.argv[1], controlnet=control, torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
hint = Image.open(sys.argv[3])
picture = pipeline("mountains with a lake", image=hint, num_inference_steps=20, width=128, height=128)
picture.images[0].save(sys.argv[4])
"""
"""The script that a user of diffusers would write for the same picture."""


def jobs(told: argparse.Namespace, shape: str, controls: int) -> Job:
    """The reference: diffusers on a shape with so many controls."""
    common = {"side": "diffusers", "threads": told.threads, "device": told.device, "dtype": told.dtype}
    if shape == "meadow":
        names = ("meadow/canny", "meadow/seg", "meadow/canny", "meadow/seg")
        return Job(controls=names[:controls], **common)
    folder = write_shape(told.folder / f"{shape}-{told.dtype}", shape, told.dtype)
    size, steps = USUAL[shape]
    return Job(
        base=str(folder), controls=(str(folder / CONTROL),) * controls, size=size, steps=steps, guidance=7.5,
        family=shape, **common,
    )  # fmt: skip


def generation(told: argparse.Namespace, held: dict[str, Any]) -> None:
    """Every side beside diffusers, for each shape with one control and with three."""
    for shape in told.shapes:
        for controls in told.controls:
            reference = jobs(told, shape, controls)
            known = sides(reference)
            if told.compiled:
                known["diffusers, compiled"] = reference.on("diffusers", "compile")
            for name, job in known.items():
                key = f"{shape}, {controls} controls, {told.dtype}"
                if told.sides and name not in told.sides:
                    continue
                if name in held.setdefault("generation", {}).setdefault(key, {}):
                    continue
                found = compare(reference, job, told.runs if shape == "meadow" else told.large_runs)
                held["generation"][key][name] = found
                keep(told, held)
                print(key, *row(name, found), flush=True)


def share(told: argparse.Namespace, held: dict[str, Any]) -> None:
    """Seconds without controls and with 1, 2 and 4, of each side."""
    for shape in told.shapes:
        known = {"diffusers": jobs(told, shape, 1), **sides(jobs(told, shape, 1))}
        known = {name: job for name, job in known.items() if not name.startswith("fast 1")}
        for name, job in known.items():
            found = held.setdefault("share", {}).setdefault(shape, {})
            if name in found:
                continue
            runs = told.runs if shape == "meadow" else told.large_runs
            each = {}
            for controls in (0, 1, 2, 4):
                names = jobs(told, shape, controls).controls
                with Side(replace(job, controls=names)) as side:
                    for _ in range(1 + runs):
                        side.run()
                    each[str(controls)] = side.median("seconds")
            found[name] = each
            keep(told, held)
            print(shape, name, each, flush=True)


def scale(told: argparse.Namespace, held: dict[str, Any]) -> None:
    """Seconds by size and by steps, one control on Meadow."""
    usual = jobs(told, "meadow", 1)
    known = {"diffusers": usual, **{name: job for name, job in sides(usual).items() if name.startswith("exact")}}
    for name, job in known.items():
        found = held.setdefault("scale", {}).setdefault(name, {})
        changes = {f"size {side}": {"size": (side, side)} for side in SIZES}
        changes |= {f"steps {steps}": {"steps": steps} for steps in STEPS}
        for word, change in changes.items():
            if word in found:
                continue
            with Side(replace(job, **change)) as side:
                for _ in range(1 + min(3, told.runs)):
                    side.run()
                found[word] = side.median("seconds")
            keep(told, held)
            print(name, word, round(found[word], 3), flush=True)


def start(told: argparse.Namespace, held: dict[str, Any]) -> None:
    """From nothing: commands in processes of their own, in turn."""
    from hackamore.bases.catalog import MEADOW

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hint = folder / "hint.png"
        Image.new("RGB", (128, 128)).save(hint)
        (folder / "theirs.py").write_text(THEIRS, encoding="utf-8")
        command = [sys.executable, "-c", "from hackamore.cli.main import main; main()"]
        words = {
            "hackamore --help": [*command, "--help"],
            "hackamore generate, 1 step": [
                *command, "generate", "mountains with a lake", "--control", f"canny={hint},hint=true", "--steps", "1",
                "--overwrite", "--out", folder / "ours.png",
            ],
            "hackamore generate": [
                *command, "generate", "mountains with a lake", "--control", f"canny={hint},hint=true",
                "--overwrite", "--out", folder / "ours.png",
            ],
            "hackamore generate --fast": [
                *command, "generate", "mountains with a lake", "--control", f"canny={hint},hint=true", "--fast",
                "--overwrite", "--out", folder / "ours.png",
            ],
            "diffusers' script": [
                sys.executable, folder / "theirs.py", MEADOW, MEADOW / "controls" / "canny", hint, folder / "their.png",
            ],
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in words}
        environment = {**os.environ, "OMP_NUM_THREADS": str(told.threads), "HF_HUB_OFFLINE": "1"}
        for _ in range(1 + told.runs):
            for name, line in words.items():
                began = time.perf_counter()
                subprocess.run(list(map(str, line)), check=True, capture_output=True, env=environment)
                seconds[name].append(time.perf_counter() - began)
        held["start"] = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    keep(told, held)
    print(held["start"], flush=True)


def roofline(told: argparse.Namespace, held: dict[str, Any]) -> None:
    """What a guided step with one control asks, and what the machine can do."""
    asked = held.get("roofline", {}).get("asked", {})
    found: dict[str, Any] = {"flops": peak_flops(told.threads), "bytes": peak_bytes(told.threads), "asked": asked}
    for shape in told.shapes:
        found["asked"][shape] = step_work(jobs(told, shape, 1))
    held["roofline"] = found
    keep(told, held)
    print(found, flush=True)


def keep(told: argparse.Namespace, held: Mapping[str, Any]) -> None:
    """What is measured so far, on disk."""
    merge(told.out, {**held, "machine": machine(told.threads)})


def page(told: argparse.Namespace, held: Mapping[str, Any]) -> None:
    """docs/performance.md."""
    docs = told.out.parent
    lines = ["# Generation, measured", ""]
    lines += [
        f"{held.get('machine', '')}. Ours beside diffusers' pipelines: the same weights, seed, steps, scheduler and "
        "precision, each side in a process of its own, run in turn; medians, and the median of the ratios of runs that "
        "followed one another. *Exact* gives what diffusers gives (the largest difference of the latents stands beside "
        "it). *Fast* levels spare work and change the picture ([by how much](#policies-of-the-fast-mode)). Memory is "
        "the high-water mark of the process, libraries included.",
        "",
    ]
    for key, found in held.get("generation", {}).items():
        shape, controls, dtype = key.split(", ")
        words = {"meadow": "Meadow, 128², 20 steps", "sd1": "Stable Diffusion 1.5's shape, 512², 4 steps"}
        lines += [f"## {words.get(shape, shape)}, {controls.replace('1 controls', 'one control')}, {dtype}", ""]
        rows = [reference_row(next(iter(found.values()))), *(row(name, one) for name, one in found.items())]
        lines += table(HEAD, rows)
    for part in (_share_page(held), _scale_page(held), _start_page(held), _roofline_page(held)):
        lines += part
    lines += _policies(read(docs / "fast-mode.json"))
    if "scale" in held:
        plot(docs / CURVES, held["scale"])
    lines.append(
        "`python benchmarks/performance.py` measures this again, `… page` writes the page from the JSON beside it."
    )
    with written_whole(docs / "performance.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _share_page(held: Mapping[str, Any]) -> list[str]:
    lines = []
    for shape, found in held.get("share", {}).items():
        rows = []
        for name, each in found.items():
            cells = [number(each["0"])]
            for controls in ("1", "2", "4"):
                cells += [number(each[controls]), f"{1 - each['0'] / each[controls]:.0%}"]
            rows.append([name, *cells])
        head = ["side", "none", "1", "share", "2", "share", "4", "share"]
        lines += [f"## The share of controls: {shape}", "", "Seconds of a picture with so many controls.", ""]
        lines += table(head, rows)
    return lines


def _scale_page(held: Mapping[str, Any]) -> list[str]:
    found = held.get("scale", {})
    if not found:
        return []
    words = list(next(iter(found.values())))
    rows = [[name, *(number(each.get(word)) for word in words)] for name, each in found.items()]
    text = "Seconds of a picture on Meadow with one control, by size (20 steps) and by steps (128²)."
    return ["## Scale", "", text, "", *table(["side", *words], rows), f"![Seconds by size and steps]({CURVES})", ""]


def _start_page(held: Mapping[str, Any]) -> list[str]:
    if "start" not in held:
        return []
    text = (
        "Whole commands from nothing, files warm in memory: Meadow, one control, 20 guided steps where none are told."
    )
    rows = [
        [f"`{name}`" if name.startswith("hackamore") else name, number(value)] for name, value in held["start"].items()
    ]
    return ["## Cold start", "", text, "", *table(["command", "seconds"], rows)]


def _roofline_page(held: Mapping[str, Any]) -> list[str]:
    found = held.get("roofline")
    if not found:
        return []
    rows = []
    for key, some in held.get("generation", {}).items():
        shape, controls, _ = key.split(", ")
        if controls != "1 controls" or shape not in found["asked"]:
            continue
        asked = found["asked"][shape]
        named = {"diffusers": next(iter(some.values()))["reference"]["step"]}
        named |= {name: one["other"]["step"] for name, one in some.items() if name.startswith("exact")}
        for name, step in named.items():
            if step:
                achieved = asked["flops"] / step
                rows.append([
                    shape, name, number(achieved / 1e9, 0), f"{achieved / found['flops']:.0%}",
                    number(asked["bytes"] / step / 1e9), f"{asked['bytes'] / step / found['bytes']:.0%}",
                ])  # fmt: skip
    text = (
        f"A matrix product in fp32 reaches {found['flops'] / 1e9:,.0f} GFLOP/s here, a copy {found['bytes'] / 1e9:,.0f}"
        " GB/s. What a guided step with one control asks is counted (operations of products and convolutions; weights "
        "read once), and divided by what it took."
    )
    head = ["shape", "side", "GFLOP/s", "of the peak", "GB/s of weights", "of the peak"]
    return ["## Roofline", "", text, "", *table(head, rows)]


def _policies(measured: Mapping[str, Any]) -> list[str]:
    if not measured:
        return []
    text = (
        "Meadow at 128², held-out worlds, each picture beside the exact one of the same seed; changes are shares of "
        "the exact figure with their 95 % intervals. Seconds are processor seconds of a picture made alone on the "
        "compiled backend. The distance is that of the latents, over their deviation."
    )
    head = ["hint", "policy", "pictures", "processor s", "of exact", "control fidelity", "change", "caption accuracy",
            "change", "KID", "distance"]  # fmt: skip
    exact = {row["kind"]: row["seconds"] for row in measured.values() if row["policy"] == "exact"}
    rows = [
        [
            one["kind"], one["policy"], str(one["count"]), number(one["seconds"]),
            number(one["seconds"] / exact[one["kind"]]), number(one["fidelity"], 3), change(one["fidelity change"]),
            number(one["captions"], 3), change(one["captions change"]), number(one["kid"], 3),
            number(one["distance"], 3),
        ]
        for one in measured.values()
    ]  # fmt: skip
    return ["## Policies of the fast mode", "", text, "", *table(head, rows)]


def change(values: Sequence[float]) -> str:
    """A share with its interval."""
    told, low, high = (f"{100 * value:+.1f}" for value in values)
    return f"{told} % ({low} … {high})"


def plot(path: Path, found: Mapping[str, Mapping[str, float]]) -> None:
    """Seconds over size and over steps."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.hashsalt": "hackamore", "font.size": 9})
    figure, fields = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for field, word in zip(fields, ("size", "steps"), strict=True):
        for name, each in found.items():
            points = sorted((int(key.split()[1]), value) for key, value in each.items() if key.startswith(word))
            field.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, linewidth=1.3)
        field.set(xlabel="side of the picture" if word == "size" else "steps", ylabel="seconds", ylim=(0, None))
        field.legend(fontsize=7)
    figure.tight_layout()
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """The stages that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], default=list(STAGES))
    parser.add_argument("--shapes", nargs="+", default=["meadow", "sd1"], choices=["meadow", "sd1", "sdxl"])
    parser.add_argument("--controls", nargs="+", type=int, default=[1, 3], help="of the table: how many")
    parser.add_argument("--sides", nargs="+", metavar="NAME", help="of the table: these alone, such as 'fast 3'")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large-runs", type=int, default=2, help="of shapes other than Meadow")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--compiled", action="store_true", help="also diffusers under torch.compile")
    parser.add_argument("--folder", type=Path, help="keeps random weights there (5 GB); a temporary folder else")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.json"))
    told = parser.parse_args()
    held = read(told.out)
    with tempfile.TemporaryDirectory() as temporary:
        told.folder = told.folder or Path(temporary)
        known = {"generation": generation, "share": share, "scale": scale, "start": start, "roofline": roofline}
        for stage in told.stages:
            if stage == "page":
                page(told, read(told.out))
            elif stage in ("generation", "share", "scale") or stage not in held or len(told.stages) < len(STAGES):
                known[stage](told, held)


if __name__ == "__main__":
    main()
