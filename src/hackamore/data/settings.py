"""What training data may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hackamore.core.section import Section


class DataSettings(Section):
    """Where the pairs come from and how they are cut."""

    path: str = Field(
        min_length=1, description="a folder, WebDataset shards (a{000..009}.tar, or an address), or datasets:NAME"
    )
    layout: Literal["auto", "prompt.json", "imagefolder", "webdataset", "datasets", "paired", "pictures"] = "auto"
    split: str = Field("train", description="which split of a datasets name")
    hint: str | None = Field(None, description="sub-folder or column of the hints; by default what the data tells")
    annotate: bool | None = Field(None, description="make hints from the pictures; by default where none are given")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="of the annotator; [low, high] is drawn anew for every example"
    )
    cache_hints: bool = Field(False, description="make hints once, with settled parameters, and keep them")
    captions: Literal["need", "empty"] = Field("need", description="what a picture without a caption is")
    roughen: float = Field(
        0.0, ge=0, le=1, description="how often hints are varied: thick, shaken, with gaps, strokes, parts missing"
    )
    buckets: bool = Field(False, description="sizes of about the same area that suit each picture's aspect ratio")
    crops: int = Field(1, gt=0, description="different crops of each picture; 1 is the middle")
    flip: bool = Field(False, description="also mirrored, hints and the sides in captions alike")
    limit: int | None = Field(None, gt=0, description="only so many pairs, the first ones")
    cache: Path | None = Field(None, description="folder of the caches; by default .cache beside the data")
