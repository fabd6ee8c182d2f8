"""The tensors that a control must have, and the error that names those that it has not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hackamore.core.errors import HackamoreError

SHOWN = 3
"""How many names an error shows."""

STRANGE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError)
"""What code raises that meets a scalar in place of a matrix, or a word in place of a number."""
SIZES = ("shape", "size", "dimension")
"""Words of the errors that torch raises of a shape; its others are no fault of the file."""


@contextmanager
def strangeness_told(source: Path | str) -> Iterator[None]:
    """Turn what breaks on strange tensors or settings of the file ``source`` into one :class:`HackamoreError`."""
    try:
        yield
    except HackamoreError:
        raise
    except (*STRANGE, RuntimeError) as error:
        memory = isinstance(error, torch.OutOfMemoryError)
        if not isinstance(error, STRANGE) and (memory or not any(word in str(error) for word in SIZES)):
            raise
        raise HackamoreError(
            f"{source} has tensors or settings of a shape that no such control has",
            received=f"{type(error).__name__}: {error}",
            expected="the tensors and the config.json of a control as it was published or trained",
        ) from error


def check_keys(source: Path | str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise :class:`HackamoreError` naming missing, unexpected or wrongly shaped tensors.

    ``expected`` and ``found``: key → tensor, parameter or shape.
    """
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    shapes = sorted(
        f"{key} {_shape(found[key])} for {_shape(expected[key])}"
        for key in expected.keys() & found.keys()
        if _shape(found[key]) != _shape(expected[key])
    )
    for words, names in (("lacks", missing), ("has unexpected", extra), ("has wrong shapes:", shapes)):
        if names:
            raise HackamoreError(
                f"{source} {words} {len(names)} tensors: {listed(names)}",
                expected="exactly the tensors of a control of its kind for this base",
            )


def listed(names: Iterable[str]) -> str:
    """The first few of ``names``, and whether there are more."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", value))
