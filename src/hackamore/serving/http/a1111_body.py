"""What clients of the WebUI send: the fields of its two generating routes, and which of them are not done here."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hackamore.core.errors import HackamoreError
from hackamore.serving.request import LONGEST_PROMPT

Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=LONGEST_PROMPT)]
Name = Annotated[str, Field(max_length=300)]
Picture = str
Blur = Annotated[Number | None, Field(ge=0, le=64)]


class Body(BaseModel):
    """Fields of ``/sdapi/v1/txt2img``; null is a field's default. What this server does not do is refused by name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text | None = ""
    negative_prompt: Text | None = ""
    seed: int | None = Field(-1, description="-1: drawn by the server")
    batch_size: int | None = Field(1, ge=1, le=1000)
    n_iter: int | None = Field(1, ge=1, le=1000)
    steps: int | None = Field(None, description="20 where none is told")
    cfg_scale: Number | None = Field(None, description="the base's own where none is told")
    width: int | None = Field(None, description="the base's own where none is told")
    height: int | None = None
    sampler_name: Name | None = Field(None, examples=["Euler a"])
    sampler_index: Name | None = Field(None, description="old name of sampler_name")
    scheduler: Name | None = Field(None, examples=["Karras"])
    denoising_strength: Number | None = Field(None, description="share of the steps that run on the start picture")
    eta: Number | None = None
    override_settings: dict[str, Any] | None = Field(None, description="sd_model_checkpoint chooses the base")
    override_settings_restore_afterwards: bool | None = True
    alwayson_scripts: dict[str, Any] | None = Field(
        None, description="controlnet: {args: [unit, …]}; other scripts are refused"
    )
    send_images: bool | None = True


class ImageBody(Body):
    """Fields of ``/sdapi/v1/img2img``: those of txt2img, and a start picture."""

    init_images: list[Picture] | None = Field(None, description="one picture, base64")
    resize_mode: int | None = Field(0, description="0 stretches, 1 crops, 2 fills; 3 is refused")
    mask: Picture | None = Field(None, description="white where the picture is painted anew, base64")
    mask_blur: Blur = Field(None, description="both of those below, where it is told")
    mask_blur_x: Blur = 4
    mask_blur_y: Blur = 4
    inpainting_fill: int | None = Field(0, description="0 fill, 1 original, 2 latent noise (at strength 1)")
    inpaint_full_res: bool | int | None = Field(True, description="paint at full size what is masked, and paste it")
    inpaint_full_res_padding: int | None = Field(0, ge=0, le=2048)
    inpainting_mask_invert: int | None = Field(0, ge=0, le=1)
    include_init_images: bool | None = False


_NOTHING: tuple[Any, ...] = (None, "", "None", "none", 0, -1, False, [], {})
IGNORED = (
    "do_not_save_samples", "do_not_save_grid", "save_images", "force_task_id", "subseed", "script_args",
    "image_cfg_scale", "comments", "disable_extra_networks", "do_not_reload_embeddings", "refiner_switch_at",
    "s_tmin", "s_tmax", "seed_enable_extras",
)  # fmt: skip
"""Fields that change no picture here, whatever they hold."""
_OFF: dict[str, tuple[Any, ...]] = {
    "s_noise": (None, 1),
    "initial_noise_multiplier": (None, 1),
    "clip_skip": (None, 0, 1),
    "mask_round": (None, True),
    "distilled_cfg_scale": (None, 3.5),
    "ddim_discretize": (None, "uniform"),
}
"""What a field may hold, where that is something else than nothing."""
_REMEDIES = {
    "enable_hr": "ask for the larger size itself, or make it in two requests",
    "styles": "write the style into the prompt",
    "subseed_strength": "another seed",
    "controlnet_units": "alwayson_scripts: {controlnet: {args: [unit]}}",
    "infotext": "the fields themselves",
    "sd_model_checkpoint": "override_settings: {sd_model_checkpoint: …}",
    "clip_skip": "leave it out; the base reads its own layer",
}


def refuse_unknown(extra: dict[str, Any] | None) -> None:
    """Raise :class:`HackamoreError` for a field that would change the picture in a way that is not done here."""
    for name, value in (extra or {}).items():
        if name in IGNORED or name.startswith("hr_"):  # of hires fix, which enable_hr turns on
            continue
        if not is_off(value, _OFF.get(name, _NOTHING)):
            raise HackamoreError(
                f"the field {name[:100]} is not done by this server",
                received=shown(value),
                expected="its default, or no such field",
                remedy=_REMEDIES.get(name),
            )


def refuse_others(body: BaseModel, place: str, ignored: Container[str] = ()) -> None:
    """Raise :class:`HackamoreError` for a field that ``body`` does not know, and that asks for something."""
    for name, value in (body.model_extra or {}).items():
        if name not in ignored and not is_off(value, _NOTHING):
            raise HackamoreError(
                f"{place}the field {name[:100]} is not known here", received=shown(value),
                expected=", ".join(type(body).model_fields),
            )  # fmt: skip


_SETTINGS: dict[str, tuple[Any, ...]] = {
    "sd_vae": (None, "", "None", "Automatic"),
    "CLIP_stop_at_last_layers": (None, 0, 1),
    "eta_noise_seed_delta": (None, 0),
    "randn_source": (None, "CPU"),
    "samples_format": (None, "png"),
    "forge_additional_modules": (None, []),
}
_SETTINGS_IGNORED = (
    "save_images_add_number", "samples_save", "grid_save", "return_grid", "do_not_show_images", "enable_pnginfo",
    "save_txt", "live_previews_enable", "show_progress_every_n_steps", "show_progress_type",
)  # fmt: skip


def refuse_settings(settings: dict[str, Any]) -> None:
    """Raise :class:`HackamoreError` for an option of the WebUI that is not followed here, the model's aside."""
    for name, value in settings.items():
        if name in ("sd_model_checkpoint", "sd_checkpoint_hash") or name in _SETTINGS_IGNORED:
            continue
        if not is_off(value, _SETTINGS.get(name, _NOTHING)):
            expected = "sd_model_checkpoint" + (
                f", or {name} as one of {', '.join(str(one) for one in _SETTINGS[name] if one not in (None, ''))}"
                if name in _SETTINGS
                else ""
            )
            raise HackamoreError(
                f"the option {name[:100]} is not followed by this server", received=shown(value), expected=expected
            )


def is_off(value: Any, offs: tuple[Any, ...]) -> bool:
    """Whether ``value`` is one of ``offs``; a flag that is set is no number 1."""
    return any(value == off and (value is not True or off is True) for off in offs)


def shown(value: Any) -> str:
    """A value in an error: short, and no picture."""
    if isinstance(value, list | dict):
        return f"{len(value)} values" if value else "nothing"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
