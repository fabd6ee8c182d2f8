"""Which hint a published control was trained on, by its file's name: for showing only, nothing depends on it."""

from __future__ import annotations

import re

WORDS = {
    "canny": "canny", "depth": "depth", "midas": "depth", "zoe": "depth", "openpose": "pose", "pose": "pose",
    "dwpose": "pose", "seg": "seg", "segmentation": "seg", "mlsd": "mlsd", "hough": "mlsd", "normal": "normal",
    "normalbae": "normal", "normals": "normal", "scribble": "scribble", "sketch": "sketch", "hed": "softedge",
    "softedge": "softedge", "lineart": "lineart", "anime": "lineart", "shuffle": "shuffle", "tile": "tile",
    "inpaint": "inpaint", "inpainting": "inpaint", "ip2p": "ip2p", "color": "color", "recolor": "recolor",
    "blur": "blur", "keypose": "pose",
}  # fmt: skip
"""A word of the name → the annotator that makes such hints."""
MAKERS = ("control", "t2i", "adapter", "diffusers", "sai", "kohya", "lllite", "union", "thibaud", "sd15", "sdxl", "xl")
"""A name without one of these words in it is taken for someone's own."""


def condition_by_name(name: str) -> str | None:
    """The condition that a file's or folder's ``name`` tells (``control_v11p_sd15_canny.pth``); None where unclear."""
    lower = name.lower()
    if not any(maker in lower for maker in MAKERS):
        return None
    found = {WORDS[word] for word in re.split(r"[^a-z0-9]+", lower) if word in WORDS}
    return found.pop() if len(found) == 1 else None
