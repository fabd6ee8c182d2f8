"""What a client of the WebUI asks for → a request of ours; what cannot be done is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hackamore.core.errors import HackamoreError
from hackamore.core.image import Size
from hackamore.serving.http.a1111_body import Body, ImageBody, refuse_settings, refuse_unknown, shown
from hackamore.serving.http.a1111_names import Offered, base_named
from hackamore.serving.http.a1111_paint import Painted, Region, paint
from hackamore.serving.http.a1111_samplers import SAMPLERS, sampler_named
from hackamore.serving.http.a1111_unit import Surroundings
from hackamore.serving.http.a1111_units import UnitAsked, units_asked
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits

STEPS = 20
STRENGTH = 0.75
_RESIZE = {0: "stretch", 1: "crop", 2: "fill"}
PAGES = ("sampler", "seed")
"""Scripts by which the WebUI's page sets fields; its API does not read them."""
_NAMES = {
    "guidance": "cfg_scale", "num": "batch_size × n_iter", "negative": "negative_prompt",
    "strength": "denoising_strength",
}  # fmt: skip
"""Fields of ours, and what a client of the WebUI calls them."""
PREVIEWS = 5
"""So often, in steps, a rough picture is made for ``/progress``."""


@dataclass(frozen=True)
class Asked:
    """A request, and what its answer needs beside the pictures.

    ``maps``: the units whose hints are sent back. ``region``: where the pictures belong, if they are a part only.
    ``sampler``: the WebUI's name of it. ``batch``: pictures of each of its batches.
    """

    request: Request
    maps: tuple[int, ...] = ()
    region: Region | None = None
    notices: tuple[str, ...] = ()
    sampler: str = ""
    batch: int = 1
    send: bool = True


def asked(body: Body, offers: list[Offered], base: str, limits: Limits) -> Asked:
    """The request that a body means; ``base`` is the one that is chosen where the body names none.

    Raises :class:`HackamoreError` for everything that would be left out or done in another way.
    """
    refuse_unknown(body.model_extra)
    settings = body.override_settings or {}
    refuse_settings(settings)
    if checkpoint := settings.get("sd_model_checkpoint") or settings.get("sd_checkpoint_hash"):
        base = base_named(str(checkpoint), offers).name
    label, scheduler = sampler_named(body.sampler_name or body.sampler_index or "Euler", body.scheduler)
    noise = _eta(label, body.eta)
    size = _size(body, limits)
    begun = _begun(body, size, limits) if isinstance(body, ImageBody) else {}
    painted: Painted | None = begun.pop("painted", None)
    around = Surroundings(
        offers, base, limits, size, begun.get("init"), begun.get("mask"), painted.region if painted else None
    )
    units = _units(body.alwayson_scripts or {}, around)
    count = (body.batch_size or 1) * (body.n_iter or 1)
    try:
        request = Request(
            base=base,
            prompt=body.prompt or "",
            negative=body.negative_prompt or "",
            seed=None if body.seed in (None, -1) else body.seed,
            num=count,
            size=size,
            steps=STEPS if body.steps is None else body.steps,
            guidance=body.cfg_scale,
            scheduler=scheduler,
            controls=tuple(one.unit for one in units),
            preview=PREVIEWS,
            **begun,
        )
    except ValidationError as error:
        raise _unfit(error) from error
    told = (
        noise,
        _pages(body.alwayson_scripts or {}),
        painted.notices if painted else (),
        *(one.notices for one in units),
    )
    return Asked(
        request,
        maps=tuple(number for number, one in enumerate(units) if one.show),
        region=painted.region if painted else None,
        notices=tuple(notice for part in told for notice in part),
        sampler=label,
        batch=body.batch_size or 1,
        send=body.send_images is not False,
    )


