"""Time to control: seconds until a fresh control obeys, ours beside diffusers' ``train_controlnet.py``.

Both train on the same base (Meadow), the same pairs and the same cores, in a process of their own that starts with
nothing cached. Whenever one has written a checkpoint it is frozen (SIGSTOP) while the checkpoint is probed, by the same
code for both: same held-out worlds, seeds and steps. Seconds are those since the process began, without the frozen
ones: loading, encoding and saving count; processor seconds, which a busy machine hardly changes, stand beside them and
decide when the peer is stopped. Peak memory is the process's high-water mark. The curves go to a JSON file;
those that are there are kept, and a run that was cut off begins anew.

The peer's script is run unchanged, as published: batch 4, constant learning rate, fp32, checkpoints by its own option.
It is not part of this repository, nor is the small stand-in for ``torchvision.transforms`` that it needs on machines
where torchvision does not import. It is stopped at ``--stop-at`` times what ours needed.

python benchmarks/time_to_control.py --data WORLDS --kind seg --side ours --seed 0
python benchmarks/time_to_control.py --data WORLDS --kind seg --side peer --lr 1e-5 --script FILE --stand-in FOLDER
python benchmarks/time_to_control.py --data WORLDS --kind seg --side ours --label "uniform timesteps" \
    --set objective.timesteps=uniform
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from training_common import averaged, batch_of, command, config, joined, make_probe, merge, read, tables, time_to
from training_followed import Followed

from hackamore.bench.peaks import machine

BATCH = 4
"""The peer's, as its documentation has it; ours is whatever the defaults are."""


def write_parquet(folder: Path, told: argparse.Namespace) -> Path:
    """The pairs as the peer reads them: picture, caption, hint. Hints that are made are made once, each with its draw.

    Where ours draws an annotator's parameters anew at every step, the peer has one draw of the same for each picture.
    """
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature
    from datasets.utils.logging import disable_progress_bar

    from hackamore.data.dataset import open_dataset
    from hackamore.data.settings import DataSettings

    path = folder / "train.parquet"
    if path.exists():
        return folder
    pairs = open_dataset(DataSettings(path=str(told.data), limit=told.pairs), [told.kind], (told.size, told.size))
    random = np.random.default_rng(0)

    def each() -> Iterator[dict[str, Any]]:
        for place in range(len(pairs)):
            pictures = {"image": pairs.picture(place), "conditioning_image": pairs.hint(place, u=random.random(2))}
            yield {"text": pairs.captions[place], **{name: _png(picture) for name, picture in pictures.items()}}

    features = Features({"image": ImageFeature(), "text": Value("string"), "conditioning_image": ImageFeature()})
    disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        Dataset.from_generator(each, features=features, cache_dir=cache).to_parquet(str(path))
    return folder


def _png(picture: Any) -> dict[str, Any]:
    return {"bytes": cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes(), "path": None}


class Ours:
    """``hackamore train`` with its defaults, but for what ``--set`` tells; its averaged weights are probed."""

    def __init__(self, told: argparse.Namespace, out: Path) -> None:
        self.output, self.kind = out / "run", told.kind
        run = {"checkpoint_every": told.every, "keep": 100_000, "sample_every": 10**9, "seed": told.seed}
        data = {"limit": told.pairs, "cache": str(out / "cache")}
        given = joined({"run": run, "data": data, "probe": {"every": 0}}, tables(told.set))
        path = out / "config.toml"
        path.write_text(config(told.base, told.data, told.kind, self.output, **given), encoding="utf-8")
        self.words, self.environment, self.batch = command(path), {}, batch_of(path)

    def found(self) -> list[tuple[int, Path, float]]:
        """Checkpoints that are whole: steps, path, when they were written."""
        whole = (self.output / "checkpoints").glob("step-*.pt")
        return [(int(path.stem.split("-")[1]), path, path.stat().st_mtime) for path in whole]

    def control(self, base: Any, path: Path) -> Any:
        """The control of a checkpoint."""
        return averaged(path, base, self.kind)


class Peer:
    """diffusers' script, unchanged."""

    def __init__(self, told: argparse.Namespace, out: Path) -> None:
        from hackamore.bases.catalog import BASES

        if told.script is None or told.stand_in is None:
            raise SystemExit("the peer needs --script and --stand-in")
        self.output, self.batch = out / "run", BATCH
        data = write_parquet(told.work / f"{told.kind}-{told.pairs}-parquet", told)
        base = BASES[told.base].folder if told.base in BASES else Path(told.base)
        options = {
            "pretrained_model_name_or_path": base, "output_dir": self.output, "train_data_dir": data,
            "cache_dir": out / "cache", "image_column": "image", "caption_column": "text",
            "conditioning_image_column": "conditioning_image", "resolution": told.size, "train_batch_size": BATCH,
            "learning_rate": told.lr, "lr_scheduler": "constant", "lr_warmup_steps": 0,
            "max_train_steps": told.steps, "checkpointing_steps": told.peer_every, "seed": told.seed,
        }  # fmt: skip
        self.words = [sys.executable, str(told.script)]
        for name, value in options.items():
            self.words += [f"--{name}", str(value)]
        self.environment = {"PYTHONPATH": str(told.stand_in.resolve()), "HF_HUB_OFFLINE": "1", "HF_HOME": str(out)}

    def found(self) -> list[tuple[int, Path, float]]:
        """Checkpoints whose last file is there: steps, path, when their weights were written."""
        whole = []
        for last in self.output.glob("checkpoint-*/random_states_0.pkl"):
            weights = last.parent / "controlnet" / "diffusion_pytorch_model.safetensors"
            whole.append((int(last.parent.name.split("-")[1]), weights.parent, weights.stat().st_mtime))
        return whole

    def control(self, base: Any, path: Path) -> Any:
        """The control of a checkpoint."""
        from hackamore.controls.catalog import load_control

        return load_control(path, base)


