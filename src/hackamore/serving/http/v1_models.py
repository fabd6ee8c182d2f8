"""The routes of bases and controls, and everything a page needs to know about the server."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, get_args

from fastapi import APIRouter, Path

from hackamore.core import skeleton
from hackamore.core.effort import LEVELS
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.image import ResizeMode
from hackamore.core.palette import PALETTES, WORLDS, Palette
from hackamore.sampling.schedulers import NAMES, is_flow
from hackamore.serving.http.errors import Refused
from hackamore.serving.http.replies import (
    BaseInfo,
    ControlInfo,
    FastInfo,
    Info,
    Limb,
    ModelList,
    ModelReply,
    PoseInfo,
    Swatch,
    errors,
)
from hackamore.serving.request import Request, UnitRequest

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.settings import ServeSettings

Named = Annotated[str, Path(description="the model's name; slashes stand as they are", examples=["meadow/canny"])]


def router(engine: Engine, models: Models, settings: ServeSettings) -> APIRouter:
    """``/v1/models`` and ``/v1/info``."""
    routes = APIRouter(prefix="/v1", tags=["models"])
    created = int(time.time())

    def reply(offer: dict[str, Any]) -> ModelReply:
        return ModelReply(id=offer["name"], created=created, **{k: v for k, v in offer.items() if k != "name"})

    @routes.get("/models", summary="Bases and controls on offer")
    def listed() -> ModelList:
        """In the form of OpenAI's list, with what we know beside."""
        return ModelList(data=[reply(offer) for offer in models.offers()])

    @routes.post("/models/{name:path}/load", summary="Load a base or a control now")
    def load(name: Named) -> ModelReply:
        """What it is once it is loaded; others that are not in use may have to go for it."""
        _known(models, name)
        return reply(models.load(name))

    @routes.post("/models/{name:path}/unload", summary="Let go of a base or a control", responses=errors(409))
    def unload(name: Named) -> ModelReply:
        """A base goes with its controls. What is in use stays, and that is an error."""
        _known(models, name)
        return reply(models.unload(name))

    @routes.get("/models/{name:path}", summary="A base or a control")
    def one(name: Named) -> ModelReply:
        """As the list tells it."""
        _known(models, name)
        return reply(next(offer for offer in models.offers() if offer["name"] == name))

    @routes.get("/info", summary="Limits, bases, controls, palettes, skeleton, memory", tags=["server"])
    def info() -> Info:
        """Everything a page needs, in no human language but the names."""
        return make_info(engine, models, settings)

    return routes


def make_info(engine: Engine, models: Models, settings: ServeSettings) -> Info:
    """What ``/v1/info`` tells."""
    offers = models.offers()
    bases = [offer for offer in offers if offer["type"] == "base"]
    return Info(
        version=version("hackamore"),
        limits=settings.limits,
        bases=[_base(models, offer) for offer in bases],
        controls={
            base["name"]: [
                ControlInfo(name=one["name"], kind=one["kind"], loaded=one["loaded"])
                for one in offers
                if one["base"] == base["name"]
            ]
            for base in bases
        },
        palette=_swatches(WORLDS),
        palettes={name: _swatches(palette) for name, palette in PALETTES.items()},
        pose=_pose(),
        modes=list(get_args(UnitRequest.model_fields["mode"].annotation)),
        fast={level: FastInfo(steps=one.steps, scheduler=one.scheduler) for level, one in LEVELS.items()},
        resizes=list(get_args(ResizeMode)),
        devices=sorted(engine.workers()),
        memory=models.memory(),
        jobs=engine.counts(),
    )


def _base(models: Models, offer: dict[str, Any]) -> BaseInfo:
    base = models.loaded_base(offer["name"])
    flow = base is not None and is_flow(base.scheduler_config)
    return BaseInfo(
        name=offer["name"],
        loaded=offer["loaded"],
        size=None if base is None else base.size,
        multiple=None if base is None else getattr(base, "multiple", None),
        steps=Request.model_fields["steps"].default,
        guidance=None if base is None else base.guidance,
        scheduler=None if base is None else base.scheduler,
        schedulers=["euler"] if flow else list(NAMES),
    )


def _known(models: Models, name: str) -> None:
    try:
        models.known.any(name)
    except WorkFailed:
        raise
    except HackamoreError as error:
        raise Refused(404, error.what, expected=error.expected) from error


def _swatches(palette: Palette) -> list[Swatch]:
    return [
        Swatch(name=name, colour=_colour(colour))
        for name, colour in zip(palette.names, palette.colours.tolist(), strict=True)
    ]


def _pose() -> PoseInfo:
    colours = skeleton.COLOURS.tolist()
    return PoseInfo(
        joints=[Swatch(name=name, colour=_colour(colours[k])) for k, name in enumerate(skeleton.JOINTS)],
        limbs=[Limb(joints=limb, colour=_colour(colours[k])) for k, limb in enumerate(skeleton.LIMBS)],
        mirrored=list(skeleton.MIRRORED),
    )


def _colour(colour: list[int]) -> tuple[int, int, int]:
    red, green, blue = colour
    return red, green, blue
