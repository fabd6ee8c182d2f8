"""The table of equivalences: every family × every control kind beside the reference, one row a test.

Runs the tests of ``tests/`` that compare with a reference and writes what they measured to ``docs/equivalence.md``.

python benchmarks/equivalence.py [--out docs/equivalence.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import diffusers
import torch

ROOT = Path(__file__).parents[1]
HEAD = """# Equal to the original

Made by `python benchmarks/equivalence.py`: the tests that compare our latents, or a control's outputs, with the
reference implementation's at the same weights, seed and scheduler, on small real models with random weights, in fp32.
*Difference* is the largest one of all latents, 1e-4 at most; *effect* is how much the control itself changes them,
1e-2 at least. Several tests of one row show their largest difference and smallest effect.
"""


def main() -> None:
    """Run the tests, gather their rows, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "equivalence.md")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        environment = os.environ | {"HACKAMORE_AGREEMENT": str(rows), "OMP_NUM_THREADS": "1"}
        tests = sorted({str(path) for path in (ROOT / "tests").rglob("test_*.py") if "agreement" in path.read_text()})
        words = [sys.executable, "-m", "pytest", "--numprocesses", "auto", "-q", *tests]
        done = subprocess.run(words, cwd=ROOT, env=environment, check=False)
        measured = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    told.out.write_text(table(measured), encoding="utf-8")
    print(f"{told.out}: {len(measured)} comparisons; tests {'passed' if done.returncode == 0 else 'FAILED'}")
    sys.exit(done.returncode)


def table(measured: list[dict[str, object]]) -> str:
    """Markdown: a row for each family, kind and reference."""
    rows: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for one in measured:
        rows.setdefault((one["family"], one["kind"], one["beside"]), []).append(one)
    lines = [HEAD, "| family | control | beside | tests | difference | effect |", "|---|---|---|---:|---:|---:|"]
    for (family, kind, beside), found in sorted(rows.items()):
        effects = [one["effect"] for one in found if one["effect"] is not None]
        effect = f"{min(effects):.2g}" if effects else "–"
        worst = max(one["difference"] for one in found)
        lines.append(f"| {family} | {kind} | {beside} | {len(found)} | {worst:.1e} | {effect} |")
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}, {platform.machine()}"
    return "\n".join([*lines, "", f"{len(measured)} comparisons; {versions}.", ""])


if __name__ == "__main__":
    main()
