"""IP-Adapter: our latents are those of diffusers' pipelines with ``load_ip_adapter``."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.image_processor import IPAdapterMaskProcessor
from transformers import CLIPVisionModelWithProjection

from hackamore.bases.walk import attentions
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.ip_adapter import read_ip_adapter
from hackamore.sampling.schedulers import make_scheduler
from tests.attached_models import HINT, ip_adapter_weights, made, theirs, write_ip_adapter
from tests.equivalence.agreement import agree

PIPELINES = {"sdxl": StableDiffusionXLPipeline}


def pipeline(request, base, family, file):
    pipe = PIPELINES.get(family, StableDiffusionPipeline).from_pretrained(
        request.getfixturevalue(f"{family}_folder"),
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(file.parent / "image_encoder"),
        scheduler=make_scheduler(base.scheduler, base.scheduler_config),
    )
    pipe.feature_extractor = object()  # the picture goes in as a tensor
    pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name, low_cpu_mem_usage=False)
    pipe.set_ip_adapter_scale(0.8)
    return pipe


@pytest.mark.parametrize(
    ("family", "kind"), [("sd1", "plain"), ("sd1", "plus"), ("sd1", "full"), ("sdxl", "plain"), ("sdxl", "plus")]
)
def test_latents_are_theirs(request, tmp_path, family, kind):
    base = request.getfixturevalue(family)
    file = write_ip_adapter(base, tmp_path, kind)
    control = read_ip_adapter(open_control(file), base)
    mine = made(base, control.unit(HINT, scale=0.8))
    pipe = pipeline(request, base, family, file)
    reference = theirs(pipe, ip_adapter_image=control.pixels(HINT, 64))
    beside = f"diffusers: {type(pipe).__name__}.load_ip_adapter"
    agree(mine, reference, made(base), family=family, kind=f"IP-Adapter {kind}", beside=beside)


def test_a_mask_is_theirs(request, sd1, tmp_path):
    file = write_ip_adapter(sd1, tmp_path)
    control = read_ip_adapter(open_control(file), sd1)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    mine = made(sd1, control.unit(HINT, scale=0.8, mask=mask))
    pipe = pipeline(request, sd1, "sd1", file)
    told = {"ip_adapter_masks": [IPAdapterMaskProcessor().preprocess(mask[0], 64, 64)[None, 0]]}
    reference = theirs(pipe, ip_adapter_image=control.pixels(HINT, 64), cross_attention_kwargs=told)
    # their mask is resampled by bicubic interpolation, ours by area: alike on the larger maps, not on the edge
    assert float((mine - reference).abs().mean() / (made(sd1) - reference).abs().mean()) < 0.2


def test_the_pickled_layout_is_the_same_adapter(sd1, tmp_path):
    file = write_ip_adapter(sd1, tmp_path)
    nested = {"image_proj": {}, "ip_adapter": {}}
    for key, value in ip_adapter_weights(sd1).items():
        first, _, rest = key.partition(".")
        nested[first][rest] = value
    torch.save(nested, tmp_path / "ip-adapter.bin")
    one, other = (read_ip_adapter(open_control(path), sd1) for path in (file, tmp_path / "ip-adapter.bin"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_published_files_number_as_many_attentions():
    xl = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 2, 10],
    }
    for config, last in (({}, 31), (xl, 139)):
        with torch.device("meta"):
            places = attentions(UNet2DConditionModel(**config))
        reading = [place for place in places if not place.own]
        assert 2 * len(reading) - 1 == last
        assert reading[0].path.startswith("down_blocks.")
        assert reading[-1].path.startswith("mid_block.")
        assert reading[-1].site == (12 if not config else 9)
