"""Seconds a picture, alone and sampled together: without controls, with the same one, and with different ones.

    python benchmarks/serving_batch.py [--steps 8] [--rounds 3] [--out docs/serving-batch.json]

On a CPU seconds are the processor's, which other work on the machine hardly changes; elsewhere the clock's. The least
of some rounds is written.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core.palette import WORLDS
from hackamore.generate.together import generate_together
from hackamore.worlds import render

TOGETHER = (1, 2, 4, 8)
KINDS = {"none": (None,), "same": ("canny",), "different": ("canny", "seg", None, "both")}


def requests(base: Any, controls: dict[str, Any], kinds: tuple[str | None, ...], count: int, steps: int) -> list[Any]:
    """``count`` generations, whose units are those of ``kinds`` in turn."""
    made = []
    for k in range(count):
        world, kind = render(9_000_001 + k, base.size[0]), kinds[k % len(kinds)]
        hints = {
            "canny": annotate("canny", world.picture, size=base.size),
            "seg": np.ascontiguousarray(WORLDS.paint(world.segmentation)),
        }
        named = [] if kind is None else list(hints) if kind == "both" else [kind]
        units = [controls[name].unit(hints[name]) for name in named]
        made.append({"prompt": world.caption, "seed": k, "steps": steps, "controls": units})
    return made


def seconds(base: Any, asked: list[Any], batch: int) -> float:
    """Seconds of a picture."""
    clock = time.process_time if base.device.type == "cpu" else time.perf_counter
    began = clock()
    made = generate_together(base, asked, batch=batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    took = clock() - began
    failed = [one for one in made if isinstance(one, Exception)]
    if failed:
        raise failed[0]
    return took / len(asked)


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--steps", type=int, default=8)
    told.add_argument("--rounds", type=int, default=3)
    told.add_argument("--out", type=Path, default=Path("docs/serving-batch.json"))
    told.add_argument("--device")
    options = told.parse_args()
    base = load_base("meadow", device=options.device, dtype="fp32")
    controls = {kind: load_control(f"meadow/{kind}", base) for kind in ("canny", "seg")}
    asked = {name: requests(base, controls, kinds, max(TOGETHER), options.steps) for name, kinds in KINDS.items()}
    for one in asked.values():
        seconds(base, one[:2], 2)  # the first time costs more
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for name, all_of_them in asked.items():
            for batch in TOGETHER:
                found.setdefault((name, batch), []).append(seconds(base, all_of_them, batch))
    rows = []
    for (name, batch), times in found.items():
        rows.append({"controls": name, "batch": batch, "seconds": round(min(times), 4)})
        print(f"{name:10} {batch}: {min(times):.3f} s a picture", flush=True)
    device = torch.cuda.get_device_name() if base.device.type == "cuda" else platform.processor() or platform.machine()
    report = {
        "base": "meadow",
        "size": list(base.size),
        "steps": options.steps,
        "guidance": base.guidance,
        "dtype": "float32",
        "device": f"{base.device.type}: {device}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "pictures": max(TOGETHER),
        "rounds": options.rounds,
        "clock": "processor" if base.device.type == "cpu" else "wall",
        "rows": rows,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
