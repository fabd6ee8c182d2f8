"""What a U-Net predicts, noise or velocity (Salimans & Ho 2022), which no key of a single file tells."""

from __future__ import annotations

from typing import Any

import torch

from hackamore.bases import published
from hackamore.core.weights import WeightsFile

PREDICTIONS = ("epsilon", "v_prediction")
EPSILON_STEP = 875_000
"""The step at which SD 2.1-base, which predicts noise, was saved."""
VELOCITY_MEAN = -1.0
"""Below this mean, prediction minus input at the last timestep, a U-Net of SD 2.x predicts velocity."""


def schedule_of(file: WeightsFile, family: str, asked: str | None, unet: Any) -> dict[str, Any]:
    """The noise schedule; SD 2.x that predicts velocity was also trained on larger pictures."""
    prediction = asked or told_prediction(file, family) or ("epsilon" if family != "sd2" else measured_prediction(unet))
    if family == "sd2" and prediction == "v_prediction":
        unet.register_to_config(sample_size=published.SIZES["sd2-v"] // 8)
    config: dict[str, Any] = published.scheduler_config(family, prediction=prediction, zero_end="ztsnr" in file.shapes)
    return config


def told_prediction(file: WeightsFile, family: str) -> str | None:
    """What a file itself says that it predicts: in its header, by a mark, or by its training step; else None.

    The header is that of the model specification (``modelspec.prediction_type``), the mark the key ``v_pred``.
    """
    told = str(file.metadata.get("modelspec.prediction_type", "")).lower()
    if told in ("epsilon", "v", "v_prediction"):
        return "epsilon" if told == "epsilon" else "v_prediction"
    if "v_pred" in file.shapes:
        return "v_prediction"
    if family == "sd2" and file.told.get("global_step") == EPSILON_STEP:
        return "epsilon"
    return None


@torch.no_grad()
def measured_prediction(unet: Any) -> str:
    """What a U-Net of SD 2.x predicts, told by one step on grey latents at the last timestep.

    Where it predicts noise its output is near its input; where it predicts velocity it lies far below.
    """
    where: dict[str, Any] = {"device": unet.device, "dtype": unet.dtype}
    x = torch.full((1, unet.config.in_channels, 8, 8), 0.5, **where)
    text = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, **where)
    made = unet(x, torch.tensor(999, device=unet.device), encoder_hidden_states=text).sample
    return "v_prediction" if float((made - x).float().mean()) < VELOCITY_MEAN else "epsilon"