def limit(curves: Mapping[str, Any], told: argparse.Namespace) -> float | None:
    """Processor seconds after which the peer is stopped: so many times the median of ours with all defaults."""
    ours = [
        time_to(one["points"], told.target, "cpu")
        for one in curves.values()
        if one["kind"] == told.kind and one["usual"] and one["machine"] == machine(told.threads)
    ]
    known = sorted(seconds for seconds in ours if seconds is not None)
    return told.stop_at * known[len(known) // 2] if known else None


def follow(told: argparse.Namespace, name: str, curves: Mapping[str, Any]) -> dict[str, Any]:
    """One run to its end, or to its target; its curve."""
    from hackamore.bases.catalog import load_base

    out = told.work / name.replace(" ", "-").replace(",", "")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    side = (Ours if told.side == "ours" else Peer)(told, out)
    base = load_base(told.base, dtype="fp32")
    probe = make_probe(base, [told.kind], told.count, told.probe_steps)
    most = limit(curves, told) if told.side == "peer" else None
    points: list[dict[str, Any]] = []
    with Followed(side.words, side.environment, out / "log.txt", told.threads) as run:
        for step, path, seconds in run.checkpoints(side.found):
            row = probe(side.control(base, path))
            points.append(
                {
                    "step": step,
                    "samples": step * side.batch,
                    "seconds": round(seconds, 1),
                    "cpu": round(run.work, 1),
                    **row,
                }
            )
            print(f"{name}: {json.dumps(points[-1])}  peak {run.peak:.0f} MiB", flush=True)
            shutil.rmtree(path.parent) if path.is_dir() else path.unlink()
            reached = (row["normalised"] or 0.0) >= told.target
            if (most is not None and run.work > most) or (reached and (told.side == "peer" or told.brief)):
                break
    usual = told.side == "ours" and not told.set and told.label is None
    return {
        "side": told.side, "kind": told.kind, "seed": told.seed, "lr": told.lr if told.side == "peer" else None,
        "label": told.label, "set": told.set, "usual": usual, "pairs": told.pairs,
        "machine": machine(told.threads), "target": told.target, "points": points, "peak_mib": round(run.peak),
    }  # fmt: skip


def name_of(told: argparse.Namespace) -> str:
    """What a curve is called."""
    words = [told.kind, told.side]
    words += [f"lr {told.lr:g}"] if told.side == "peer" else []
    words += [told.label] if told.label else []
    return " ".join([*words, f"seed {told.seed}"])


def main() -> None:
    """One curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder that hackamore world wrote")
    parser.add_argument("--base", default="meadow")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--kind", default="seg")
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--side", choices=["ours", "peer"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads and cores, for both sides alike")
    parser.add_argument("--target", type=float, default=0.6, help="normalised control fidelity")
    parser.add_argument("--count", type=int, default=32, help="held-out worlds of a probe")
    parser.add_argument("--probe-steps", type=int, default=10)
    parser.add_argument("--every", type=int, default=50, help="ours: steps between checkpoints")
    parser.add_argument("--brief", action="store_true", help="ours: also stop at the target")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.FIELD=VALUE", help="ours: beyond the defaults")
    parser.add_argument("--label", help="ours: what the curve is called, for an ablation")
    parser.add_argument("--script", type=Path, help="peer: diffusers' examples/controlnet/train_controlnet.py")
    parser.add_argument("--stand-in", type=Path, help="peer: a folder that goes before its PYTHONPATH")
    parser.add_argument("--lr", type=float, default=1e-5, help="peer: learning rate")
    parser.add_argument("--steps", type=int, default=100_000, help="peer: steps at most")
    parser.add_argument("--peer-every", type=int, default=500, help="peer: steps between checkpoints")
    parser.add_argument("--stop-at", type=float, default=10.0, metavar="RATIO", help="peer: times ours, then it stops")
    parser.add_argument("--work", type=Path, default=Path("runs/time-to-control"))
    parser.add_argument("--out", type=Path, default=Path("docs/time-to-control.json"))
    told = parser.parse_args()
    name = name_of(told)
    key, curves = f"{name}, {machine(told.threads)}", read(told.out)
    if key in curves:
        print(f"{key} is there already: remove it from {told.out} to measure it again")
        return
    torch.set_num_threads(told.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the process that is followed ends too
    merge(told.out, {key: follow(told, name, curves)})


if __name__ == "__main__":
    main()
