"""How near ``--target-fidelity`` comes to what it is asked, and what it costs: writes docs/target-fidelity.json, .md.

python benchmarks/target_fidelity.py [--cases 20] [--steps 20] [--out docs]

A case is a held-out world, a control and a target. So that targets can be reached, and are not reached without a
control, each lies midway between the figures at scales 0.2 and 1.2 of that very case; finding these is not counted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core import palette
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.evaluation.verify import Judge, reach, verify
from hackamore.generate import generate
from hackamore.worlds import render

FIRST = EVALUATION_SEED + 60_000
KINDS = ("canny", "seg")
BETWEEN = (0.2, 1.2)


def case(number: int, base, controls, steps: int) -> dict:
    kind = KINDS[number % len(KINDS)]
    world = render(FIRST + number, base.size)
    hint = annotate("canny", world.picture) if kind == "canny" else palette.paint(world.segmentation)
    unit = controls[kind].unit(hint)
    judge = Judge([unit])
    name = judge.scores[0][0].name
    settings = {"seed": number, "steps": steps}
    ends = []
    for scale in BETWEEN:
        made = verify(generate(base, world.caption, controls=[unit.scaled_to(scale)], **settings), judge)
        ends.append(made.images[0].recipe.units[0].fidelity[name])
    target = round(sum(ends) / 2, 3)
    _, found = reach(base, world.caption, target, judge, controls=[unit], **settings)
    return {
        "metric": name,
        "target": target,
        "figure": found.figure,
        "scale": found.scale,
        "reached": found.reached,
        "off by": found.figure / target - 1,
        "generations": found.cost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    told = parser.parse_args()
    base = load_base("meadow")
    controls = {kind: load_control(f"meadow/{kind}", base) for kind in KINDS}
    cases = []
    for number in range(told.cases):
        cases.append(case(number, base, controls, told.steps))
        print(json.dumps(cases[-1]), flush=True)
    within = sum(abs(c["off by"]) <= 0.05 for c in cases)
    cost = [c["generations"] for c in cases]
    words = (
        f"{within} of {len(cases)} cases within 5 % of their target, {sum(c['reached'] for c in cases)} reached; "
        f"{sum(cost) / len(cost):.1f} generations on average, {max(cost):g} at most."
    )
    lines = ["# The search for a control fidelity", "", words, ""]
    lines += ["| figure | target | found | scale | generations |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {c['metric']} | {c['target']:.3f} | {c['figure']:.3f} | {c['scale']:.3g} | {c['generations']:g} |"
        for c in cases
    ]
    lines += ["", f"Held-out worlds from seed {FIRST}, {told.steps} steps; `python benchmarks/target_fidelity.py`."]
    (told.out / "target-fidelity.md").write_text("\n".join(lines) + "\n")
    (told.out / "target-fidelity.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    print(words)


if __name__ == "__main__":
    main()
