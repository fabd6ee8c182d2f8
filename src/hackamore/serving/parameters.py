"""Which parameters of annotators and controls are a client's to tell: none that names a file or a download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from hackamore.annotators.annotator import Annotator
from hackamore.annotators.catalog import annotator_class
from hackamore.core.errors import HackamoreError

CLOSED = frozenset({"weights", "download"})
"""Parameters of annotators that name files, folders or downloads."""
OPEN_OPTIONS = frozenset({"fidelity"})
"""Options of controls that hold neither a file nor a picture; ``type`` and ``hidden`` have words of their own."""


def open_parameters(chosen: type[Annotator]) -> list[str]:
    """Names of the parameters of an annotator that a client may tell."""
    return [
        name
        for name, field in chosen.model_fields.items()
        if name not in CLOSED and Path not in (field.annotation, *get_args(field.annotation))
    ]


def check_parameters(kind: str, told: Mapping[str, Any], *, options: bool = False) -> None:
    """Raise :class:`HackamoreError` for parameters that name files of the server, or that nothing knows.

    ``kind``: an annotator, or what none makes (``ip-adapter``), which has no parameters. ``options``: those of controls
    are fine too.
    """
    known = [*_of(kind), *(sorted(OPEN_OPTIONS) if options else ())]
    if closed := [name for name in told if name not in known]:
        expected = ", ".join(known) or "no parameters"
        raise HackamoreError(f"{kind} takes no {closed[0]} from clients", expected=expected)


def check_usable(kind: str, given: bool) -> None:
    """Raise :class:`HackamoreError` for an annotator that needs what clients cannot tell, such as files."""
    chosen = annotator_class(kind)
    told = open_parameters(chosen)
    needed = [name for name, field in chosen.model_fields.items() if field.is_required() and name not in told]
    if needed and not given and kind != "inpaint":
        raise HackamoreError(
            f"the annotator {kind} does not work on this server",
            received=f"it needs {', '.join(needed)}, which clients cannot tell",
            expected="another annotator, or a finished hint (hint: true)",
        )


def _of(kind: str) -> list[str]:
    from hackamore.annotators.catalog import ALIASES, ANNOTATORS

    return open_parameters(annotator_class(kind)) if kind in ANNOTATORS or kind in ALIASES else []