def _size(body: Body, limits: Limits) -> Size | None:
    if body.width is None and body.height is None:
        return None
    if body.width is None or body.height is None or min(body.width, body.height) < 1:
        received = f"{body.width}×{body.height}"
        raise HackamoreError("the size is not whole", received=received, expected="width and height, above 0")
    if body.width * body.height > limits.pixels:
        received, expected = f"{body.width}×{body.height}", f"at most {limits.pixels:,} pixels"
        raise HackamoreError("the picture is too large", received=received, expected=expected)
    return body.width, body.height


def _eta(label: str, eta: float | None) -> tuple[str, ...]:
    """A notice where the noise on the way is not what was asked; an error where that was asked on purpose."""
    usual = 1.0 if SAMPLERS[label].noisy else 0.0
    if eta is None or eta == usual or (label not in ("Euler a", "DDIM")):
        return ()  # the other samplers read no eta
    if eta == 1.0:  # what the client webuiapi always sends
        return (f"{label} adds no noise on the way here, as with eta 0",)
    raise HackamoreError(f"the eta of {label} is not done by this server", received=eta, expected=f"{usual:g}")


def _begun(body: ImageBody, size: Size | None, limits: Limits) -> dict[str, Any]:
    """The parts of a request that tell what it begins from."""
    pictures = body.init_images or []
    if len(pictures) != 1:
        raise HackamoreError(
            "img2img begins from one picture", received=len(pictures), expected="init_images: [base64]"
        )
    resizing = _RESIZE.get(body.resize_mode or 0)
    if resizing is None:
        raise HackamoreError(
            f"resize_mode {body.resize_mode} is not done by this server",
            expected="0 (just resize), 1 (crop and resize) or 2 (resize and fill)",
        )
    strength = STRENGTH if body.denoising_strength is None else body.denoising_strength
    if not 0 < strength <= 1:
        expected = "above 0, to 1: the share of the steps that run"
        raise HackamoreError("denoising_strength is out of range", received=strength, expected=expected)
    if not body.mask:
        return {"init": pictures[0], "strength": strength, "resize": resizing}
    painted = paint(body, size, resizing, limits)
    return {
        "init": painted.init,
        "mask": painted.mask,
        "strength": strength,
        "resize": resizing,
        "painted": painted,
    }


def _units(scripts: dict[str, Any], around: Surroundings) -> list[UnitAsked]:
    """The units of the one script that is here; another that is switched on is refused by name."""
    units: list[UnitAsked] = []
    for name, told in scripts.items():
        beside = [key for key, value in told.items() if key != "args" and value] if isinstance(told, dict) else []
        if beside:
            raise HackamoreError(
                f"the script {name[:100]} is told more than args", received=beside[0][:100], expected="{args: […]}"
            )
        args = told.get("args", []) if isinstance(told, dict) else told
        if name.lower() == "controlnet":
            units += units_asked(args, around)
        elif name.lower() not in PAGES and not _switched_off(args):
            raise HackamoreError(
                f"the script {name[:100]} is not on this server",
                received=shown(args),
                expected="controlnet alone",
                remedy="leave the script out, or switch it off",
            )
    return units


def _pages(scripts: dict[str, Any]) -> tuple[str, ...]:
    """A notice for each script that says again what the fields say."""
    return tuple(
        f"the script {name} is read by the WebUI's page alone; the fields of the request are followed"
        for name in scripts
        if name.lower() in PAGES
    )


def _switched_off(args: Any) -> bool:
    """Whether a script's arguments say that it does nothing: none at all, or a first that is false."""
    if not args or not isinstance(args, list):
        return not args
    first = args[0]
    if isinstance(first, dict):
        return first.get("enabled", first.get("enable")) is False or not first
    return first in (None, False, "False")


def _unfit(error: ValidationError) -> HackamoreError:
    first = error.errors()[0]
    name = ".".join(_NAMES.get(str(part), str(part)) for part in first["loc"])
    return HackamoreError(f"{name}: {first['msg']}", received=shown(first.get("input")))
