"""How little data does: controls trained on 100 to 20,000 pairs, each with several settings, on held-out worlds.

Every run has the same number of steps. Of each finished control: control fidelity, caption accuracy (how much of what
the caption says the inspector sees), the hint gain on held-back and on training pairs, and the step of its best probe.
Results go to a JSON file one by one; what is there is not measured again, and a run that was stopped goes on.

python benchmarks/small_data.py --data WORLDS [--kind seg] [--sizes 100 500 …] [--settings usual flip …] [--steps 2000]
"""

from __future__ import annotations

import argparse
from typing import Any

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

SETTINGS: dict[str, Tables] = {
    "usual": {},
    "flip": {"data": {"flip": True}},
    "flip and crops": {"data": {"flip": True, "crops": 4}},
    "half the rate": {"run": {"lr": 2.5e-4}},
    "twice the rate": {"run": {"lr": 1e-3}},
    "more captions lost": {"objective": {"prompt_dropout": 0.5}},
    "more decay": {"run": {"weight_decay": 0.1}},
    "half the steps": {"run": {"steps": 0.5}},
    "twice the steps": {"run": {"steps": 2.0}},
    "control-lora": {"control": {"form": "control-lora"}},
    "t2i-adapter-light": {"control": {"form": "t2i-adapter-light"}},
    "xs": {"control": {"form": "xs"}},
}
"""What is told beyond the usual settings; ``run.steps`` is a factor."""


def measure(told: argparse.Namespace, size: int, name: str, base: Any, probe: Any) -> dict[str, Any]:
    """One run, and what its control can do."""
    from hackamore.controls.catalog import load_control

    out = told.work / f"{told.kind}-{size}-{name.replace(' ', '-')}"
    out.mkdir(parents=True, exist_ok=True)
    own = joined({"run": {"steps": 1.0}}, SETTINGS[name])
    own["run"]["steps"] = round(told.steps * own["run"]["steps"])
    common = {
        "run": {"seed": told.seed, "sample_every": 10**9, "precision": told.precision},
        "data": {"limit": size, "cache": str(told.work / "cache")},
        "probe": {"data": "worlds"},  # none of the few pairs is held back
    }
    path = out / "config.toml"
    path.write_text(config(told.base, told.data, told.kind, out, **joined(common, own, tables(told.set))), "utf-8")
    run(path, told.threads)
    found = probe(load_control(out, base))
    last = next((row["probe"] for row in reversed(rows_of(out)) if "probe" in row), {})
    gains = {key: last[key] for key in ("gain", "gain_training") if last.get(key) is not None}
    return {
        "kind": told.kind, "pairs": size, "settings": name, "steps": own["run"]["steps"], "seed": told.seed,
        "batch": batch_of(path), "seconds": round(seconds_of(out, batch_of(path))), "best": best_of(out),
        **found, **gains,
    }  # fmt: skip


def main() -> None:
    """Every size with every setting, those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "small-data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 1000, 5000, 20_000])
    parser.add_argument("--settings", nargs="+", default=["usual"], choices=[*SETTINGS], metavar="NAME")
    parser.add_argument("--steps", type=int, default=2000)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)

    from hackamore.bases.catalog import load_base

    base = load_base(told.base, dtype="fp32")
    probe = make_probe(base, [told.kind], told.count, told.probe_steps)
    for name in told.settings:
        for size in told.sizes:
            key = f"{told.kind} {size} {name} seed {told.seed}"
            if key not in read(told.out):
                row = merge(told.out, {key: measure(told, size, name, base, probe)})[key]
                print(f"{key}: {row}", flush=True)


if __name__ == "__main__":
    main()
