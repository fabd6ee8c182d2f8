"""From what was seen in every pair to findings: pure functions over looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from statistics import median

from hackamore.annotators.recognise import family
from hackamore.core.image import Size
from hackamore.core.section import setting
from hackamore.data.check_look import HintLook, Look, lines
from hackamore.data.check_report import Finding, Level

FEW = 0.02
"""What concerns at most this share of the pairs is told as a warning; beyond it is a problem."""
MANY = 0.25
"""Enlarged pictures, or hints without content, beyond this share are told more strongly."""
DOWNWARDS = -0.3
"""Depth maps whose brightness falls towards the bottom by this median correlation are inverted, most likely."""
ALIKE = 0.2
"""Below this share of different captions the captions say little."""

Seen = tuple[str, HintLook]
"""The name of an example, and its hint."""


def find(
    looks: Sequence[Look], sizes: Sequence[Size], captions: Sequence[str], *, worlds: bool = False, need: bool = False
) -> list[Finding]:
    """All findings but those that need an encoder.

    ``sizes``: to which the pairs are cut. ``worlds``: they were rendered. ``need``: every picture needs a caption.
    """
    whole = [look for look in looks if not look.fault]
    found = [*_faults(looks), *_sizes(looks, sizes), *_pairs(whole), *_captions(looks, captions, need)]
    by_kind: dict[str, list[Seen]] = defaultdict(list)
    for look in whole:
        for hint in look.hints:
            by_kind[hint.kind].append((look.name, hint))
    for kind, seen in by_kind.items():
        found += _hints(kind, seen, worlds)
    return found


def lost(names: Sequence[str], captions: Sequence[str], ends: Callable[[str], str]) -> list[Finding]:
    """Captions longer than the text encoder reads; ``ends`` gives what it does not see, and is asked once for each."""
    unseen = {caption: ends(caption) for caption in set(captions)}
    cut = [(name, unseen[caption]) for name, caption in zip(names, captions, strict=True) if unseen[caption]]
    what = f"{counted(len(cut), 'caption is', 'captions are')} longer than the text encoder reads"
    what += f" ({cut[0][1][:40]!r} is not seen)" if cut else ""
    remedy = "shorter captions, the important words first"
    return _told("warning", "long-captions", what, (name for name, _ in cut), remedy)


def counted(number: int, one: str, many: str) -> str:
    """``3 pairs``, ``1 pair``."""
    return f"{number:,} {one if number == 1 else many}"


def _told(level: Level, code: str, what: str, names: Iterable[str], remedy: str | None = None) -> list[Finding]:
    places = tuple(names)
    return [Finding(level, code, what, places, remedy)] if places else []


def _share(part: int, whole: int) -> Level:
    return "problem" if part > FEW * whole else "warning"


def _faults(looks: Sequence[Look]) -> list[Finding]:
    broken = [look for look in looks if look.fault]
    what = f"{counted(len(broken), 'pair', 'pairs')} cannot be read"
    return _told("problem", "broken", what, (look.fault for look in broken), "mend or remove them")


def _sizes(looks: Sequence[Look], sizes: Sequence[Size]) -> list[Finding]:
    small = [
        look.name
        for look, size in zip(looks, sizes, strict=True)
        if not look.fault and (look.size[0] < size[0] or look.size[1] < size[1])
    ]
    level: Level = "warning" if len(small) > MANY * len(looks) else "note"
    what = f"{counted(len(small), 'picture is', 'pictures are')} enlarged, and soft for that"
    return _told(level, "enlarged", what, small, "larger pictures, or a smaller size")


def _pairs(whole: Sequence[Look]) -> list[Finding]:
    pairs = _repeated((look.name, (look.digest, *(hint.digest for hint in look.hints))) for look in whole)
    again = [name for names in pairs for name in names[1:]]
    what = f"{counted(len(again), 'pair repeats', 'pairs repeat')} another one"
    found = _told("warning", "duplicates", what, again, "remove them: they count twice, and probes see what trains")
    by_hint: dict[Hashable, list[Look]] = defaultdict(list)
    for look in whole:
        if look.hints and not any(hint.flat for hint in look.hints):
            by_hint[tuple(hint.digest for hint in look.hints)].append(look)
    groups = [alike for alike in by_hint.values() if len({look.digest for look in alike}) > 1]
    shared = [look.name for alike in groups for look in alike]
    what = f"{counted(len(shared), 'picture shares its hint', 'pictures share their hints')} with another picture"
    return found + _told("warning", "shared-hints", what, shared, "see whether the hints belong to these pictures")


def _repeated(marks: Iterable[tuple[str, Hashable]]) -> list[list[str]]:
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, mark in marks:
        groups[mark].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _captions(looks: Sequence[Look], captions: Sequence[str], need: bool) -> list[Finding]:
    empty = [look.name for look, caption in zip(looks, captions, strict=True) if not caption.strip()]
    remedy = "captions" + (f", or {setting('data.captions', 'empty')}" if need else ": without them prompts steer less")
    what = f"{counted(len(empty), 'caption is', 'captions are')} empty"
    found = _told("problem" if need else "warning", "empty-captions", what, empty, remedy)
    different = len(set(captions))
    if len(captions) >= 10 and different < ALIKE * len(captions) and len(empty) < len(captions):
        what = f"only {different:,} of {len(captions):,} captions differ"
        found.append(Finding("note", "alike-captions", what, remedy="captions that say what each picture shows"))
    return found


def _hints(kind: str, seen: Sequence[Seen], worlds: bool) -> list[Finding]:
    total = len(seen)
    speaking = [(name, hint) for name, hint in seen if not hint.flat]
    flat = [name for name, hint in seen if hint.flat]
    level: Level = "problem" if len(flat) > MANY * total else "warning"
    what = f"{counted(len(flat), f'{kind} hint is', f'{kind} hints are')} of one colour and say nothing"
    found = _told(level, "constant", what, flat, "remove them, or see how the hints were made")
    unscaled = [name for name, hint in speaking if hint.unscaled and not hint.numbers]
    what = f"{counted(len(unscaled), f'{kind} hint holds', f'{kind} hints hold')} values near 0 only, of 0 to 255"
    found += _told(_share(len(unscaled), total), "range", what, unscaled, "multiply them by 255")
    same = [name for name, hint in speaking if hint.same]
    what = f"{counted(len(same), f'{kind} hint is its', f'{kind} hints are their')} own picture"
    found += _told(
        _share(len(same), total),
        "hint-is-picture",
        what,
        same,
        f"name the folder of the hints: {setting('data.hint', 'FOLDER')}",
    )
    return found + _looks(kind, [(n, h) for n, h in speaking if not (h.same or h.unscaled)], worlds)


def _looks(kind: str, seen: Sequence[Seen], worlds: bool) -> list[Finding]:
    """Polarity and colour order."""
    total = len(seen)
    turned = [name for name, hint in seen if hint.turned]
    some = counted(len(turned), f"{kind} hint", f"{kind} hints")
    if lines(kind):
        is_are = "is" if len(turned) == 1 else "are"
        what, remedy = f"{some} {is_are} black on white", "invert them: lines are white on black in every control"
        code = "polarity"
    else:
        what, remedy = f"{some} with red and blue exchanged (BGR)", "save them as RGB"
        code = "colour-order"
    found = _told(_share(len(turned), total), code, what, turned, remedy)
    numbers = [name for name, hint in seen if hint.numbers]
    what = f"{counted(len(numbers), f'{kind} hint holds', f'{kind} hints hold')} class numbers, not colours"
    found += _told("problem", "class-numbers", what, numbers, "paint them in a palette: hackamore annotate --legend")
    odd = [name for name, hint in seen if not (hint.looks or hint.numbers)]
    what = f"{counted(len(odd), f'{kind} hint does', f'{kind} hints do')} not look like {kind}"
    found += _told("warning", "unlike", what, odd, "another kind, or see how the hints were made")
    return found + (_depth(seen, worlds) if family(kind) == "depth" else [])


def _depth(seen: Sequence[Seen], worlds: bool) -> list[Finding]:
    """Near is white, and what is at the bottom is near in most pictures; in worlds in all of them."""
    slopes = {name: hint.slope for name, hint in seen if hint.slope is not None}
    if not slopes or median(slopes.values()) > DOWNWARDS:
        return []
    what = f"depth hints are dark where pictures are near: {'they are' if worlds else 'most likely'} inverted"
    names = [name for name, slope in slopes.items() if slope < DOWNWARDS]
    return _told("problem" if worlds else "warning", "inverted-depth", what, names, "invert them: near is white")
