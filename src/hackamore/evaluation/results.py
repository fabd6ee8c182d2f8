"""What an evaluation finds, as values that are written to ``evaluation.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Part):
    """A figure over a set of pictures, with its 95 % bootstrap interval; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Steered(_Part):
    """A figure of pictures that were made with the control at ``scale``.

    ``floor``: the same pictures against shuffled hints. ``normalised``: (value − floor) ÷ (ceiling − floor).
    """

    scale: float
    figure: Figure
    floor: Figure | None
    normalised: Figure | None


class Best(Steered):
    """The best of several seeds for each picture, by the first figure of its kind."""

    of: int


class Row(_Part):
    """One figure of one control in every column."""

    name: str
    better: Literal["higher", "lower"]
    unit: str = ""
    off: Figure | None = Field(description="the same captions and seeds without the control")
    on: tuple[Steered, ...]
    best: Best | None
    true: Figure = Field(description="the true pictures read in the same way: what the reading itself costs")
    ceiling: Figure = Field(description="the true pictures through the base's autoencoder")


class ControlResult(_Part):
    """The figures of one control; the first row is the one that is quoted.

    ``chosen`` says for each picture which seed was best, where several were tried; 0 is the one that is quoted.
    """

    label: str
    kind: str
    control: str
    data: str
    rows: tuple[Row, ...]
    chosen: tuple[int, ...] | None = None


class Quality(_Part):
    """Figures of whole sets of pictures, by name: how near to the true ones, and to their captions."""

    pictures: str
    data: str
    figures: dict[str, Figure]


class Evaluation(_Part):
    """Everything an evaluation found. ``judge`` is a hash of the inspector's weights: another one reads otherwise."""

    version: Literal[1] = 1
    settings: dict[str, Any]
    judge: str
    count: int
    autoencoder_psnr: dict[str, float]
    controls: tuple[ControlResult, ...]
    quality: tuple[Quality, ...]
