"""``hackamore generate``: a prompt and controls → pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hackamore.cli import loading
from hackamore.cli.batch import count_of, each_of
from hackamore.cli.options import free_paths, make_folders, parse_control, parse_size
from hackamore.cli.show import note, progress_bar
from hackamore.cli.units import Units, annotator_parameters
from hackamore.core.errors import HackamoreError, WorkFailed

UNIT_PICTURES = {"units": {"__all__": {"hint", "mask", "hidden"}}}
PICTURES: Any = {**UNIT_PICTURES, "init": True, "mask": True, "upscale": UNIT_PICTURES}
"""What of a Recipe is not printed: the pictures inside it."""


def run(
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    base: Annotated[str, typer.Option(help="A base: meadow, a folder, a single file or a hub name.")] = "meadow",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="kind=IMAGE,key=value…, or JSON; repeatable. IMAGE may be a folder: a picture for each file. Keys: "
            "scale, start, end, schedule, mask, mode, weights, prompt, type, model, hint, resize, the annotator's own "
            "and the control's own."
        ),
    ] = None,
    negative: Annotated[str, typer.Option(help="What the picture should not show.")] = "",
    seed: Annotated[
        int,
        typer.Option(help="Seed of the first picture; picture k has seed + k; with --best-of N, one of N seeds."),
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Sampling steps; 20 when absent, or those of the fast mode.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale; 1 is none. The base's own when absent.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT. The base's own when absent.")] = None,
    num: Annotated[
        int | None, typer.Option(help="How many pictures; 1 when absent, or as many as a folder holds.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, euler, euler_a, dpm++_2m, dpm++_2m_karras, unipc, lcm.")
    ] = None,
    fast: Annotated[
        bool | None, typer.Option("--fast/--exact", help="Spare work, or compute all, which is what absent means.")
    ] = None,
    fast_level: Annotated[int | None, typer.Option(help="How much --fast spares: 1, 2 (when absent) or 3.")] = None,
    init: loading.Init = None,
    strength: loading.Strength = None,
    inpaint_mask: loading.InpaintMask = None,
    upscale: loading.UpscaleTo = None,
    upscale_strength: loading.UpscaleStrength = None,
    upscale_steps: loading.UpscaleSteps = None,
    upscale_through: loading.UpscaleThrough = None,
    tile: loading.TileSize = None,
    tile_overlap: loading.TileOverlap = None,
    lora: loading.Lora = None,
    embedding: loading.Embedding = None,
    vae: loading.Vae = None,
    clip_skip: loading.ClipSkip = 0,
    offload: loading.Offload = None,
    tiling: loading.Tiling = False,
    slicing: loading.Slicing = False,
    compile_: loading.Compile = False,
    backend: loading.Backend = "auto",
    tokenizer: loading.Tokenizer = None,
    parts: loading.Parts = None,
    prediction: loading.Prediction = None,
    ema: loading.Ema = False,
    show_hint: Annotated[
        Path | None,
        typer.Option(help="Write the very hint each control receives: a .png file, the second one as NAME-2.png."),
    ] = None,
    verify: Annotated[bool, typer.Option(help="Tell how well each picture follows its hints, and store it.")] = False,
    best_of: Annotated[
        int, typer.Option(help="Make this many for each picture and keep the one that follows best.")
    ] = 1,
    target_fidelity: Annotated[
        float | None,
        typer.Option(help="Search the first control's smallest scale that reaches this figure (see --verify)."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; chosen when absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; chosen when absent.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .png file for one picture, a folder for several.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Make pictures of PROMPT, steered by any number of controls."""
    specs = [parse_control(text) for text in control or []]
    chosen = parse_size(size) if size else None
    sources = [*(spec.image for spec in specs), *(source for source in (init, inpaint_mask) if source is not None)]
    count, names = count_of(sources, num)
    if count < 1:
        raise HackamoreError("the number of pictures is out of range", received=count, expected="1 to 1000")
    single = count == 1 and not names
    paths = free_paths(out, count, "picture.png" if single else "pictures", overwrite, names)
    hint_paths = _hint_paths(show_hint, len(specs), paths, overwrite)
    _check_choices(specs, verify, best_of, target_fidelity, upscale, names)
    settings: dict[str, Any] = {
        "negative": negative, "seed": seed, "steps": steps, "guidance": guidance, "scheduler": scheduler,
        "strength": strength, "tile": loading.parse_tile(tile, tile_overlap),
        "fast": loading.parse_fast(fast, fast_level),
        "upscale": loading.parse_upscale(upscale, upscale_strength, upscale_steps, upscale_through),
    }  # fmt: skip
    options = loading.base_options(
        lora,
        embedding,
        vae,
        clip_skip,
        offload,
        tiling,
        slicing,
        compile_,
        tokenizer,
        parts,
        prediction,
        ema,
        backend,
    )
    controls = Units(specs, base)

    from hackamore.bases.catalog import load_base
    from hackamore.core.effort import usual_steps
    from hackamore.generate import check
    from hackamore.generate.plan import check_numbers, multiple_of
    from hackamore.sampling.start import check_strength

    least = usual_steps(settings["fast"]) if steps is None else steps
    check_numbers(count, seed, guidance, least)
    check_strength("strength", least, strength, flow=False)
    began, hidden = _pictures(init), _pictures(inpaint_mask)
    loaded = load_base(base, device=device, dtype=dtype, **options)
    settings["size"] = chosen = chosen or loaded.size
    settings |= {"init": _cut(began, chosen), "mask": _cut(hidden, chosen)}
    check(loaded, [prompt] * count, **settings)
    controls.load(loaded)
    settings["controls"] = controls.at(chosen) if settings["upscale"] is None else controls.at
    check(loaded, [prompt] * count, **settings)
    final = chosen if settings["upscale"] is None else settings["upscale"].target(chosen, multiple_of(loaded))
    _note_all(controls.hinted(final))
    units = controls.at(final)
    wanted = verify or best_of > 1 or target_fidelity is not None
    judge = _judge(specs, units, controls.hinted(final), best_of, target_fidelity) if wanted else None
    make_folders([*paths, *hint_paths])
    _write_hints(units, hint_paths)
    result, reached = _make(loaded, prompt, count, settings, judge, best_of, target_fidelity)
    for notice in result.notices:
        note(f"notice: {notice}")
    for image, path in zip(result.images, paths, strict=True):
        image.save(path)
    _tell(result, paths, json_output)
    if not reached:
        raise WorkFailed(
            f"no scale up to 2 reaches {target_fidelity:g}; the best picture was kept", remedy="a lower target"
        )


