"""Write worlds to disk as paired training data, on all cores, continuing where an earlier call stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hackamore.annotators.normal_depth import paint_normals
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.skeleton import to_openpose
from hackamore.worlds import World, render
from hackamore.worlds.figures.company import has_people

TRUTHS: dict[str, Callable[[World], Any]] = {
    "seg": lambda world: palette.paint(world.segmentation),
    "depth": lambda world: _depth_picture(world.depth),
    "normal": lambda world: paint_normals(world.normals, np.abs(world.normals).sum(-1) > 0),
    "pose": lambda world: _pose_picture(world),
}
"""Hints that come from the world itself, each as an RGB picture H×W×3 uint8."""


def write_worlds(
    folder: Path | str,
    count: int,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    hints: tuple[str, ...] = ("seg",),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    people: float = 0.0,
    sights: float = 0.0,
    styles: float = 0.0,
) -> Path:
    """Render worlds ``seed`` … ``seed + count − 1`` into ``folder`` and return it.

    Layout: ``pictures/SEED.png``, ``<hint>/SEED.png`` for each hint, and two indexes of the same files:
    ``metadata.jsonl`` (Hugging Face imagefolder) and ``prompt.json`` (JSON lines: source, target, prompt).
    With the hint "pose" there are also key points, ``people/SEED.json``, as OpenPose writes them. ``people`` is the
    probability that a world has any, ``sights`` and ``styles`` as in :func:`hackamore.worlds.render`.
    Worlds that an earlier call finished are kept. ``progress`` gets (done, count).
    """
    folder = Path(folder)
    unknown = [hint for hint in hints if hint not in TRUTHS]
    if unknown or not hints:
        raise HackamoreError("unknown truth", received=", ".join(hints) or "nothing", expected=", ".join(TRUTHS))
    if workers is not None and workers < 1:
        raise HackamoreError("nobody to render", received=f"{workers} workers", expected="at least 1")
    if count < 1:
        raise HackamoreError("nothing to render", received=f"count {count}", expected="a count of at least 1")
    index = folder / "metadata.jsonl"
    _check_size(folder, size)
    wanted = range(seed, seed + count)
    chances = {"people": people, "sights": sights, "styles": styles}
    done = {
        number: row
        for number, row in _finished(index).items()
        if number not in wanted  # worlds of other calls stay in the index as they are
        or (
            all(path.exists() for path in _files(folder, number, hints))
            and (row["attributes"].get("people", "none") != "none") == has_people(number, people)
        )
    }
    missing = [number for number in wanted if number not in done]
    try:
        for path in _files(folder, seed, hints):
            path.parent.mkdir(parents=True, exist_ok=True)
        log = index.open("a", encoding="utf-8")
    except OSError as error:
        raise HackamoreError(
            f"cannot write to {folder}", received=error.strerror, expected="a folder that can be written"
        ) from error
    with log:
        for finished, (number, row) in enumerate(_rendered(missing, folder, size, hints, workers, chances), start=1):
            done[number] = row
            log.write(json.dumps(row) + "\n")
            log.flush()
            if progress is not None:
                progress(count - len(missing) + finished, count)
    _write_indexes(folder, [done[number] for number in sorted(done)], hints[0])
    return folder


def _files(folder: Path, number: int, hints: tuple[str, ...]) -> list[Path]:
    """What a finished world consists of."""
    pictures = [folder / part / f"{number:08d}.png" for part in ("pictures", *hints)]
    return [*pictures, folder / "people" / f"{number:08d}.json"] if "pose" in hints else pictures


def _finished(index: Path) -> dict[int, dict[str, Any]]:
    """World number → its row; a last line cut short by a kill is dropped."""
    rows: dict[int, dict[str, Any]] = {}
    if index.exists():
        for line in index.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "seed" not in row:
                raise HackamoreError(f"{index} is not an index of worlds", expected="an empty folder, or one of worlds")
            rows[int(row["seed"])] = row
    return rows


def _rendered(
    missing: list[int],
    folder: Path,
    size: int | tuple[int, int],
    hints: tuple[str, ...],
    workers: int | None,
    chances: dict[str, float],
) -> Iterator[tuple[int, dict[str, Any]]]:
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(missing))
    work = partial(_write_one, folder=folder, size=size, hints=hints, chances=chances)
    if workers <= 1:
        yield from ((number, work(number)) for number in missing)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_parent) as pool:
        waiting = iter(missing)
        running: dict[Future[dict[str, Any]], int] = {
            pool.submit(work, number): number for number in islice(waiting, 4 * workers)
        }
        try:
            while running:
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    number = running.pop(future)
                    yield number, future.result()
                    for following in islice(waiting, 1):
                        running[pool.submit(work, following)] = following
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_size(folder: Path, size: int | tuple[int, int]) -> None:
    first = next((folder / "pictures").glob("*.png"), None)
    if first is None:
        return
    with Image.open(first) as picture:
        wanted = (size, size) if isinstance(size, int) else tuple(size)
        if picture.size != wanted:
            raise HackamoreError(
                f"{folder} holds worlds of another size",
                received=f"{wanted[0]}×{wanted[1]}",
                expected=f"{picture.width}×{picture.height}, as they are",
                remedy="another folder",
            )


def _write_one(
    number: int, folder: Path, size: int | tuple[int, int], hints: tuple[str, ...], chances: dict[str, float]
) -> dict[str, Any]:
    world = render(number, size, people=chances["people"], sights=chances["sights"], styles=chances["styles"])
    name = f"{number:08d}.png"
    if "pose" in hints:
        with written_whole(folder / "people" / f"{number:08d}.json") as path:
            path.write_text(json.dumps(to_openpose([world.people])), encoding="utf-8")
    for part in hints:
        with written_whole(folder / part / name) as path:
            Image.fromarray(TRUTHS[part](world)).save(path, compress_level=1)
    with written_whole(folder / "pictures" / name) as path:
        Image.fromarray(world.picture).save(path, compress_level=1)
    return {
        "image_file_name": f"pictures/{name}",
        "conditioning_image_file_name": f"{hints[0]}/{name}",
        "text": world.caption,
        "seed": number,
        "attributes": world.attributes,
    }


def _write_indexes(folder: Path, rows: list[dict[str, Any]], hint: str) -> None:
    rows = [
        row | {"conditioning_image_file_name": name} if (folder / name).exists() else row
        for row in rows
        for name in [f"{hint}/{row['seed']:08d}.png"]
    ]
    with written_whole(folder / "metadata.jsonl") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    official = [
        {
            "source": row["conditioning_image_file_name"],
            "target": row["image_file_name"],
            "prompt": row["text"],
        }
        for row in rows
    ]
    with written_whole(folder / "prompt.json") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in official), encoding="utf-8")


def _depth_picture(depth: Any) -> Any:
    """Depth in world units (inf: sky) → relative inverse depth as MiDaS gives it: near is white, far black."""
    near = 1.0 / np.maximum(depth, 1e-6)
    finite = near[near > 0]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    scaled = np.clip((near - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat((np.where(near > 0, scaled, 0) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _pose_picture(world: World) -> Any:
    """The skeletons of a world's people, as the pose annotator draws them."""
    from hackamore.annotators.pose import draw_people

    return draw_people(world.people)
