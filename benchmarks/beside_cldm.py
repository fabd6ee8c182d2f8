"""Beside the original code: a checkout of lllyasviel/ControlNet and ours, on the same random weights.

Its ControlNet and controlled U-Net are made at a quarter of the width with random weights. We load the control from its
own state dict, and convert; compared are the thirteen residuals and the controlled prediction, in fp32. Then it loads
the file that ``convert --to cldm`` wrote. Its imports that only training needs are replaced by empty modules; einops
must be installed.

python benchmarks/beside_cldm.py --cldm CHECKOUT
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from hackamore.bases.base import Text
from hackamore.bases.catalog import load_base
from hackamore.bases.unet import UNetBase
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.convert import write_control
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.unet import names_of
from hackamore.core.residuals import Residuals

UNUSED = {
    "torchvision": (), "torchvision.utils": ("make_grid",), "ldm.models.diffusion.ddim": ("DDIMSampler",),
    "ldm.models.diffusion.ddpm": ("LatentDiffusion",), "omegaconf": (), "omegaconf.listconfig": ("ListConfig",),
}  # fmt: skip
"""What the original imports for training and sampling alone."""
FAMILIES = {"sd1": (768, {"num_heads": 8}, 8), "sd2": (1024, {"num_head_channels": 64}, None)}
WIDTH, MULT = 64, (1, 2, 4, 4)


def originals(family: str):
    """The original ControlNet and U-Net, narrow, with random weights in every layer."""
    from cldm.cldm import ControlledUnetModel, ControlNet

    context, heads, _ = FAMILIES[family]
    told = {
        "image_size": 32, "in_channels": 4, "model_channels": WIDTH, "num_res_blocks": 2, "channel_mult": MULT,
        "attention_resolutions": [4, 2, 1], "use_spatial_transformer": True, "transformer_depth": 1,
        "context_dim": context, "use_checkpoint": False, "legacy": False, "use_linear_in_transformer": family == "sd2",
    } | heads  # fmt: skip
    torch.manual_seed(0)
    pair = ControlNet(hint_channels=3, **told), ControlledUnetModel(out_channels=4, **told)
    for network in pair:
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05) if not parameter.any() else None
    return [network.eval().requires_grad_(False) for network in pair]


def our_base(unet, family: str) -> UNetBase:
    """The original's U-Net as a base of ours; the parts that are not compared are Meadow's."""
    context, _, heads = FAMILIES[family]
    widths = [WIDTH * factor for factor in MULT]
    config = {
        "block_out_channels": widths, "cross_attention_dim": context, "layers_per_block": 2,
        "attention_head_dim": heads or [width // 64 for width in widths], "use_linear_projection": family == "sd2",
    }  # fmt: skip
    ours = UNet2DConditionModel(**config)
    keys = {f"model.diffusion_model.{key}": value for key, value in unet.state_dict().items()}
    ours.load_state_dict(convert_ldm_unet_checkpoint(keys, dict(ours.config)))
    meadow = load_base("meadow", device="cpu", dtype="fp32")
    return UNetBase(family, ours, meadow.vae, meadow.text_encoder, meadow.tokenizer, meadow.scheduler_config)


def beside(family: str, folder: Path) -> dict[str, float]:
    """The largest differences of residuals, of the prediction, and after a round through what we write."""
    control, unet = originals(family)
    base = our_base(unet, family)
    path = folder / f"{family}.pth"
    torch.save({"state_dict": {f"control_model.{key}": value for key, value in control.state_dict().items()}}, path)
    branch = load_control(path, base)
    x, hint, t = torch.randn(2, 4, 16, 16), torch.rand(2, 3, 128, 128), torch.tensor([300, 700])
    text = torch.randn(2, 77, FAMILIES[family][0])
    theirs = control(x=x, hint=hint, timesteps=t, context=text)
    ours = branch.residuals(x, t, Text(text), branch.prepare(hint))
    made = unet(x=x, timesteps=t, context=text, control=[part.clone() for part in theirs])
    free = unet(x=x, timesteps=t, context=text, control=None)
    predicted = base.predict(x, t, Text(text), Residuals(ours.skips, ours.mid))
    file = open_control(path)
    values = {name: file.tensors(key)[key] for name, key in names_of(file).items()}
    written = write_control(values, folder / f"{family}.safetensors", "cldm", {}, {}, title=family)
    back = open_control(written).tensors()
    control.load_state_dict({key.removeprefix("control_model."): value.clone() for key, value in back.items()})
    again = control(x=x, hint=hint, timesteps=t, context=text)
    return {
        "residuals": max(float((a - b).abs().max()) for a, b in zip((*ours.skips, ours.mid), theirs, strict=True)),
        "prediction": float((predicted - made).abs().max()),
        "effect of the control": float((made - free).abs().max()),
        "file of ours, read by it": max(float((a - b).abs().max()) for a, b in zip(again, theirs, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cldm", type=Path, required=True, help="a checkout of lllyasviel/ControlNet")
    sys.path.insert(0, str(parser.parse_args().cldm))
    for name, attributes in UNUSED.items():
        sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(sys.modules[name], attribute, type(attribute, (), {}))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for family in FAMILIES:
            print(family, {name: f"{value:.1e}" for name, value in beside(family, Path(folder)).items()})


if __name__ == "__main__":
    main()
