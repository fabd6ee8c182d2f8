"""What a request must be before it is accepted."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from hackamore.core.errors import HackamoreError
from hackamore.serving.request import Request

if TYPE_CHECKING:
    from hackamore.serving.models import Models

MOST_SEED = 2**32
"""Seeds that are drawn are below it, so that every client can hold them."""


def check_request(request: Request, models: Models) -> Request:
    """The request with base, seed and defaults filled in, checked; see :meth:`Models.check`."""
    base = models.known.base(request.base).name
    _check_limits(request, models)
    seed = secrets.randbelow(MOST_SEED) if request.seed is None else request.seed
    return request.model_copy(update={"base": base, "seed": seed})


def _check_limits(request: Request, models: Models) -> None:
    limits = models.settings.limits
    told = {"pictures": request.num, "steps": request.steps, "units": len(request.controls)}
    for name, received in told.items():
        if received > (most := getattr(limits, name)):
            raise HackamoreError(f"too many {name}", received=received, expected=f"at most {most}")
