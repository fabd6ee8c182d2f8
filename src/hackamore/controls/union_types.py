"""What the types of a union control are called."""

from __future__ import annotations

from collections.abc import Sequence

from hackamore.core.errors import HackamoreError

PUBLISHED = ("pose", "depth", "softedge", "canny", "normal", "seg", "tile", "inpaint")
"""The types of published unions, in order: the first six of xinsir's union, all of its ProMax."""
SAME = {
    "openpose": "pose", "segment": "seg", "segmentation": "seg", "repaint": "inpaint", "hed": "softedge",
    "pidi": "softedge", "ted": "softedge", "teed": "softedge", "hardedge": "canny",
}  # fmt: skip
"""Other names for the same hints."""
NEAR = {"scribble": "softedge", "sketch": "softedge", "lineart": "canny", "mlsd": "canny", "blur": "tile"}
"""Hints that published unions take for one of their types: thick or thin lines, a picture without its details."""


def type_named(kind: str | int | None, types: Sequence[str], control: str) -> int:
    """The number of ``kind`` among ``types``: a number, a name, or the name of an annotator (``depth_midas``).

    Published unions (whose ``types`` are the first of :data:`PUBLISHED`) take scribbles for soft edges, line art and
    straight lines for canny edges, blurred pictures for tiles. Raises :class:`HackamoreError` listing ``types``.
    """
    if kind is not None and str(kind).isdecimal() and int(kind) < len(types):
        return int(kind)
    name = str(kind or "").lower()
    start = name.split("_")[0]
    names = [name, SAME.get(name, name), start, SAME.get(start, start)]
    if tuple(types) == PUBLISHED[: len(types)]:
        names.append(NEAR.get(start, start))
    for known in names:
        if known in types:
            return list(types).index(known)
    raise HackamoreError(
        f"the union control {control} must be told what its hint is"
        if kind is None
        else f"the union control {control} knows no hints of type {kind!r}",
        expected=f"a type: {', '.join(types)} (0 to {len(types) - 1})",
        remedy=f"type={types[0]}",
    )
