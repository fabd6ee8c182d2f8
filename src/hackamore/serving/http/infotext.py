"""The text of generation parameters that the WebUI writes into pictures, read back."""

from __future__ import annotations

import re

LONGEST = 40_000
"""Characters that are read."""
_PAIR = re.compile(r'\s*(?:(\w[\w \-/]{0,60}):\s?("(?:\\.|[^\\"]){0,2000}+"(?=,|$)|[^,]*+)|[^,]*+)(?:,|$)')
"""One pair, or something else up to a comma: it fits everywhere, and nothing is tried twice, whatever the text."""
_NEGATIVE = "Negative prompt:"


def read_infotext(text: str) -> dict[str, str]:
    """Names → values: ``Prompt``, ``Negative prompt``, and those of the last line, which begins with ``Steps:``."""
    if not text.strip():
        return {}
    lines = text[:LONGEST].strip().split("\n")
    settings = lines.pop() if lines[-1].lstrip().startswith("Steps:") else ""
    first = next((number for number, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    told = {
        "Prompt": "\n".join(lines[:first]),
        "Negative prompt": "\n".join(lines[first:]).removeprefix(_NEGATIVE).strip(),
    }
    for name, value in _PAIR.findall(settings):
        if name:
            told[name] = value.strip().strip('"')
    return told
