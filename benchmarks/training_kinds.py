"""Every form of control trained for some minutes on worlds: how well it obeys, without and with a consistency reward.

How many steps fit into the minutes is measured first, by a short run of the same form, and kept; the run with a reward
has as many steps. Results go to a JSON file one by one; what is there is not measured again, and a run that was stopped
goes on.

python benchmarks/training_kinds.py --data WORLDS [--minutes 10] [--forms controlnet xs …] [--reward 0.5]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, get_args

import torch
from training_common import (
    Tables,
    add_options,
    batch_of,
    best_of,
    config,
    joined,
    make_probe,
    merge,
    read,
    rows_of,
    run,
    seconds_of,
    tables,
)

from hackamore.bench.peaks import machine
from hackamore.training.settings import Form

UNION = ("canny", "seg")
TRIAL = 30
"""Steps of the run that tells how fast a form trains; the first ten do not count."""


def kinds_of(told: argparse.Namespace, form: str) -> tuple[str, ...]:
    return UNION if form == "union" else (told.kind,)


def write(told: argparse.Namespace, form: str, out: Path, own: Tables) -> Path:
    """The configuration of a run."""
    kinds = kinds_of(told, form)
    common = {
        "control": {"form": form},
        "run": {"seed": told.seed, "sample_every": 10**9, "precision": told.precision},
        "data": {"cache": str(told.work / "cache"), "limit": told.pairs},
        "probe": {"data": "worlds"},
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "config.toml"
    kind = kinds if len(kinds) > 1 else kinds[0]
    path.write_text(config(told.base, told.data, kind, out, **joined(common, tables(told.set), own)), "utf-8")
    return path


def steps_in(told: argparse.Namespace, form: str) -> int:
    """How many steps of ``form`` fit into the minutes; measured once."""
    kept = told.work / "steps.json"
    key = f"{form}, {told.minutes:g} minutes, {told.threads} threads, {told.precision}"
    if key not in read(kept):
        out = told.work / f"trial-{form}"
        shutil.rmtree(out, ignore_errors=True)
        own = {"run": {"steps": TRIAL, "log_every": 10}, "probe": {"every": 0}}
        path = write(told, form, out, own)
        run(path, told.threads)
        speeds = [row["samples_per_second"] for row in rows_of(out) if row.get("samples_per_second")]
        rate = sum(speeds[1:]) / len(speeds[1:]) / batch_of(path)
        merge(kept, {key: max(round(told.minutes * 60 * rate), 1)})
    return int(read(kept)[key])


def measure(told: argparse.Namespace, form: str, reward: float, probe: Any, base: Any) -> dict[str, Any]:
    """One run, and how well its control obeys."""
    from hackamore.controls.catalog import load_control

    steps = steps_in(told, form)
    own: Tables = {"run": {"steps": steps}}
    if reward:
        own["reward"] = {"weight": reward, "reader": str(told.reader) if told.reader else None}
    out = told.work / (form + (f"-reward-{reward:g}" if reward else ""))
    path = write(told, form, out, own)
    run(path, told.threads)
    found = probe(load_control(out, base))
    size = max(file.stat().st_size for file in out.glob("*.safetensors"))  # one layout of several
    return {
        "form": form, "kinds": kinds_of(told, form), "reward": reward, "steps": steps, "batch": batch_of(path),
        "seed": told.seed, "machine": machine(told.threads), "seconds": round(seconds_of(out, batch_of(path))),
        "bytes": size, "best": best_of(out), **found,
    }  # fmt: skip


def main() -> None:
    """Every form without and with the reward, those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "training-kinds")
    parser.add_argument("--forms", nargs="+", default=[*get_args(Form)], choices=get_args(Form))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--reward", type=float, default=0.5, help="its weight; 0 trains without alone")
    parser.add_argument("--reader", type=Path, help="weights of a reader, for kinds whose reward needs one")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)

    from hackamore.bases.catalog import load_base

    base = load_base(told.base, dtype="fp32")
    probes: dict[tuple[str, ...], Any] = {}
    for reward in (0.0, told.reward) if told.reward else (0.0,):
        for form in told.forms:
            key = f"{' '.join(kinds_of(told, form))} {form} reward {reward:g} {told.minutes:g} min seed {told.seed}"
            if key in read(told.out):
                continue
            kinds = kinds_of(told, form)
            if kinds not in probes:
                probes[kinds] = make_probe(base, kinds, told.count, told.probe_steps)
            row = merge(told.out, {key: measure(told, form, reward, probes[kinds], base)})[key]
            print(f"{key}: {row}", flush=True)


if __name__ == "__main__":
    main()
