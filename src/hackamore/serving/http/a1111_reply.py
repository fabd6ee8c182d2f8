"""What a client of the WebUI is answered: pictures in base64, and what is told about them in its words."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin
from pydantic import BaseModel

from hackamore.core.image import load_picture
from hackamore.serving.engine import Engine
from hackamore.serving.http.a1111_body import Body
from hackamore.serving.http.a1111_paint import Region
from hackamore.serving.http.a1111_request import Asked
from hackamore.serving.http.results import there
from hackamore.serving.job import Job
from hackamore.serving.pictures import encoded
from hackamore.serving.request import Request


class Generated(BaseModel):
    """Pictures in base64, the hints of the units behind them; ``info`` is JSON in a text, as the WebUI gives it."""

    images: list[str]
    parameters: dict[str, Any]
    info: str
    hackamore: dict[str, Any]


def generated(engine: Engine, job: Job, asked: Asked, body: Body) -> Generated:
    """The answer for a job that is done."""
    request = engine.request(job.id)
    files = [engine.picture(job.id, one.index) for one in job.pictures]
    texts = [there(_text, path) for path in files]
    images = [there(partial(_encoded, region=asked.region), path) for path in files] if asked.send else []
    if asked.send:
        hints = [engine.hint(job.id, number) for number in asked.maps if number < job.hints]
        images += [encoded(there(Path.read_bytes, path)) for path in hints]
    units = [unit.model_dump() for unit in (job.pictures[0].units if job.pictures else ())]
    ours = {
        "job": job.id,
        "units": units,
        "pictures": [one.model_dump() for one in job.pictures],
        "notices": [*asked.notices, *job.notices],
    }
    info = json.dumps(_info(job, request, asked, texts))
    return Generated(images=images, parameters=_echo(body), info=info, hackamore=ours)


def _info(job: Job, request: Request, asked: Asked, texts: list[str]) -> dict[str, Any]:
    seeds = [one.seed for one in job.pictures]
    width, height = (job.pictures[0].width, job.pictures[0].height) if job.pictures else (0, 0)
    return {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * len(seeds),
        "negative_prompt": request.negative,
        "all_negative_prompts": [request.negative] * len(seeds),
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": request.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": width,
        "height": height,
        "sampler_name": asked.sampler,
        "cfg_scale": request.guidance,
        "steps": request.steps,
        "batch_size": asked.batch,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.base,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": request.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": [],
        "job_timestamp": datetime.fromtimestamp(job.created).strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": f"hackamore {version('hackamore')}",
    }


def _echo(body: Body) -> dict[str, Any]:
    """The fields as they were sent, pictures aside."""
    told = {**body.model_dump(), **(body.model_extra or {})}
    if not told.get("include_init_images"):
        told |= {name: None for name in ("init_images", "mask") if name in told}
    told["alwayson_scripts"] = _without_pictures(told.get("alwayson_scripts") or {})
    return told


def _without_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_pictures(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_pictures(one) for one in value]
    return None if isinstance(value, str) and len(value) > 1000 else value


def _text(path: Path) -> str:
    """The ``parameters`` that stand in a picture of ours."""
    with Image.open(path) as picture:
        return str(picture.info.get("parameters", ""))


def _encoded(path: Path, region: Region | None) -> str:
    """A finished picture; pasted where it belongs, if it is a part, with the parameters and without the Recipe."""
    if region is None:
        return encoded(path.read_bytes())
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", _text(path))
    buffer = BytesIO()
    Image.fromarray(region.pasted(load_picture(path))).save(buffer, format="PNG", pnginfo=info)
    return encoded(buffer.getvalue())
