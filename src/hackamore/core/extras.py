"""Optional dependencies: a missing one names the line that installs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hackamore.core.errors import HackamoreError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import ``module`` for ``purpose``; where it is missing, raise an error that says how to install ``extra``."""
    try:
        return import_module(module)
    except ImportError as error:
        raise HackamoreError(
            f"{purpose} needs the package {module.partition('.')[0]}, which is not installed",
            remedy=f'pip install "hackamore[{extra}]"',
        ) from error
