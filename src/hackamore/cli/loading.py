"""Options of the command line that say how a base is loaded and what a generation begins from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hackamore.core.errors import HackamoreError

if TYPE_CHECKING:
    from hackamore.core.effort import Fast

LARGEST_LORA = 10.0

Lora = Annotated[list[str] | None, typer.Option(help="FILE[:scale] of a LoRA on the base; repeatable.")]
Embedding = Annotated[list[Path] | None, typer.Option(help="A textual-inversion file; repeatable.")]
Vae = Annotated[Path | None, typer.Option(help="Another autoencoder: a folder or file.")]
ClipSkip = Annotated[int, typer.Option(help="Read the text encoder so many layers before the last.")]
Offload = Annotated[
    str | None, typer.Option(help="model or sequential: keep weights off the accelerator until needed.")
]
Tiling = Annotated[bool, typer.Option("--tiling", help="Decode large pictures in tiles.")]
Slicing = Annotated[bool, typer.Option("--slicing", help="Decode pictures one by one.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the base's network.")]
Tokenizer = Annotated[str | None, typer.Option(help="Of a base in a single file: a folder or hub name.")]

Parts = Annotated[list[str] | None, typer.Option(help="Of a single file: where parts that it lacks are; repeatable.")]
Prediction = Annotated[str | None, typer.Option(help="Of a single file: epsilon or v_prediction.")]
Backend = Annotated[str, typer.Option(help="What runs the networks: auto, torch or openvino.")]
Ema = Annotated[bool, typer.Option("--ema", help="Of a single file: read the averaged weights.")]

Init = Annotated[Path | None, typer.Option(help="A picture to begin from, or a folder with one for each picture.")]
Strength = Annotated[float | None, typer.Option(help="Share of the steps that run on --init: 0.8; with a mask 1.")]
InpaintMask = Annotated[
    Path | None, typer.Option(help="White where --init is painted anew; the rest stays. A picture, or a folder.")
]
UpscaleTo = Annotated[
    str | None, typer.Option("--upscale", help="WxH or a factor: a second pass at that size, with hints made anew.")
]
UpscaleStrength = Annotated[float | None, typer.Option(help="Share of the steps that run in the second pass: 0.6.")]
UpscaleSteps = Annotated[int | None, typer.Option(help="Steps of the second pass; as many as the first when absent.")]
UpscaleThrough = Annotated[str | None, typer.Option(help="What is enlarged between the passes: latents, or pixels.")]
TileSize = Annotated[
    str | None, typer.Option("--tile", help="N or WxH: denoise a large picture in tiles of that size.")
]
TileOverlap = Annotated[int | None, typer.Option(help="Pixels by which tiles overlap; a quarter when absent.")]


def base_options(
    lora: list[str] | None,
    embedding: list[Path] | None,
    vae: Path | None,
    clip_skip: int,
    offload: str | None,
    tiling: bool,
    slicing: bool,
    compile_: bool,
    tokenizer: str | None,
    parts: list[str] | None,
    prediction: str | None,
    ema: bool,
    backend: str,
) -> dict[str, Any]:
    """What ``load_base`` is told beyond name, device and dtype: only what was given."""
    told: dict[str, Any] = {
        "loras": [parse_lora(text) for text in lora or []],
        "embeddings": [str(file) for file in embedding or []],
        "vae": None if vae is None else str(vae),
        "clip_skip": clip_skip,
        "offload": offload,
        "tiling": tiling,
        "slicing": slicing,
        "compile": compile_,
        "tokenizer": tokenizer,
        "parts": parts,
        "prediction": prediction,
        "ema": ema,
        "backend": backend,
    }
    return {name: value for name, value in told.items() if value}


def parse_lora(text: str) -> tuple[str, float]:
    """``FILE`` or ``FILE:scale`` → the file and its scale, 1 when it is not told."""
    file, sign, number = text.rpartition(":")
    try:
        scale = float(number) if sign else 1.0
    except ValueError:  # a colon of the path
        file, sign, scale = text, "", 1.0
    file = file if sign else text
    if not abs(scale) <= LARGEST_LORA:
        expected = f"{-LARGEST_LORA:g} to {LARGEST_LORA:g}"
        raise HackamoreError("the scale of a LoRA is out of range", received=text, expected=expected)
    return file, scale


def parse_upscale(text: str | None, strength: float | None, steps: int | None, through: str | None) -> Any:
    """``WxH`` or a factor → :class:`Upscale`; None where none is asked for."""
    given = {"strength": strength, "steps": steps, "through": through}
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if text is None:
        if told:
            raise HackamoreError(f"--upscale-{next(iter(told))} without --upscale", expected="the larger size too")
        return None
    from hackamore.cli.options import parse_size
    from hackamore.sampling.upscale import Upscale

    if "x" in text.lower().replace("×", "x"):
        return Upscale(size=parse_size(text), **told)
    try:
        return Upscale(factor=float(text), **told)
    except ValueError as error:
        expected = "WIDTHxHEIGHT or a factor, such as 256x256 or 2"
        raise HackamoreError("the upscale is not understood", received=text, expected=expected) from error


def parse_fast(fast: bool | None, level: int | None) -> Fast | None:
    """``--fast/--exact`` and ``--fast-level`` → the policies of the fast mode; None computes all."""
    from hackamore.core.effort import USUAL_LEVEL, fast_of

    if fast is False and level is not None:
        raise HackamoreError("--exact and --fast-level together", expected="one of them")
    return fast_of(level if level is not None else USUAL_LEVEL if fast else None)


def parse_tile(text: str | None, overlap: int | None) -> Any:
    """``N`` or ``WxH`` → :class:`Tile`; None where none is asked for."""
    from hackamore.cli.options import parse_size
    from hackamore.sampling.tiles import Tile

    if text is None and overlap is not None:
        raise HackamoreError("--tile-overlap without --tile", expected="the size of the tiles too")
    return None if text is None else Tile(parse_size(text), overlap)
