"""Settings: tables of names and values that are checked once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration; a name that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
