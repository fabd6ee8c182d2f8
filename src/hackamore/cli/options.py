"""What several commands read in the same way: sizes, control specs, where results go."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hackamore.controls.spec import ControlSpec
from hackamore.core.errors import HackamoreError

LONGEST_NAME = 200
"""Bytes of a file's name; what is written beside it while it is not whole has a longer one."""
UNIT_KEYS = (
    "scale", "start", "end", "schedule", "mask", "model", "hint", "resize", "mode", "weights", "prompt", "type",
)  # fmt: skip


def parse_size(text: str) -> tuple[int, int]:
    """``WxH`` or one number for a square → (width, height)."""
    from hackamore.core.image import MOST_PIXELS

    parts = text.lower().replace("×", "x").split("x")
    try:
        sides = [int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) in (1, 2) and sides[0] * sides[-1] > MOST_PIXELS:
        raise HackamoreError("the size is too large", received=text, expected=f"at most {MOST_PIXELS:,} pixels")
    if len(sides) not in (1, 2) or min(sides) < 1 or max(sides) > 16384:
        raise HackamoreError("the size is not understood", received=text, expected="WIDTHxHEIGHT, such as 128x128")
    return sides[0], sides[-1]


def parse_control(text: str) -> ControlSpec:
    """``kind=IMAGE,key=value…`` or a JSON object with ``kind``, ``image`` and the same keys."""
    told = _from_json(text) if text.lstrip().startswith("{") else _from_words(text)
    kind, image = told.pop("kind", None), told.pop("image", None)
    if not kind or not image:
        raise HackamoreError(
            "the control is not understood",
            received=text,
            expected="kind=IMAGE,key=value…, such as canny=photo.jpg,scale=0.8, or the same as JSON",
        )
    unit = {key: told.pop(key) for key in UNIT_KEYS if key in told}
    _check_unit(unit)
    if (weights := _layer_weights(unit.pop("weights", None))) is not None:
        (unit if isinstance(weights, list) else told)["weights"] = weights
    return ControlSpec(str(kind), Path(str(image)), unit, told)


def _check_unit(unit: dict[str, Any]) -> None:
    """Make numbers, lists and truths of what a unit is told; what is none is an error."""
    for key in ("schedule", "mask", "model", "resize", "mode", "prompt"):
        if key in unit and not isinstance(unit[key], str):
            raise HackamoreError(f"{key} of a control is not text", received=unit[key])
    for key in ("scale", "start", "end"):
        if key in unit:
            unit[key] = _number(key, unit[key])
    if "hint" in unit:
        unit["hint"] = _truth(unit["hint"])


def free_paths(
    out: Path | None, count: int, default: str, overwrite: bool, names: Sequence[str] | None = None
) -> list[Path]:
    """Where ``count`` pictures go: a file for one, a folder for several; an existing file is an error.

    ``names``: what they are called in a folder, without the ending; numbers when not given.
    """
    out = out or Path(default)
    if len(os.fsencode(out.name)) > LONGEST_NAME:
        raise HackamoreError("a file cannot have that name", received=out.name[:80], expected=f"{LONGEST_NAME} bytes")
    if count == 1 and out.suffix.lower() == ".png" and not out.is_dir():
        paths = [out]
    elif out.suffix and not out.is_dir():
        expected = "a folder for several pictures" if count > 1 else "a file ending in .png, or a folder"
        raise HackamoreError("pictures cannot be written there", received=str(out), expected=expected)
    else:
        paths = [out / f"{name}.png" for name in names or [f"{number:03d}" for number in range(count)]]
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        raise HackamoreError(f"{taken[0]} exists already", remedy="another --out, or --overwrite")
    folder = next(parent for parent in paths[0].absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise HackamoreError(
            f"cannot write to {paths[0].parent}", received=str(folder), expected="a folder that can be written"
        )
    return paths


def make_folders(paths: list[Path]) -> None:
    """Make the folders of ``paths`` before slow work begins; one that cannot be made is an error."""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            expected = "a folder that can be written"
            raise HackamoreError(
                f"cannot write to {path.parent}", received=error.strerror, expected=expected
            ) from error


def _from_json(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HackamoreError("the control is not valid JSON", received=f"{text} ({error})") from error
    return dict(told)


def _from_words(text: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for place, part in enumerate(text.split(",")):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise HackamoreError(
                f"the control has a part that is not key=value: {part!r}",
                received=text,
                expected="kind=IMAGE,key=value…; JSON for paths with commas",
            )
        if place == 0:
            told |= {"kind": key.strip(), "image": value.strip()}
        elif key.strip() in told:
            raise HackamoreError(f"the control says {key.strip()!r} twice", received=text)
        else:
            told[key.strip()] = value.strip()
    return told


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise HackamoreError(f"{key} of a control is not a number", received=value) from error


def _layer_weights(value: Any) -> list[float] | str | None:
    """``1/0.8/0.5`` or a list → numbers; other text is a folder for the annotator, which has such a parameter too."""
    if value is None:
        return None
    parts = value if isinstance(value, list) else str(value).split("/")
    try:
        return [float(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        return str(value)


def _truth(value: Any) -> bool | str:
    words = str(value).lower()
    if words in ("true", "yes", "1", "false", "no", "0"):
        return words in ("true", "yes", "1")
    if words == "exact":
        return words
    raise HackamoreError("hint of a control is not true, false or exact", received=value)