def _pictures(source: Path | None) -> Any:
    """The picture of a file, or those of a folder."""
    from hackamore.core.image import load_picture

    return None if source is None else [load_picture(file) for file in each_of(source)]


def _cut(pictures: Any, size: tuple[int, int]) -> Any:
    """Pictures at ``size``, cut like hints."""
    from hackamore.core.image import resize

    return None if pictures is None else [resize(picture, size) for picture in pictures]


def _note_all(hinted: list[list[Any]]) -> None:
    """Say on stderr what was done to hints, once."""
    for notice in dict.fromkeys(notice for hints in hinted for one in hints for notice in one.notices):
        note(f"notice: {notice}")


def _write_hints(units: list[Any], paths: list[Path]) -> None:
    """Write the first hint of each unit."""
    from hackamore.core.files import written_whole
    from hackamore.core.image import png

    for unit, hint_path in zip(units, paths, strict=False):
        with written_whole(hint_path) as path:
            path.write_bytes(png(unit.pictures[0]))


def _make(
    loaded: Any,
    prompt: str,
    num: int,
    settings: dict[str, Any],
    judge: Any,
    best_of: int,
    target: float | None,
) -> tuple[Any, bool]:
    """The pictures, verified, chosen or searched for as asked; and whether a target was reached."""
    from hackamore.generate import generate

    if judge is None:
        with progress_bar("generating", 100) as show:
            return generate(loaded, prompt, num=num, progress=_share(show), **settings), True

    from hackamore.evaluation import verify as checked

    if target is not None:
        return _search(checked, loaded, prompt, num, settings, judge, target)
    with progress_bar("generating", 100) as show:
        if best_of > 1:
            return checked.best_of(loaded, prompt, best_of, judge, num=num, progress=_share(show), **settings), True
        result = generate(loaded, prompt, num=num, progress=_share(show), **settings)
    return checked.verify(result, judge), True


