"""The dry run: every pair is opened before the first step, and what is wrong is told in words."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from hackamore.annotators.recognise import family
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, Size
from hackamore.data.check_findings import counted, find, lost
from hackamore.data.check_look import HintLook, Look, look_at_hint, mark
from hackamore.data.check_report import Finding, Report
from hackamore.data.dataset import Dataset
from hackamore.data.sides import names_sides

TIMED = 64
"""Pairs by which it is told how long the others take."""
WORTH = 30.0
"""Seconds that threads would take, from which on processes are worth their start."""
PART = 64
"""Pairs that a process is given at a time."""


def check_data(
    dataset: Dataset,
    *,
    ends: Callable[[str], str] | None = None,
    need_captions: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Report:
    """Open every pair of ``dataset`` on all cores and report what is broken, suspicious, or good to know.

    ``ends``: caption → the end of it that the text encoder does not see, such as ``base.words_lost``.
    ``need_captions``: an empty one is a problem. ``progress`` gets (done, count). ``workers``: threads, or processes
    where there is much to do; all cores when absent.
    """
    looks = list(_looks(dataset, progress, workers))
    worlds = any(item.attributes is not None for item in dataset.items)
    findings = find(looks, dataset.sizes, dataset.captions, worlds=worlds, need=need_captions)
    if ends is not None:
        findings += lost([look.name for look in looks], dataset.captions, ends)
    return Report(len(looks), _facts(dataset, looks), (*findings, *_mirrored(dataset)))


def _mirrored(dataset: Dataset) -> list[Finding]:
    """Captions that are false of mirrored pictures."""
    sided = [k for k, caption in enumerate(dataset.captions) if dataset.flip and names_sides(caption)]
    if not sided:
        return []
    what = f"{counted(len(sided), 'caption names a side', 'captions name sides')}, the other one where it is mirrored"
    return [Finding("note", "mirrored", what, tuple(dataset.name(place) for place in sided))]


def look_at(dataset: Dataset, place: int) -> Look:
    """Look at one pair: at the hint as its file has it, or, where none is given, as it is made."""
    item, name = dataset.items[place], dataset.name(place)
    try:
        picture = item.picture.picture()
        hints = tuple(_hint(dataset, place, kind, picture) for kind in dataset.kinds)
    except HackamoreError as error:
        why = f" ({error.received})" if error.received is not None else ""
        return Look(name, fault=f"{error.what}{why}")
    return Look(name, (picture.shape[1], picture.shape[0]), mark(picture), hints)


def _hint(dataset: Dataset, place: int, kind: str, picture: Picture) -> HintLook:
    drawn = family(kind) == "pose" and dataset.items[place].people is not None
    blob = None if drawn or kind in dataset.makings else dataset.given_hint(place, kind)
    if blob is None:
        return look_at_hint(dataset.hint(place, kind=kind), kind, dataset.picture(place))
    hint = blob.picture()
    dataset.view(place).hint(hint, kind, blob.name)  # refuses what cannot be cropped as the picture is
    return look_at_hint(hint, kind, picture)


def _looks(dataset: Dataset, progress: Callable[[int, int], None] | None, workers: int | None) -> Iterator[Look]:
    """All looks in order, each told as soon as it is there."""
    for done, look in enumerate(_all(dataset, workers or os.cpu_count() or 1), start=1):
        yield look
        if progress is not None:
            progress(done, len(dataset))


def _all(dataset: Dataset, cores: int) -> Iterator[Look]:
    """The first ones are timed in threads: processes take a while to start, and are worth it where much is left."""
    first, begun = min(TIMED, len(dataset)), time.monotonic()
    yield from _in_threads(dataset, range(first), cores)
    left = (time.monotonic() - begun) / max(first, 1) * (len(dataset) - first)
    if cores > 1 and left > WORTH:
        yield from _in_processes(dataset, first, cores)
    else:
        yield from _in_threads(dataset, range(first, len(dataset)), cores)


def _in_threads(dataset: Dataset, places: range, cores: int) -> Iterator[Look]:
    """Threads read and decode at once, which is most of the work on large pictures."""
    with ThreadPoolExecutor(cores) as pool:
        yield from pool.map(partial(look_at, dataset), places)


def _in_processes(dataset: Dataset, first: int, cores: int) -> Iterator[Look]:
    """Processes do all of it at once; each part carries its own examples."""
    if any(making.keep is not None for making in dataset.makings.values()):
        dataset.hash_contents()  # hints are kept by them; once here instead of in every part
    parts = [dataset.subset(range(k, min(k + PART, len(dataset)))) for k in range(first, len(dataset), PART)]
    context = multiprocessing.get_context("spawn")
    ignore_ctrl_c = (signal.SIGINT, signal.SIG_IGN)  # which is the parent's
    with ProcessPoolExecutor(cores, mp_context=context, initializer=signal.signal, initargs=ignore_ctrl_c) as pool:
        try:
            for looks in pool.map(_look_through, parts):
                yield from looks
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _look_through(dataset: Dataset) -> list[Look]:
    return [look_at(dataset, place) for place in range(len(dataset))]


def _facts(dataset: Dataset, looks: Sequence[Look]) -> dict[str, str]:
    whole = [look for look in looks if not look.fault]
    captions = [caption for caption in dataset.captions if caption.strip()]
    facts = {"pairs": f"{len(looks):,}, {len(whole):,} of them whole"}
    if whole:
        facts["picture sizes"] = _spread([look.size for look in whole])
        used = Counter(dataset.sizes).most_common()
        facts["trained at"] = ", ".join(f"{width}×{height} ({count:,})" for (width, height), count in used)
    for place, kind in enumerate(dataset.kinds):
        hints = [look.hints[place] for look in whole]
        if hints:
            low, high = min(hint.low for hint in hints), max(hint.high for hint in hints)
            sizes = _spread([hint.size for hint in hints])
            facts[f"{kind} hints"] = f"{dataset.origin(kind)}; values {low} to {high}, sizes {sizes}"
    words = sorted(len(caption.split()) for caption in captions)
    if words:
        shortest = "" if words[0] == words[-1] else f"{words[0]} to "
        differ = len(set(dataset.captions)) / len(dataset.captions)
        facts["captions"] = f"{shortest}{counted(words[-1], 'word', 'words')}; {differ:.0%} differ"
    return facts


def _spread(sizes: Sequence[Size]) -> str:
    """The smallest, the middle and the largest size by area, or the only one."""
    known = sorted(sizes, key=lambda size: size[0] * size[1])
    named = [f"{width}×{height}" for width, height in (known[0], known[len(known) // 2], known[-1])]
    return named[0] if len(set(sizes)) == 1 else f"{named[0]} to {named[2]}, {named[1]} in the middle"
