"""The WebUI's lists: what there is, empty lists of what there is not, and words for what cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from hackamore.core.errors import HackamoreError
from hackamore.serving.http.a1111_names import Offered
from hackamore.serving.http.a1111_samplers import SAMPLERS, SCHEDULES
from hackamore.serving.http.infotext import read_infotext
from hackamore.serving.pictures import FORMATS, decoded, read_picture

if TYPE_CHECKING:
    from hackamore.serving.models import Models

EMPTY = (
    "upscalers", "latent-upscale-modes", "loras", "hypernetworks", "face-restorers", "realesrgan-models",
    "prompt-styles", "sd-vae", "sd-modules", "artist-categories", "artists", "extensions",
)  # fmt: skip
"""Lists of what this server has none of."""
NOT_DONE = (
    "extra-single-image", "extra-batch-images", "interrogate", "create/embedding", "create/hypernetwork",
    "train/embedding", "train/hypernetwork", "server-kill", "server-restart", "server-stop",
    "reload-checkpoint", "unload-checkpoint",
)  # fmt: skip
NOTHING_TO_DO = ("refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings")
SCRIPTS = ["controlnet", "controlnet m2m"]
"""The second is no script here: by its name the client ``webuiapi`` tells that there is ControlNet at all."""


class PngInfo(BaseModel):
    """A picture to look into, base64."""

    image: str


def list_routes(routes: APIRouter, models: Models, offers: Callable[[], list[Offered]]) -> None:
    """Add the routes under ``/sdapi/v1`` that list, and those that refuse."""
    for name in EMPTY:
        _empty(routes, name)
    for name in NOT_DONE:
        _refused(routes, name)
    for name in NOTHING_TO_DO:
        _nothing(routes, name)
    _models(routes, models, offers)
    _names(routes)

    @routes.post("/sdapi/v1/png-info")
    async def png_info(body: PngInfo) -> dict[str, Any]:
        """The generation parameters that stand in a picture."""
        return await run_in_threadpool(_png_info, body.image, models.settings.limits.source_pixels)


def _empty(routes: APIRouter, name: str) -> None:
    @routes.get(f"/sdapi/v1/{name}", name=f"list_{name}")
    async def empty() -> list[Any]:
        """This server has none."""
        return []


def _nothing(routes: APIRouter, name: str) -> None:
    @routes.post(f"/sdapi/v1/{name}", name=name)
    async def nothing() -> None:
        """Nothing to do: what is offered is fixed while the server runs."""


def _refused(routes: APIRouter, name: str) -> None:
    @routes.post(f"/sdapi/v1/{name}", name=name)
    async def refused() -> None:
        """Not done by this server; the answer says so."""
        raise HackamoreError(f"{name} is not done by this server", expected="txt2img, img2img, /controlnet/detect")


def _models(routes: APIRouter, models: Models, offers: Callable[[], list[Offered]]) -> None:
    @routes.get("/sdapi/v1/sd-models")
    async def sd_models() -> list[dict[str, Any]]:
        """The bases; where they lie is not told."""
        return [
            {
                "title": one.title,
                "model_name": one.name,
                "hash": (one.sha256 or "")[:10] or None,
                "sha256": one.sha256,
                "filename": one.name,
                "config": None,
            }
            for one in offers()
            if one.is_base
        ]

    @routes.get("/sdapi/v1/memory")
    async def memory() -> dict[str, Any]:
        """Bytes of bases and controls that are loaded, and the limit."""
        told = models.memory()
        used = int(told["used_mib"] * 2**20)
        total = None if told["limit_mib"] is None else int(told["limit_mib"] * 2**20)
        ram = {"used": used, "total": total, "free": None if total is None else max(0, total - used)}
        return {"ram": ram, "cuda": _cuda()}


def _cuda() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"error": "unavailable"}
    free, total = torch.cuda.mem_get_info()
    return {"system": {"free": free, "used": total - free, "total": total}}


def _names(routes: APIRouter) -> None:
    @routes.get("/sdapi/v1/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """The samplers by the WebUI's names."""
        return [
            {"name": name, "aliases": list(one.aliases), "options": {"scheduler": one.schedules[""]}}
            for name, one in SAMPLERS.items()
        ]

    @routes.get("/sdapi/v1/schedulers")
    async def schedulers() -> list[dict[str, Any]]:
        """The noise schedules."""
        return [
            {"name": name, "label": label, "aliases": None, "default_rho": -1, "need_inner_model": False}
            for name, label in SCHEDULES.items()
        ]

    @routes.get("/sdapi/v1/embeddings")
    async def embeddings() -> dict[str, Any]:
        """There are none."""
        return {"loaded": {}, "skipped": {}}

    @routes.get("/sdapi/v1/scripts")
    async def scripts() -> dict[str, list[str]]:
        """The scripts by name."""
        return {"txt2img": SCRIPTS, "img2img": SCRIPTS}

    @routes.get("/sdapi/v1/script-info")
    async def script_info() -> list[dict[str, Any]]:
        """The one script: ControlNet, always on."""
        return [
            {"name": "controlnet", "is_alwayson": True, "is_img2img": img2img, "args": []} for img2img in (False, True)
        ]

    @routes.get("/sdapi/v1/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        """What the WebUI's command line would have said."""
        return {"api": True, "nowebui": False, "no_half": False, "lowvram": False, "medvram": False}


def _png_info(text: str, most_pixels: int) -> dict[str, Any]:
    read_picture(text, most_pixels, "the picture")
    with Image.open(BytesIO(decoded(text)), formats=FORMATS) as picture:  # read whole above
        info = str(picture.info.get("parameters", ""))
    return {"info": info, "items": {"parameters": info} if info else {}, "parameters": read_infotext(info)}
