"""``hackamore generate``: a prompt and controls → pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hackamore.cli.options import ControlSpec, free_paths, make_folders, parse_control, parse_size
from hackamore.cli.show import note, progress_bar
from hackamore.core.errors import HackamoreError


def run(
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    base: Annotated[str, typer.Option(help="A base: meadow, or a folder in diffusers' layout.")] = "meadow",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="kind=IMAGE,key=value…, or JSON; repeatable. Keys: scale, start, end, schedule, mask, model, "
            "hint, resize, and the annotator's own."
        ),
    ] = None,
    negative: Annotated[str, typer.Option(help="What the picture should not show.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the first picture; picture k has seed + k.")] = 0,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 20,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; 1 is none. The base's own when absent.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT. The base's own when absent.")] = None,
    num: Annotated[int, typer.Option(help="How many pictures.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, euler, euler_a, dpm++_2m, dpm++_2m_karras, unipc, lcm.")
    ] = None,
    show_hint: Annotated[Path | None, typer.Option(help="Write the very hint the first control receives.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; chosen when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; chosen when absent.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .png file for one picture, a folder for several.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Make pictures of PROMPT, steered by any number of controls."""
    specs = [parse_control(text) for text in control or []]
    chosen = parse_size(size) if size else None
    if num < 1:
        raise HackamoreError("the number of pictures is out of range", received=num, expected="1 to 1000")
    paths = free_paths(out, num, "picture.png" if num == 1 else "pictures", overwrite)
    if show_hint is not None:
        if not specs:
            raise HackamoreError("--show-hint without a control", expected="at least one --control")
        (show_hint,) = free_paths(show_hint, 1, "", overwrite)
        if show_hint.resolve() in [path.resolve() for path in paths]:
            raise HackamoreError("--show-hint and --out name the same file", received=show_hint)
    hints = [read_hint(spec, base) for spec in specs]

    from hackamore.bases.catalog import load_base
    from hackamore.core.files import written_whole
    from hackamore.core.image import png
    from hackamore.generate import generate

    loaded = load_base(base, device=device, dtype=dtype)
    chosen = chosen or loaded.size
    units = [make_unit(spec, read(chosen), base, loaded) for spec, read in zip(specs, hints, strict=True)]
    make_folders([*paths, *([show_hint] if show_hint else [])])
    with progress_bar("generating", 100) as show:
        result = generate(
            loaded, prompt, controls=units, negative=negative, seed=seed, num=num, size=chosen, steps=steps,
            guidance=guidance, scheduler=scheduler, progress=lambda told: show(round(100 * told.share)),
        )  # fmt: skip
    for notice in result.notices:
        note(f"notice: {notice}")
    for image, path in zip(result.images, paths, strict=True):
        image.save(path)
    if show_hint is not None:
        with written_whole(show_hint) as path:
            path.write_bytes(png(result.hints[0]))
    if json_output:
        import json

        told = [
            {"path": str(p), **i.recipe.model_dump(exclude={"units": {"__all__": {"hint", "mask"}}})}
            for i, p in zip(result.images, paths, strict=True)
        ]
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(str(path) for path in paths))


def read_hint(spec: ControlSpec, base: str) -> Any:
    """Read and check a control's picture and parameters before anything slow happens: a function size → hint."""
    from hackamore.annotators.catalog import ANNOTATORS, annotate, annotator_class, make_annotator
    from hackamore.core.image import load_picture

    kind = "none" if spec.unit.get("hint") else spec.kind
    if base != "meadow" and "model" not in spec.unit:
        raise HackamoreError(
            f"the control {spec.kind} names no model, and {base} has none of its own",
            remedy=f"--control {spec.kind}={spec.image},model=FOLDER",
        )
    make_annotator(kind, **spec.parameters)
    picture = load_picture(spec.image)
    mode = spec.unit.get("resize", "crop")
    categorical = spec.kind in ANNOTATORS and annotator_class(spec.kind).categorical
    parameters = spec.parameters

    def at(size: tuple[int, int]) -> Any:
        if kind == "none" and categorical:
            return load_picture(picture, size=size, mode=mode, categorical=True)
        return annotate(kind, picture, size=size, mode=mode, **parameters)

    return at


def make_unit(spec: ControlSpec, hint: Any, base: str, loaded: Any) -> Any:
    """The unit that a control spec describes."""
    from hackamore.controls.catalog import load_control
    from hackamore.core.image import load_picture

    name = spec.unit.get("model") or f"{base}/{spec.kind}"
    settings: dict[str, Any] = {
        key: spec.unit[key] for key in ("scale", "start", "end", "schedule") if key in spec.unit
    }
    if "mask" in spec.unit:
        size = (hint.shape[1], hint.shape[0])
        settings["mask"] = load_picture(spec.unit["mask"], size=size, mode=spec.unit.get("resize", "crop"))
    return load_control(name, loaded).unit(hint, **settings)
