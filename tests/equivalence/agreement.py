"""One row of the table of equivalences: asserted here, written down for ``benchmarks/equivalence.py``."""

import json
import os
from pathlib import Path

from torch import Tensor

NEAR, FAR = 1e-4, 1e-2


def agree(
    mine: Tensor, reference: Tensor, free: Tensor | None, *, family: str, kind: str, beside: str, near: float = NEAR
) -> None:
    """Assert that ``mine`` equals ``reference`` (largest difference ≤ ``near``) and that the control matters.

    ``free``: the same without the control, which must differ by at least 1e-2; None where nothing steers.
    ``family`` × ``kind`` is the row, ``beside`` what it was compared with (``diffusers: PipelineName``).
    """
    difference = float((mine.float() - reference.float()).abs().max())
    effect = None if free is None else float((mine.float() - free.float()).abs().max())
    if path := os.environ.get("HACKAMORE_AGREEMENT"):
        row = {"family": family, "kind": kind, "beside": beside, "difference": difference, "effect": effect}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    assert mine.isfinite().all()
    assert difference <= near, f"{family} {kind}: {difference:.2e} from {beside}"
    assert effect is None or effect >= FAR, "the control must matter for the comparison to mean anything"
