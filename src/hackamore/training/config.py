"""From TOML and options to a stage: one object that knows everything a run was told."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from hackamore.core.errors import HackamoreError
from hackamore.core.section import Section, setting
from hackamore.training.control_stage import USUAL, ControlStage, usual_precision
from hackamore.training.stages import AutoencoderStage, BaseStage, DistilStage, InspectorStage, ReaderStage

OPTIONS = {"data": "--data PAIRS", "kind": "--kind KIND", "output": "--out FOLDER"}
"""What a control's training must be told, as options."""

Stage = AutoencoderStage | BaseStage | ControlStage | DistilStage | InspectorStage | ReaderStage
_ADAPTER: TypeAdapter[Stage] = TypeAdapter(Annotated[Stage, Field(discriminator="stage")])


def read_stage(path: Path | str | None = None, told: Mapping[str, Any] | None = None) -> Any:
    """The stage that a TOML file describes; without one, the training of a control.

    ``told`` wins over the file: dotted names (``run.steps``, ``data.path``) → values; those that are None are left
    out. Raises :class:`HackamoreError` naming the field that is wrong.
    """
    tables = {} if path is None else _read(Path(path))
    where = "the options" if path is None else str(path)
    for name, value in (told or {}).items():
        if value is not None:
            _put(tables, name, value, where)
    return stage_from(tables, where)


def stage_from(tables: Mapping[str, Any], where: str) -> Any:
    """The stage that ``tables`` describe; ``where`` they come from is told in errors."""
    try:
        return _ADAPTER.validate_python({"stage": "control", **tables})
    except ValidationError as error:
        raise _sentence(error, where) from error


def option(text: str) -> tuple[str, Any]:
    """``section.name=value`` → the name and the value, read as TOML where it is that, else as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise HackamoreError("a setting is not understood", received=text, expected="section.name=value")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _put(tables: dict[str, Any], name: str, value: Any, where: str) -> None:
    *sections, last = name.split(".")
    table = tables
    for section in sections:
        inner = table.setdefault(section, {})
        if section == "data" and isinstance(inner, str):
            inner = {"path": inner}
        if not isinstance(inner, dict):
            raise HackamoreError(
                f"{where}: {section} is not a table", received=inner, expected=setting(f"{section}.NAME", "VALUE")
            )
        table[section] = inner
        table = inner
    if last == "data" and isinstance(table.get("data"), dict):
        table["data"] = {**table["data"], "path": str(value)}
        return
    table[last] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        what = f"no such file: {path}" if isinstance(error, FileNotFoundError) else f"{path} cannot be read"
        raise HackamoreError(what, expected="a training configuration (TOML)") from error
    except UnicodeDecodeError as error:
        raise HackamoreError(f"{path} is not TOML", received="bytes that are no text") from error
    except tomllib.TOMLDecodeError as error:
        raise HackamoreError(f"{path} is not TOML", received=str(error)) from error


def known_settings() -> Iterator[tuple[str, Any, str]]:
    """Name, default (None where it must be told or depends) and meaning of all that a control's training knows."""
    usual = {**USUAL, "lr": None, "precision": usual_precision()}  # lr: by the width of the base
    for name, field in ControlStage.model_fields.items():
        table = field.annotation
        if name == "stage":
            continue
        if not (isinstance(table, type) and issubclass(table, Section)):
            yield name, None if field.is_required() else field.default, field.description or ""
            continue
        for own, inner in table.model_fields.items():
            default = usual.get(own) if name == "run" and own in usual else inner.get_default(call_default_factory=True)
            meanings = [inner.description or "", _choices(inner.annotation)]
            yield f"{name}.{own}", None if default is PydanticUndefined else default, "; ".join(filter(None, meanings))


def _choices(annotation: Any) -> str:
    """What a setting may be, where that is one of a few words."""
    for one in (annotation, *get_args(annotation)):
        if get_origin(one) is Literal:
            return " | ".join(map(str, get_args(one)))
    return ""


def _sentence(error: ValidationError, where: str) -> HackamoreError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]][len(first["loc"]) > 1 :]  # without the stage, which comes first
    name = ".".join(place)
    if first["type"] == "missing":
        absent = [e["loc"][-1] for e in error.errors() if e["type"] == "missing"]
        options = [OPTIONS[str(one)] for one in absent if one in OPTIONS]
        told = " and ".join(str(one) for one in absent)
        are = "are" if len(absent) > 1 else "is"
        return HackamoreError(f"{where}: {told} {are} missing", remedy=" ".join(options) or None)
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, [known for known, _, _ in known_settings()], n=2, cutoff=0.6)
        expected = f"did you mean {' or '.join(near)}?" if near else "see hackamore train --settings"
        return HackamoreError(f"{where}: there is no setting {name}", received=first.get("input"), expected=expected)
    return HackamoreError(f"{where}: {name}: {first['msg']}", received=first.get("input"))
