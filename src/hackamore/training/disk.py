"""What a run writes to its disk, told before it begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hackamore.core.section import setting
from hackamore.data.check_report import Finding
from hackamore.training.free import in_words
from hackamore.training.settings import RunSettings
from hackamore.training.tally import optimiser_bytes


@dataclass(frozen=True)
class Disk:
    """Bytes of a ``checkpoint``, how many (``count``) lie there at once, of ``finished`` files, and what is ``free``.

    ``free`` has what the run's folder holds already: that makes room, or is what is counted.
    """

    checkpoint: int
    count: int
    finished: int
    free: int

    @property
    def needed(self) -> int:
        """Bytes of all of it, when there is most."""
        return self.checkpoint * self.count + self.finished

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.needed <= self.free

    def facts(self) -> dict[str, str]:
        """What it takes, in words."""
        count = f"{self.count} checkpoint{'s' if self.count > 1 else ''} of {in_words(self.checkpoint)} at a time"
        of = f"{count}, finished files {in_words(self.finished)}"
        return {"run on disk": f"about {in_words(self.needed)} of {in_words(self.free)} free: {of}"}

    def findings(self) -> list[Finding]:
        """A problem where there is no room for it."""
        if self.fits:
            return []
        what = f"the run writes about {in_words(self.needed)} to a disk with {in_words(self.free)} free"
        fewer = self.checkpoint * max(self.count - 2, 0)
        keep = f", or {setting('run.keep', 1)}: then about {in_words(self.needed - fewer)}" if fewer else ""
        return [Finding("problem", "disk", what, (), f"an output on another disk, or free some space{keep}")]


def disk_of(
    weights: Sequence[Tensor], run: RunSettings, finished: int, output: Path, *, probed: bool, free: int | None = None
) -> Disk:
    """What a run of ``weights`` writes to the folder ``output``, its finished files being of ``finished`` bytes.

    While a checkpoint is written those that it replaces are there still, and so it is with the best weights, which are
    kept beside the finished ones where the run is ``probed``. ``free``: bytes, else what is free now.
    """
    numbers = sum(weight.numel() for weight in weights)
    live = sum(weight.numel() * weight.element_size() for weight in weights)
    checkpoint = live + optimiser_bytes(weights, run) + (4 * numbers if run.ema else 0)
    count = min(run.keep + 1, math.ceil(run.steps / run.checkpoint_every))
    there = free_disk(output) if free is None else free
    return Disk(checkpoint, count, finished * (2 if probed else 1), there)


def free_disk(folder: Path) -> int:
    """Bytes that are free where ``folder`` is or will be, and those that it holds already."""
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.is_dir())
    return shutil.disk_usage(there).free + held
