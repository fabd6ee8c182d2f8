"""The pictures of an evaluation: made once, kept on disk, never made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hackamore.core.image import Picture, from_hint, load_picture, to_hint
from hackamore.core.recipe import save_png
from hackamore.generate import generate

STRIDE = 1_000_000
"""Candidate c of picture k has the seed ``seed + c · STRIDE + k``, so that more pictures change no seed."""


@dataclass(frozen=True)
class Sampling:
    """How the pictures of every cell are sampled."""

    steps: int
    guidance: float
    scheduler: str
    seed: int
    batch: int
    fast: int | None = None


@dataclass(frozen=True)
class Cell:
    """Pictures that belong together: one for each example, made with one control at one scale, or with none.

    ``candidate`` counts the seeds that are tried for the best of several; 0 is the one that is quoted.
    """

    folder: Path
    captions: Sequence[str]
    control: Any = None
    hints: Sequence[Picture] = ()
    scale: float = 1.0
    candidate: int = 0
    kind: str = ""

    def path(self, number: int) -> Path:
        """Where picture ``number`` lies."""
        return self.folder / f"{number:05d}.png"

    def missing(self) -> list[int]:
        """Numbers of the pictures that are not made yet."""
        return [number for number in range(len(self.captions)) if not self.path(number).exists()]

    def pictures(self) -> list[Picture]:
        """All pictures, from disk."""
        return [load_picture(self.path(number)) for number in range(len(self.captions))]


def make_pictures(base: Any, cells: Sequence[Cell], how: Sampling, progress: Callable[[int], None]) -> None:
    """Make what is missing; ``progress`` is told how many pictures of all cells are there.

    The pictures of a batch are sampled together, always the same ones, since the last bits of a picture depend on its
    company: a batch of which one picture is lost is sampled again, and only the lost one is written.
    """
    done = sum(len(cell.captions) - len(cell.missing()) for cell in cells)
    progress(done)
    for cell in cells:
        missing = cell.missing()
        for first in range(0, len(cell.captions), how.batch):
            part = range(first, min(first + how.batch, len(cell.captions)))
            lost = [number for number in missing if number in part]
            if not lost:
                continue
            images = _sample(base, cell, part, how)
            for number in lost:
                images[number - first].save(cell.path(number))
            done += len(lost)
            progress(done)


def make_reconstructions(base: Any, cell: Cell, pictures: Sequence[Picture], progress: Callable[[int], None]) -> None:
    """The true pictures through the base's autoencoder, one by one, as far as they are missing."""
    missing = cell.missing()
    for done, number in enumerate(missing, start=1):
        x = to_hint(pictures[number]) * 2 - 1
        (seen,) = from_hint(base.decode(base.encode(x)).float() / 2 + 0.5)
        save_png(seen, None, cell.path(number))
        progress(len(pictures) - len(missing) + done)


def psnr(found: Sequence[Picture], true: Sequence[Picture]) -> float:
    """Peak signal-to-noise ratio in dB, the mean over pictures; equal ones count 100 dB."""
    errors = [np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(found, true, strict=True)]
    return float(np.mean([min(100.0, 10 * np.log10(255**2 / max(float(error), 1e-12))) for error in errors]))


def _sample(base: Any, cell: Cell, part: range, how: Sampling) -> list[Any]:
    units = []
    if cell.control is not None:
        told = {"type": cell.kind} if "type" in getattr(cell.control, "options", ()) else {}  # a union's hints are many
        units = [cell.control.unit(to_hint([cell.hints[number] for number in part]), scale=cell.scale, **told)]
    made = generate(
        base,
        [cell.captions[number] for number in part],
        controls=units,
        seed=how.seed + cell.candidate * STRIDE + part.start,
        steps=how.steps,
        guidance=how.guidance,
        scheduler=how.scheduler,
        batch=how.batch,
        fast=how.fast,
    )
    return made.images
