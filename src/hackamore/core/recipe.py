"""Recipe: everything that determines a picture, stored inside its PNG, replayable."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Literal

from PIL import Image, PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.image import Picture, load_picture, png

CHUNK = "hackamore"
"""The PNG text chunk that holds the Recipe, as JSON."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitRecipe(_Part):
    """One control: which, on what hint, how strongly, when and where."""

    control: str
    kind: str | None = None
    hint: str = Field(description="the very hint the control received, PNG in base64")
    mask: str | None = None
    scale: float | None = None
    start: float | None = None
    end: float | None = None
    schedule: str | None = None
    sha256: dict[str, str] = {}
    fidelity: dict[str, float] | None = Field(None, description="control-fidelity figures of the picture, by name")


class Machine(_Part):
    """What else the bytes of a picture depend on."""

    hackamore: str
    torch: str
    diffusers: str
    backend: str
    dtype: Literal["float32", "float16", "bfloat16"]
    threads: int = Field(ge=1, le=1024)


class Recipe(_Part):
    """Everything that determines one picture; no timings, no paths."""

    version: Literal[1] = 1
    base: str
    base_sha256: dict[str, str] = {}
    prompt: str
    negative: str = ""
    seed: int
    size: tuple[int, int]
    scheduler: str
    steps: int
    guidance: float
    units: tuple[UnitRecipe, ...] = ()
    machine: Machine

    def differences(self, other: Recipe) -> list[str]:
        """What of ``other``, a replay's Recipe, is not as it was; empty where the bytes should be equal."""
        found = [
            f"{name} was {was}, is {now}"
            for name in Machine.model_fields
            if (was := getattr(self.machine, name)) != (now := getattr(other.machine, name))
        ]
        if self.base_sha256 != other.base_sha256:
            found.append(f"the weights of {self.base} have changed")
        for mine, theirs in zip(self.units, other.units, strict=False):
            if mine.sha256 != theirs.sha256:
                found.append(f"the weights of {mine.control} have changed")
        return found

    def parameters(self) -> str:
        """The ``parameters`` text that the A1111 WebUI writes and galleries read."""
        first = [self.prompt]
        if self.negative:
            first.append(f"Negative prompt: {self.negative}")
        settings = [
            f"Steps: {self.steps}",
            f"Sampler: {self.scheduler}",
            f"CFG scale: {self.guidance:g}",
            f"Seed: {self.seed}",
            f"Size: {self.size[0]}x{self.size[1]}",
            f"Model: {self.base}",
        ]
        for number, unit in enumerate(self.units):
            told = {
                "Module": unit.kind or "none",
                "Model": unit.control,
                "Weight": 1.0 if unit.scale is None else unit.scale,
                "Guidance Start": unit.start or 0.0,
                "Guidance End": 1.0 if unit.end is None else unit.end,
            }
            words = ", ".join(f"{name}: {value}" for name, value in told.items())
            settings.append(f'ControlNet {number}: "{words}"')
        return "\n".join([*first, ", ".join([*settings, f"Version: hackamore {self.machine.hackamore}"])])


def save_png(picture: Picture, recipe: Recipe | None, path: Path | str) -> None:
    """Write a PNG that holds its Recipe, whole or not at all; the same picture and Recipe give the same bytes."""
    info = PngImagePlugin.PngInfo()
    if recipe is not None:
        info.add_text("parameters", recipe.parameters())
        info.add_itxt(CHUNK, recipe.model_dump_json())
    with written_whole(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", pnginfo=info)


def read_recipe(path: Path | str) -> Recipe:
    """The Recipe inside a PNG; raises :class:`HackamoreError` when there is none or it is not understood."""
    load_picture(path)
    with Image.open(path) as picture:
        text = getattr(picture, "text", {}).get(CHUNK)
    if text is None:
        raise HackamoreError(
            f"{path} holds no recipe",
            expected="a PNG written by hackamore; editors and messengers often drop what is inside",
        )
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        raise HackamoreError(
            f"the recipe inside {path} is not understood", received=str(error.errors()[0]["msg"])
        ) from error


def embed(picture: Picture) -> str:
    """A picture as base64 PNG."""
    return base64.b64encode(png(picture)).decode("ascii")


def extract(text: str) -> Picture:
    """What :func:`embed` gave, as a picture."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise HackamoreError("a picture inside the recipe is damaged", received=str(error)) from error
    return load_picture(data)


def machine(backend: str, dtype: Any, threads: int) -> Machine:
    """The machine as it is now."""
    from importlib.metadata import version

    import diffusers
    import torch

    return Machine(
        hackamore=version("hackamore"),
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        backend=backend,
        dtype=str(dtype).removeprefix("torch."),
        threads=threads,
    )
