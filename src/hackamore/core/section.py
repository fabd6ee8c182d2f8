"""Settings: tables of names and values that are checked once."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration; a name that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def setting(name: str, value: Any) -> str:
    """How ``section.name`` is set to ``value``, for a remedy: as an option, and in a configuration."""
    section, _, own = name.partition(".")
    told = json.dumps(value, ensure_ascii=False)
    return f"--set {name}={value if isinstance(value, str) else told} (or {own} = {told} under [{section}])"