def _judge(specs: list[Any], units: list[Any], hinted: list[list[Any]], best_of: int, target: float | None) -> Any:
    """Who judges the pictures; a wish that no figure can serve is an error.

    The annotators' parameters are his too where he reads back the same kind of hint.
    """
    from hackamore.controls.place import kind_of
    from hackamore.evaluation.verify import Judge, check_choice, check_target

    parameters = [
        annotator_parameters(spec) if kind_of(unit) == spec.kind and not spec.unit.get("hint") else {}
        for spec, unit in zip(specs, units, strict=True)
    ]
    judge = Judge(units, parameters, [hints[0].people if len(hints) == 1 else None for hints in hinted])
    if best_of > 1:
        check_choice(judge, best_of, units)
    if target is not None:
        check_target(judge, units, target)
    return judge


def _search(
    checked: Any, loaded: Any, prompt: str, num: int, settings: dict[str, Any], judge: Any, target: float
) -> tuple[Any, bool]:
    """``num`` pictures, each searched for by itself; says on stderr what was found and what it cost."""
    results, reached = [], True
    for k in range(num):
        with progress_bar("searching", 100) as show:
            one = settings | {"seed": settings["seed"] + k, "progress": _share(show)}
            result, found = checked.reach(loaded, prompt, target, judge, **one)
        results.append(result)
        reached = reached and found.reached
        words = "reached" if found.reached else "not reached"
        note(
            f"target {target:g} {words}: {found.figure:.3f} at scale {found.scale:g}, "
            f"after {len(found.probes)} pictures, the cost of {found.cost:.1f} generations"
        )
    return checked.joined(results), reached


def _share(show: Callable[[int], None]) -> Callable[[Any], None]:
    return lambda told: show(round(100 * told.share))


def _hint_paths(show_hint: Path | None, count: int, paths: list[Path], overwrite: bool) -> list[Path]:
    """Where the hints of ``count`` controls are written: NAME.png, NAME-2.png …"""
    if show_hint is None:
        return []
    if not count:
        raise HackamoreError("--show-hint without a control", expected="at least one --control")
    (first,) = free_paths(show_hint, 1, "", overwrite)
    named = [first, *(first.with_name(f"{first.stem}-{k}{first.suffix}") for k in range(2, count + 1))]
    for path in named:
        free_paths(path, 1, "", overwrite)
        if path.resolve() in [other.resolve() for other in paths]:
            raise HackamoreError("--show-hint and --out name the same file", received=path)
    return named


def _check_choices(
    specs: list[Any], verify: bool, best_of: int, target: float | None, upscale: str | None, names: list[str]
) -> None:
    asked = {"--verify": verify, "--best-of": best_of != 1, "--target-fidelity": target is not None}
    named = [name for name, is_asked in asked.items() if is_asked]
    if named and not specs:
        raise HackamoreError(f"{named[0]} without a control", expected="at least one --control")
    if best_of != 1 and target is not None:
        raise HackamoreError("--best-of and --target-fidelity together", expected="one of them")
    if best_of != 1 or target is not None:
        beside = "--upscale" if upscale is not None else "a folder" if names else None
        if beside is not None:
            raise HackamoreError(f"{named[-1]} with {beside}", expected="one of them")
    if best_of < 1:
        raise HackamoreError("the number to choose from is out of range", received=best_of, expected="at least 1")


def _tell(result: Any, paths: list[Path], json_output: bool) -> None:
    """The paths on stdout, each with its control-fidelity figures where there are any; or everything as JSON."""
    if json_output:
        import json

        told = [
            {"path": str(p), **i.recipe.model_dump(exclude=PICTURES)} for i, p in zip(result.images, paths, strict=True)
        ]
        print(json.dumps(told, indent=2))
        return
    for image, path in zip(result.images, paths, strict=True):
        figures = [f"{name} {value:.3f}" for u in image.recipe.units for name, value in (u.fidelity or {}).items()]
        print(f"{path}: {', '.join(figures)}" if figures else path)
