"""Recipe: everything that determines a picture, stored inside its PNG, replayable."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Literal

from PIL import Image, PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hackamore.core.effort import Fast
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.image import Picture, load_picture, png

CHUNK = "hackamore"
"""The PNG text chunk that holds the Recipe, as JSON."""

CONTROL_MODES = {"prompt": "My prompt is more important", "control": "ControlNet is more important"}
"""The WebUI's words for the modes of a control."""


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
    hidden: str | None = Field(None, description="of an inpainting control: white where the picture is hidden")
    mode: str = "balanced"
    weights: tuple[float, ...] | None = None
    prompt: str | None = None
    options: dict[str, Any] = Field({}, description="what else the control was told, such as a union's type")
    sha256: dict[str, str] = {}
    fidelity: dict[str, float] | None = Field(None, description="control-fidelity figures of the picture, by name")

    def parameters(self) -> str:
        """The unit in the WebUI's words."""
        told = {
            "Module": self.kind or "none",
            "Model": self.control,
            "Weight": 1.0 if self.scale is None else self.scale,
            "Guidance Start": self.start or 0.0,
            "Guidance End": 1.0 if self.end is None else self.end,
            **({} if self.mode == "balanced" else {"Control Mode": CONTROL_MODES.get(self.mode, self.mode)}),
        }
        return ", ".join(f"{name}: {value}" for name, value in told.items())


class Machine(_Part):
    """What else the bytes of a picture depend on."""

    hackamore: str
    torch: str
    diffusers: str
    backend: str
    dtype: Literal["float32", "float16", "bfloat16"]
    threads: int = Field(ge=1, le=1024)


class UpscaleRecipe(_Part):
    """The second pass at a larger size, with the units as they were there."""

    size: tuple[int, int]
    strength: float
    steps: int
    through: Literal["latents", "pixels"] = "latents"
    units: tuple[UnitRecipe, ...] = ()


class Recipe(_Part):
    """Everything that determines one picture; no timings, no paths. Version 1 knows prompt, size and units alone."""

    version: Literal[1, 2] = 2
    base: str
    base_sha256: dict[str, str] = {}
    base_options: dict[str, Any] = Field({}, description="what the base was loaded with: LoRAs, clip skip …")
    prompt: str
    negative: str = ""
    seed: int
    size: tuple[int, int]
    scheduler: str
    steps: int
    guidance: float
    units: tuple[UnitRecipe, ...] = ()
    init: str | None = Field(None, description="the picture that was begun from, PNG in base64")
    strength: float | None = Field(None, description="share of the steps that ran on it")
    mask: str | None = Field(None, description="white where the picture was painted anew")
    upscale: UpscaleRecipe | None = None
    tile: tuple[int, int] | None = Field(None, description="width and height of the tiles")
    tile_overlap: int | None = None
    fast: Fast | None = Field(None, description="what the fast mode spared; absent where all was computed")
    machine: Machine

    @property
    def final_size(self) -> tuple[int, int]:
        """(width, height) of the finished picture."""
        return self.size if self.upscale is None else self.upscale.size

    def differences(self, other: Recipe) -> list[str]:
        """What of ``other``, a replay's Recipe, is not as it was; empty where the bytes should be equal."""
        found = [
            f"{name} was {was}, is {now}"
            for name in Machine.model_fields
            if (was := getattr(self.machine, name)) != (now := getattr(other.machine, name))
        ]
        if self.version != other.version:
            found.append(f"the recipe's version was {self.version}, is {other.version}")
        if self.base_options != other.base_options:
            found.append(f"{self.base} was loaded with {self.base_options}, is with {other.base_options}")
        if self.base_sha256 != other.base_sha256:
            found.append(f"the weights of {self.base} have changed")
        for mine, theirs in zip(self._all_units, other._all_units, strict=False):
            if mine.sha256 != theirs.sha256:
                found.append(f"the weights of {mine.control} have changed")
        return list(dict.fromkeys(found))

    @property
    def _all_units(self) -> tuple[UnitRecipe, ...]:
        return self.units + (() if self.upscale is None else self.upscale.units)

    def parameters(self) -> str:
        """The ``parameters`` text that the A1111 WebUI writes and galleries read."""
        first = [self.prompt]
        if self.negative:
            first.append(f"Negative prompt: {self.negative}")
        settings = {
            "Steps": self.steps,
            "Sampler": self.scheduler,
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seed,
            "Size": f"{self.size[0]}x{self.size[1]}",
            "Model": self.base,
            **self._more_parameters(),
        }
        told = [f"{name}: {value}" for name, value in settings.items()]
        told += [f'ControlNet {number}: "{unit.parameters()}"' for number, unit in enumerate(self.units)]
        return "\n".join([*first, ", ".join([*told, f"Version: hackamore {self.machine.hackamore}"])])

    def _more_parameters(self) -> dict[str, object]:
        """What only some generations have, in the WebUI's words."""
        told: dict[str, object] = {}
        if skipped := self.base_options.get("clip_skip"):
            told["Clip skip"] = skipped + 1  # the WebUI counts the layer that is read, from 1
        if self.strength is not None:
            told["Denoising strength"] = f"{self.strength:g}"
        if self.mask is not None:
            told["Masked content"] = "original"
        if self.upscale is not None:
            width, height = self.upscale.size
            told["Hires denoising strength" if "Denoising strength" in told else "Denoising strength"] = (
                f"{self.upscale.strength:g}"
            )
            told |= {
                "Hires resize": f"{width}x{height}",
                "Hires steps": self.upscale.steps,
                "Hires upscaler": "Latent (bicubic)" if self.upscale.through == "latents" else "Bicubic",
            }
        if self.tile is not None:
            told |= {"Tile": f"{self.tile[0]}x{self.tile[1]}", "Tile overlap": self.tile_overlap}
        return told


def save_png(picture: Picture, recipe: Recipe | None, path: Path | str) -> None:
    """Write a PNG that holds its Recipe, whole or not at all; the same picture and Recipe give the same bytes."""
    with written_whole(path) as temporary:
        temporary.write_bytes(png_with(picture, recipe))


def png_with(picture: Picture, recipe: Recipe | None) -> bytes:
    """What :func:`save_png` writes."""
    info = PngImagePlugin.PngInfo()
    if recipe is not None:
        info.add_text("parameters", recipe.parameters())
        info.add_itxt(CHUNK, recipe.model_dump_json())
    return png(picture, pnginfo=info)


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


def machine(device: str, runner: str, dtype: Any, threads: int) -> Machine:
    """The machine as it is now; ``runner``: what runs the networks on the device."""
    from importlib.metadata import version

    import diffusers
    import torch

    return Machine(
        hackamore=version("hackamore"),
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        backend=device if runner == "torch" else f"{device}, {runner}",
        dtype=str(dtype).removeprefix("torch."),
        threads=threads,
    )
