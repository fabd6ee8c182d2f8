"""One decorator for every compiled function, so that type checkers keep seeing the plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` with numba on its first call; the machine code is cached beside the source.

    A cached function is compiled anew when its own file changes, but not when a file changes that it calls into:
    after such a change delete every ``__pycache__`` below ``worlds``. Fast mathematics is on: compiled functions must
    neither receive nor make infinities and NaNs.
    """
    decorate = numba.njit(fastmath=True, cache=True, nogil=True, error_model="numpy")
    return cast("Callable[P, R]", decorate(function))
