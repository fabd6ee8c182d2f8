"""A small control on Meadow, killed with kill -9 again and again: does every later step's loss stay the same?

One run is left alone. Another, of the same settings, is a process that gets SIGKILL at random moments, half of them in
the middle of writing a checkpoint, and is started again each time; after the last kill it runs to its end. Every loss
that any of its lives wrote is compared with the first run's, to the last digit, and so are the finished weights.

python benchmarks/resume.py [--kills 20] [--steps 90] [--seed 0] [--out docs/resume.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

RUN = {"batch_size": 2, "log_every": 1, "checkpoint_every": 3, "sample_every": 10_000, "warmup": 5, "seed": 3}


def life(data: Path, output: Path, steps: int) -> None:
    """One start of the training, as far as it gets."""
    import torch

    from hackamore.bases.catalog import load_base
    from hackamore.controls.branch import new_control
    from hackamore.training.api import train

    torch.set_num_threads(1)
    torch.manual_seed(0)
    control = new_control(load_base("meadow", device="cpu"), "seg")
    told = {"probe": {"every": 0}, "track": {"page": False}}
    train(control, data, output, steps=steps, quiet=True, **told, **RUN)


def losses(output: Path) -> dict[int, float]:
    """Step → loss, of the rows that are there."""
    from hackamore.training.log import read_log

    return {row["step"]: row["loss"] for row in read_log(output / "log.jsonl") if "loss" in row}


def half_written(output: Path) -> bool:
    """Whether a checkpoint is being written, or was when the process died."""
    from hackamore.core.files import UNFINISHED

    return any((output / "checkpoints").glob(f"{UNFINISHED}step-*.pt"))


def newest(output: Path) -> int:
    """The step of the newest checkpoint, 0 without one."""
    return max((int(path.stem[5:]) for path in (output / "checkpoints").glob("step-*.pt")), default=0)


def killed(context: Any, told: tuple[Path, Path, int], saving: bool, chance: random.Random) -> dict[str, Any]:
    """Start a life, kill it at a moment that ``chance`` chooses, and say when that was."""
    output, first = told[1], newest(told[1])
    more, wait = chance.randint(1, 6), chance.random() * 0.2
    process = context.Process(target=life, args=told)
    process.start()
    while process.is_alive():
        done = max(losses(output), default=0)
        if done >= first + 1 and (half_written(output) if saving else done >= first + more):
            time.sleep(0 if saving else wait)
            break
        time.sleep(0.0005)
    else:
        raise SystemExit("a life came to its end before it was killed: give it more --steps")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return {"from": first, "died at": max(losses(output), default=0), "while saving": half_written(output)}


def measure(kills: int, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Both runs, and what every life of the second one wrote."""
    from hackamore.core.files import sha256
    from hackamore.data.worlds import write_worlds

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "hackamore.training.api", "hackamore.training.build"])
    data = write_worlds(folder / "data", 24, 128, 0, ("seg",), 1)
    alone, often = folder / "alone", folder / "often"
    for process in [context.Process(target=life, args=(data, alone, steps))]:
        process.start()
        process.join()
    whole, chance, lives = losses(alone), random.Random(seed), []
    for number in range(kills + 1):
        if number < kills:
            told = killed(context, (data, often, steps), number % 2 == 1, chance)
        else:
            told = {"from": newest(often)}
            process = context.Process(target=life, args=(data, often, steps))
            process.start()
            process.join()
            told["died at"], told["while saving"] = None, False
        rows = losses(often)
        told |= {"losses": len(rows), "equal": all(rows[step] == whole[step] for step in rows)}
        lives.append(told)
        print(_line(number, told), flush=True)
    same = sha256(_weights(alone)) == sha256(_weights(often))
    return {"steps": steps, "kills": kills, "lives": lives, "all steps equal": losses(often) == whole, "weights": same}


def _weights(output: Path) -> Path:
    return next(iter(sorted(output.glob("*.safetensors"))))


def _line(number: int, told: dict[str, Any]) -> str:
    end = "ran to its end" if told["died at"] is None else f"killed after step {told['died at']}"
    saving = ", writing a checkpoint" if told["while saving"] else ""
    words = "equal" if told["equal"] else "DIFFERENT"
    return f"life {number + 1:2d}: from step {told['from']:3d}, {end}{saving}; {told['losses']} losses {words}"


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON of what was measured")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(told.kills, told.steps, told.seed, Path(folder))
    print(f"every step's loss equal: {found['all steps equal']}; finished weights equal: {found['weights']}")
    if told.out:
        told.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(0 if found["all steps equal"] and found["weights"] else 1)


if __name__ == "__main__":
    main()
