"""What each policy of the fast mode costs and buys: control fidelity, caption accuracy and KID beside exact pictures.

Every policy makes the same pictures (held-out worlds, same seeds, Meadow) as the exact mode; differences are paired,
with 95 % bootstrap intervals over the pictures. Seconds are processor seconds of a picture made alone. Results go to a
JSON file one by one, and what is there is not measured again.

python benchmarks/fast_mode.py [--count 64] [--kinds canny seg] [--policies NAME …] [--set NAME FIELD=VALUE …]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_common import merge, read

from hackamore.annotators.inspector import load_inspector
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core.effort import LEVELS, Fast
from hackamore.core.image import to_hint
from hackamore.data.evaluation import open_source
from hackamore.evaluation.features import caption_hits, deep_features, told
from hackamore.evaluation.fidelity import scores
from hackamore.evaluation.quality import standardised
from hackamore.evaluation.score import ratio
from hackamore.generate import generate
from hackamore.metrics.distribution import kernel_distance
from hackamore.metrics.intervals import bootstrap

EXACT = "exact"
POLICIES: dict[str, Fast | None] = {
    EXACT: None,
    "12 steps of dpm++_2m": Fast(steps=12, scheduler="dpm++_2m"),
    "10 steps of dpm++_2m": Fast(steps=10, scheduler="dpm++_2m"),
    "8 steps of dpm++_2m": Fast(steps=8, scheduler="dpm++_2m"),
    "10 steps of ddim": Fast(steps=10, scheduler="ddim"),
    "control on one half": Fast(control_halves=False),
    "control every 2nd step": Fast(control_every=2),
    "control every 2nd step, held": Fast(control_every=2, carry="hold"),
    "control every 3rd step": Fast(control_every=3),
    "control ends at 0.8": Fast(control_end=0.8),
    "guidance until 0.8": Fast(guidance_end=0.8),
    "guidance from 0.1 to 0.8": Fast(guidance_start=0.1, guidance_end=0.8),
    "deep features every 2nd step": Fast(deep_every=2),
    "deep features every 2nd step, held": Fast(deep_every=2, carry="hold"),
    "deep features every 3rd step": Fast(deep_every=3),
    "bf16": Fast(bf16=True),
    **{f"level {number}": fast for number, fast in LEVELS.items()},
}


class Set:
    """The pictures of one kind of hint, and what they are judged by."""

    def __init__(self, told_: argparse.Namespace, kind: str) -> None:
        self.kind, self.batch = kind, told_.batch
        self.base = load_base("meadow", dtype="fp32", backend=told_.backend)
        self.base.backend.least = 0
        self.control = load_control(f"meadow/{kind}", self.base)
        self.examples = open_source("worlds", told_.count, (kind,)).read(self.base.size, lambda _: None)["worlds"]
        self.hints = [example.hint(kind, {}) for example in self.examples]
        self.truths = [example.truth(kind, {}) for example in self.examples]
        self.words = [told(example.caption, example.attributes or {}) for example in self.examples]
        self.score, self.inspector = scores(kind)[0], load_inspector()
        self.true = deep_features(self.inspector, [example.picture for example in self.examples])
        self.own = standardised(self.true, self.true)

    def make(self, fast: Fast | None) -> dict[str, Any]:
        """What a policy's pictures are: statistics of each, features, latents."""
        made = []
        for first in range(0, len(self.examples), self.batch):
            some = slice(first, first + self.batch)
            unit = self.control.unit(to_hint(self.hints[some]))
            captions = [example.caption for example in self.examples[some]]
            made.append(generate(self.base, captions, controls=[unit], seed=first, batch=self.batch, fast=fast))
        pictures = [image.pixels for one in made for image in one.images]
        hits = [caption_hits(self.inspector, p, w) for p, w in zip(pictures, self.words, strict=True)]
        return {
            "fidelity": self.score.tally([self.score.read(p) for p in pictures], self.truths),
            "captions": np.array(hits, np.float64),
            "features": standardised(deep_features(self.inspector, pictures), self.true),
            "latents": torch.cat([one.latents for one in made]),
        }

    def seconds(self, fast: Fast | None, runs: int) -> float:
        """Processor seconds of a picture made alone: the median of several, the first left out."""
        unit, found = self.control.unit(to_hint(self.hints[:1])), []
        for _ in range(1 + runs):
            began = time.process_time()
            generate(self.base, self.examples[0].caption, controls=[unit], seed=0, fast=fast)
            found.append(time.process_time() - began)
        return float(np.median(found[1:]))


def judged(some: Set, mine: dict[str, Any], exact: dict[str, Any]) -> dict[str, Any]:
    """The figures of a policy, and how they differ from exact ones, as shares with 95 % intervals."""
    found: dict[str, Any] = {}
    for name, figure in (("fidelity", some.score.figure), ("captions", ratio)):
        width = mine[name].shape[1]

        def share(mean: Any, figure: Any = figure, width: int = width) -> float:
            return float(figure(mean[:width]) / figure(mean[width:]) - 1)

        both = np.concatenate([mine[name], exact[name]], 1)
        low, high = bootstrap(both, share)
        found[name] = round(figure(mine[name].mean(0)), 5)
        found[f"{name} change"] = [round(x, 5) for x in (share(both.mean(0)), low, high)]
    found["kid"] = round(kernel_distance(mine["features"], some.own), 5)
    found["kid change"] = round(found["kid"] / kernel_distance(exact["features"], some.own) - 1, 4)
    apart = (mine["latents"] - exact["latents"]).pow(2).mean().sqrt() / exact["latents"].std()
    return found | {"distance": round(float(apart), 5)}


def main() -> None:
    """Every policy for every kind, those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", default=["canny", "seg"])
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), metavar="NAME", default=list(POLICIES))
    parser.add_argument("--set", nargs="+", action="append", default=[], metavar="WORD", help="NAME FIELD=VALUE …")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5, help="pictures that are timed")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("docs/fast-mode.json"))
    told_ = parser.parse_args()
    torch.set_num_threads(told_.threads)
    wanted: dict[str, Fast | None] = {name: POLICIES[name] for name in told_.policies}
    for name, *words in told_.set:
        wanted[name] = Fast(**{key: _value(value) for key, _, value in (word.partition("=") for word in words)})
    for kind in told_.kinds:
        _measure(told_, kind, {EXACT: None, **wanted})


def _measure(told_: argparse.Namespace, kind: str, wanted: dict[str, Fast | None]) -> None:
    def key(name: str) -> str:
        return f"{kind}, {name}, {told_.count} pictures"

    if all(key(name) in read(told_.out) for name in wanted):
        return
    some = Set(told_, kind)
    exact = some.make(None)
    for name, fast in wanted.items():
        if key(name) in read(told_.out):
            continue
        mine = exact if fast is None else some.make(fast)
        row = {
            "kind": kind, "policy": name, "count": told_.count, "told": None if fast is None else fast.model_dump(),
            "seconds": round(some.seconds(fast, told_.runs), 4), **judged(some, mine, exact),
        }  # fmt: skip
        merge(told_.out, {key(name): row})
        print(json.dumps({**row, "told": None}), flush=True)


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


if __name__ == "__main__":
    main()
