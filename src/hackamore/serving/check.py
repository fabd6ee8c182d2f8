"""What a request must be before it is accepted, and the keywords of :func:`generate` that it stands for."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from hackamore.controls.spec import ControlSpec
from hackamore.core.effort import fast_of
from hackamore.core.errors import HackamoreError, unknown_name
from hackamore.core.image import Size, resize
from hackamore.serving.pictures import read_picture
from hackamore.serving.request import Request, UnitRequest
from hackamore.serving.settings import Limits

if TYPE_CHECKING:
    from hackamore.serving.models import Models

MOST_SEED = 2**32
"""Seeds that are drawn are below it, so that every client can hold them."""


def check_request(request: Request, models: Models) -> Request:
    """The request with base, seed and defaults filled in, checked; see :meth:`Models.check`."""
    from hackamore.generate.plan import check

    limits, base_name = models.settings.limits, models.known.base(request.base).name
    check_limits(request, limits)
    base = models.ready(base_name)
    filled = _filled(request, base_name, base)
    if base is None:
        for unit in filled.controls:
            _check_unit(unit, base_name, models)
        _read_start(filled, limits)
        return filled
    told = keywords(filled, base, limits)
    check(base, [told.pop("prompt")] * told.pop("num"), **told)
    for unit in filled.controls:
        _check_unit(unit, base_name, models, base, told, filled.num)
    return filled


def _check_unit(
    unit: UnitRequest, base_name: str, models: Models, base: Any = None, told: Any = None, num: int = 1
) -> None:
    """Raise for a unit that cannot be applied. One at a time: the pixels of all of them would fill the memory."""
    from hackamore.generate.plan import steps_of
    from hackamore.serving.units import check_heard, known_control, spec_of

    spec = spec_of(unit, models.settings.limits)
    name = known_control(unit, base_name, models.known).name
    if base is not None:
        check_heard(unit, steps_of(base, **told))
        _check_control(spec, models.ready_control(name, base_name), base, told["size"], num)


def check_limits(request: Request, limits: Limits) -> None:
    """Raise :class:`HackamoreError` for more than the operator allows to one request."""
    from hackamore.sampling.schedulers import NAMES

    told = {"pictures": request.num, "steps": request.steps, "units": len(request.controls)}
    for name, received in told.items():
        if received > (most := getattr(limits, name)):
            raise HackamoreError(f"too many {name}", received=received, expected=f"at most {most}")
    if request.size is not None:
        _check_pixels(request.size, limits)
    if request.scheduler is not None and request.scheduler not in NAMES:
        raise unknown_name("scheduler", request.scheduler, list(NAMES))


def keywords(request: Request, base: Any, limits: Limits) -> dict[str, Any]:
    """The keywords of :func:`generate` for a request, its controls aside; raises for pictures that cannot be read."""
    size = request.size or base.size
    _check_pixels(size, limits)
    pictures = {
        name: None if picture is None else resize(picture, size, request.resize)
        for name, picture in _read_start(request, limits).items()
    }
    return {
        "prompt": request.prompt,
        "negative": request.negative,
        "seed": secrets.randbelow(MOST_SEED) if request.seed is None else request.seed,
        "num": request.num,
        "size": size,
        "steps": request.steps,
        "guidance": request.guidance,
        "scheduler": request.scheduler,
        "fast": request.fast,
        "strength": request.strength,
        **pictures,
    }


def _filled(request: Request, base_name: str, base: Any) -> Request:
    told: dict[str, Any] = {"base": base_name}
    if request.seed is None:
        told["seed"] = secrets.randbelow(MOST_SEED)
    for name in ("size", "guidance"):
        if base is not None and getattr(request, name) is None:
            told[name] = getattr(base, name)
    if base is not None and request.scheduler is None:
        from hackamore.generate.plan import usual_scheduler

        told["scheduler"] = usual_scheduler(base, fast_of(request.fast))
    return request.model_copy(update=told)


def _read_start(request: Request, limits: Limits) -> dict[str, Any]:
    named = {"init": ("the start picture", request.init), "mask": ("the mask", request.mask)}
    return {
        key: None if text is None else read_picture(text, limits.source_pixels, name)
        for key, (name, text) in named.items()
    }


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if min(size) < 1 or width * height > limits.pixels:
        raise HackamoreError(
            "the size is out of range", received=f"{width}×{height}", expected=f"at most {limits.pixels:,} pixels"
        )


def _check_control(spec: ControlSpec, control: Any, base: Any, size: Size, pictures: int) -> None:
    """Raise for what a control that is here already does not take: its unit is made, on a blank hint."""
    from hackamore.controls.place import check_unit
    from hackamore.generate.asked import check_kind, check_options, make_unit

    if control is None:
        return
    check_options(spec, control)
    check_kind(spec, control)
    unit = make_unit(spec, [np.zeros((size[1], size[0], 3), np.uint8)], control, size)
    check_unit(unit, base, size, pictures)
