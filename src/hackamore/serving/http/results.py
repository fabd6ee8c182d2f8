"""Reading results, which their age, or who asked for them, may remove at any moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.errors import Refused

Value = TypeVar("Value")


def there(read: Callable[[Path], Value], path: Path) -> Value:
    """What ``read`` makes of a result's file; :class:`Refused` (404) where it was removed meanwhile."""
    try:
        return read(path)
    except (HackamoreError, FileNotFoundError) as error:
        if path.exists():
            raise
        raise Refused(404, "this picture was just removed", remedy="ask for it again") from error
