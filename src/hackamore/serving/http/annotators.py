"""Annotators as clients may use them: parameters that name files of the server are not theirs to tell."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from hackamore.annotators.catalog import ANNOTATORS, annotator_class, make_annotator
from hackamore.annotators.pose import PeopleAnnotator
from hackamore.core.errors import HackamoreError
from hackamore.core.palette import COLOURS
from hackamore.serving.http.replies import AnnotatorReply, ParameterReply
from hackamore.serving.parameters import check_usable, open_parameters

SIDE = 64
"""Pixels of the picture that each is tried on."""
TYPES: dict[str, Any] = {"boolean": "boolean", "integer": "integer", "number": "number", "string": "text"}


class Listing:
    """Every annotator, its parameters, and whether it works here: each is tried once, when the list is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: list[AnnotatorReply] | None = None

    def __call__(self) -> list[AnnotatorReply]:
        """The list, in the catalogue's order."""
        with self._lock:
            if self._told is None:
                self._told = [described(kind) for kind in ANNOTATORS]
            return self._told


def described(kind: str) -> AnnotatorReply:
    """The annotator ``kind`` as clients are told of it."""
    chosen = annotator_class(kind)
    reason = why_not(kind)
    schema = chosen.model_json_schema()
    properties, shared = schema.get("properties", {}), schema.get("$defs", {})
    return AnnotatorReply(
        kind=kind,
        meaning=(chosen.__doc__ or "").splitlines()[0],
        usable=reason is None,
        reason=reason,
        people=issubclass(chosen, PeopleAnnotator),
        parameters=[_parameter(name, properties[name], shared) for name in open_parameters(chosen)],
    )


def why_not(kind: str) -> str | None:
    """Why an annotator does not work here for clients; None where it does. It is tried on a small picture."""
    if kind == "pose_json":
        return None
    if kind == "inpaint":
        return "it hides what a mask says: a unit of this kind takes one"
    picture = np.repeat(np.repeat(COLOURS[[[0], [4]]], SIDE // 2, 0), SIDE, 1)
    try:
        check_usable(kind, given=False)
        make_annotator(kind)(picture)
    except HackamoreError as error:
        return str(error.received) if error.what.endswith("on this server") else error.what
    except ImportError as error:
        return f"it needs the package {error.name}"
    return None


def _parameter(name: str, schema: dict[str, Any], shared: dict[str, Any]) -> ParameterReply:
    """A parameter, from its JSON schema; of alternatives the first that is not null."""
    forms = [_resolved(form, shared) for form in schema.get("anyOf", [schema])]
    form = next((one for one in forms if one.get("type") != "null"), forms[0])
    choices = [value for one in forms for value in (one.get("enum") or ([one["const"]] if "const" in one else []))]
    if choices and any(one.get("type") == "boolean" for one in forms):
        choices += [True, False]
    return ParameterReply(
        name=name,
        type="choice" if choices else TYPES.get(form.get("type", ""), "text"),
        default=schema.get("default"),
        minimum=form.get("minimum", form.get("exclusiveMinimum")),
        maximum=form.get("maximum", form.get("exclusiveMaximum")),
        choices=choices or None,
        optional=any(one.get("type") == "null" for one in forms),
        meaning=schema.get("description", ""),
    )


def _resolved(form: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shared[form["$ref"].rpartition("/")[2]] if "$ref" in form else form
    return found
