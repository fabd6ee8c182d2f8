"""Files of controls for SD3 and FLUX: every layout is read, what does not fit is refused by name."""

import shutil

import pytest
import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel, SD3ControlNetModel, SD3Transformer2DModel
from safetensors.torch import load_file, save_file

from hackamore.bases.memory import offloaded
from hackamore.bases.transformer import FluxBase, SD3Base, sites_of
from hackamore.controls.blocks import TYPES, FluxControl, SD3Control, new_blocks
from hackamore.controls.catalog import load_control
from hackamore.controls.formats import transformer as formats
from hackamore.controls.formats.file import ControlFile, open_control
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate
from tests.transformer_models import FLUX, SD3, SD35, SIZE, load, randomise, write_flux, write_sd3

PROMPT = "a red circle"
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
NARROW = {name: value for name, value in FLUX.items() if name != "patch_size"} | {"guidance_embeds": True}
UNION = NARROW | {"num_layers": 2, "num_single_layers": 2, "num_mode": 7}
SHARED = {name: value for name, value in SD3.items() if name not in ("num_layers", "caption_projection_dim")}
JOINT = SHARED | {"caption_projection_dim": 32, "num_layers": 2}
BARE = SHARED | {"joint_attention_dim": None, "use_pos_embed": False, "pos_embed_type": None, "num_layers": 2}
BARE |= {"force_zeros_for_pooled_projection": False}


@pytest.fixture(scope="module")
def sd3_folder(tmp_path_factory):
    return write_sd3(tmp_path_factory.mktemp("small-sd3"), SD35)


@pytest.fixture(scope="module")
def flux_folder(tmp_path_factory):
    return write_flux(tmp_path_factory.mktemp("small-flux"))


@pytest.fixture(scope="module")
def sd3(sd3_folder):
    return load(sd3_folder)


@pytest.fixture(scope="module")
def flux(flux_folder):
    return load(flux_folder)


@pytest.fixture(params=["sd3", "flux"])
def base(request):
    return request.getfixturevalue(request.param)


def saved(kind, settings, folder, seed=0, **told):
    torch.manual_seed(seed)
    net = randomise(kind(**settings), seed)
    net.save_pretrained(folder, **told)
    return net


def run(base, units=(), **told):
    return generate(base, PROMPT, controls=list(units), **({"seed": 5, "size": SIZE, "steps": 2} | told)).latents


def speaking(base, seed=0, **settings):
    return randomise(new_blocks(base, "canny", **settings), seed)


def test_a_written_control_is_read_by_diffusers_and_by_us(base, tmp_path):
    control = speaking(base)
    formats.write_blocks(control, tmp_path)
    kind = SD3ControlNetModel if base.family == "sd3" else FluxControlNetModel
    theirs = kind.from_pretrained(tmp_path, torch_dtype=torch.float32).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in control.net.state_dict().items())
    read = formats.read_sd3_control if base.family == "sd3" else formats.read_flux_control
    back = read(open_control(tmp_path), base)
    assert back.condition == "canny"
    assert back.sha256
    assert torch.equal(run(base, [back.unit(HINT)]), run(base, [control.unit(HINT)]))


def test_single_files_and_shards_are_read_alike(sd3, tmp_path):
    net = saved(SD3ControlNetModel, JOINT, tmp_path / "whole")
    net.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    assert (tmp_path / "shards" / "diffusion_pytorch_model.safetensors.index.json").exists()
    shutil.copy(tmp_path / "whole" / "diffusion_pytorch_model.safetensors", tmp_path / "alone.safetensors")
    made = [formats.read_sd3_control(open_control(tmp_path / name), sd3) for name in ("whole", "shards")]
    made.append(formats.read_sd3_control(open_control(tmp_path / "alone.safetensors"), sd3))
    assert len(made[1].sha256) > 1
    for control in made:
        assert control.mutes
        mine = control.net.state_dict()
        assert all(torch.equal(value, mine[key]) for key, value in net.state_dict().items())


def relaid(state, names):
    """``state`` under other names: theirs → ours, or three of ours that theirs holds one after another."""
    made = {}
    for theirs, ours in names.items():
        for end in (".weight", ".bias", ""):
            keys = [key + end for key in ([ours] if isinstance(ours, str) else ours)]
            if all(key in state for key in keys):
                made[theirs + end] = torch.cat([state.pop(key) for key in keys])
    assert not state, sorted(state)
    return made


def stability_names(layers):
    names = {"pos_embed_input.proj": "pos_embed_input.proj"}
    for kind in ("timestep_embedder", "text_embedder"):
        for end in ("linear_1", "linear_2"):
            names[f"time_text_embed.{kind}.{end}"] = f"time_text_embed.{kind}.{end}"
    for i in range(layers):
        theirs = ours = f"transformer_blocks.{i}."
        names |= {
            f"controlnet_blocks.{i}": f"controlnet_blocks.{i}",
            theirs + "adaLN_modulation.1": ours + "norm1.linear",
            theirs + "attn.qkv": tuple(f"{ours}attn.to_{x}" for x in "qkv"),
            theirs + "attn.proj": ours + "attn.to_out.0",
            theirs + "mlp.fc1": ours + "ff.net.0.proj",
            theirs + "mlp.fc2": ours + "ff.net.2",
        }
    return names


def xlabs_names(layers):
    embeds = {"time_in": "timestep_embedder", "vector_in": "text_embedder", "guidance_in": "guidance_embedder"}
    names = {"txt_in": "context_embedder", "img_in": "x_embedder", "pos_embed_input": "controlnet_x_embedder"}
    names |= {"input_hint_block.0": "input_hint_block.conv_in", "input_hint_block.14": "input_hint_block.conv_out"}
    names |= {f"input_hint_block.{2 * i + 2}": f"input_hint_block.blocks.{i}" for i in range(6)}
    for theirs, ours in embeds.items():
        names |= {f"{theirs}.in_layer": f"time_text_embed.{ours}.linear_1"}
        names |= {f"{theirs}.out_layer": f"time_text_embed.{ours}.linear_2"}
    for i in range(layers):
        names[f"controlnet_blocks.{i}"] = f"controlnet_blocks.{i}"
        for stream, context, attention in (("img", "", "to_{}"), ("txt", "_context", "add_{}_proj")):
            theirs, ours = f"double_blocks.{i}.{stream}_", f"transformer_blocks.{i}."
            norm = "norm_" if stream == "img" else "norm_added_"
            names |= {
                theirs + "mod.lin": ours + f"norm1{context}.linear",
                theirs + "attn.qkv": tuple(ours + "attn." + attention.format(x) for x in "qkv"),
                theirs + "attn.proj": ours + ("attn.to_out.0" if stream == "img" else "attn.to_add_out"),
                theirs + "attn.norm.query_norm.scale": ours + f"attn.{norm}q.weight",
                theirs + "attn.norm.key_norm.scale": ours + f"attn.{norm}k.weight",
                theirs + "mlp.0": ours + f"ff{context}.net.0.proj",
                theirs + "mlp.2": ours + f"ff{context}.net.2",
            }
    return names


@pytest.mark.parametrize(("number", "condition", "pixels"), [(0, "blur", 0), (1, "canny", 1), (2, "depth", 2)])
def test_stability_s_own_layout(sd3, tmp_path, number, condition, pixels):
    net = saved(SD3ControlNetModel, BARE, tmp_path / "theirs")
    file = relaid(net.state_dict(), stability_names(2)) | {"control_type": torch.tensor([number], dtype=torch.int32)}
    file |= {"pos_embed.proj.weight": torch.zeros(32, 16, 2, 2), "pos_embed.proj.bias": torch.zeros(32)}
    save_file(file, tmp_path / "sd3.5_large.safetensors")
    control = formats.read_sd3_control(open_control(tmp_path / "sd3.5_large.safetensors"), sd3)
    mine = control.net.state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in net.state_dict().items())
    assert (control.condition, control.mutes) == (condition, False)
    seen = [HINT * 2 - 1, HINT * 255 * 0.5 + 0.5, (1 - HINT) * 2 - 1][pixels]
    with torch.no_grad():
        torch.testing.assert_close(control.prepare(HINT), net.pos_embed_input(sd3.encode(seen)), atol=1e-5, rtol=0)


def test_each_layout_is_told_by_its_keys(sd3, flux, tmp_path):
    saved(SD3ControlNetModel, JOINT, tmp_path / "joint")
    bare = saved(SD3ControlNetModel, BARE, tmp_path / "bare")
    save_file(relaid(bare.state_dict(), stability_names(2)), tmp_path / "stability.safetensors")
    saved(FluxControlNetModel, UNION, tmp_path / "union")
    pixels = NARROW | {"num_layers": 2, "num_single_layers": 0, "patch_size": 2, "conditioning_embedding_channels": 16}
    net = saved(FluxControlNetModel, pixels, tmp_path / "pixels")
    save_file(relaid(net.state_dict(), xlabs_names(2)), tmp_path / "xlabs.safetensors")
    for name in ("joint", "bare", "stability.safetensors"):
        assert isinstance(load_control(tmp_path / name, sd3), SD3Control)
    for name in ("union", "pixels", "xlabs.safetensors"):
        assert isinstance(load_control(tmp_path / name, flux), FluxControl)
    with pytest.raises(HackamoreError, match="does not fit the base"):
        load_control(tmp_path / "joint", flux)


def test_a_lent_embedding_does_not_move_with_a_base_that_waits_elsewhere(sd3, tmp_path):
    saved(SD3ControlNetModel, BARE, tmp_path / "bare")
    assert load_control(tmp_path / "bare", sd3)._embeds[0] is sd3.bare.pos_embed
    away = offloaded(sd3, "model", torch.device("cpu"))
    (embed,) = load_control(tmp_path / "bare", away)._embeds
    away.transformer.double()  # in place, as a move to another device
    assert away.bare.pos_embed.proj.weight.dtype == torch.float64
    assert torch.equal(embed.proj.weight, sd3.bare.pos_embed.proj.weight)
    assert torch.equal(embed(torch.ones(1, 16, 8, 8)), sd3.bare.pos_embed(torch.ones(1, 16, 8, 8)))


def test_stability_s_folders_are_told_by_name(sd3, tmp_path):
    folder = tmp_path / "stable-diffusion-3.5-large-controlnet-canny"
    saved(SD3ControlNetModel, BARE, folder)
    assert formats.read_sd3_control(open_control(folder), sd3).pixels == "edges"
    saved(SD3ControlNetModel, JOINT, tmp_path / "a-joint-canny")
    assert formats.read_sd3_control(open_control(tmp_path / "a-joint-canny"), sd3).pixels == "as it is"


def test_stability_s_smaller_kind_is_refused_by_name(sd3, tmp_path):
    net = saved(SD3ControlNetModel, BARE | {"pooled_projection_dim": 32}, tmp_path / "theirs")
    save_file(relaid(net.state_dict(), stability_names(2)), tmp_path / "small.safetensors")
    with pytest.raises(HackamoreError, match="of a kind that is not supported"):
        formats.read_sd3_control(open_control(tmp_path / "small.safetensors"), sd3)


def test_xlabs_own_layout_says_what_diffusers_says(flux, tmp_path):
    settings = NARROW | {"num_layers": 2, "num_single_layers": 0}
    net = saved(
        FluxControlNetModel, settings | {"patch_size": 2, "conditioning_embedding_channels": 16}, tmp_path / "theirs"
    )
    save_file(relaid(net.state_dict(), xlabs_names(2)), tmp_path / "flux-canny-controlnet.safetensors")
    one = formats.read_xlabs(open_control(tmp_path / "flux-canny-controlnet.safetensors"), flux)
    other = formats.read_flux_control(open_control(tmp_path / "theirs"), flux)
    told, expected = one.net.state_dict(), other.net.state_dict()
    assert told.keys() == expected.keys()
    assert all(torch.equal(told[key], expected[key]) for key in told)
    assert one.sees_pixels
    assert torch.equal(run(flux, [one.unit(HINT)]), run(flux, [other.unit(HINT)]))


def test_a_filling_control_for_flux(flux, tmp_path):
    torch.manual_seed(0)
    net = FluxControlNetModel(**(NARROW | {"num_layers": 2, "num_single_layers": 0}))
    net.controlnet_x_embedder = torch.nn.Linear(68, 32)
    randomise(net).save_pretrained(tmp_path)
    control = formats.read_flux_control(open_control(tmp_path), flux)
    hidden = torch.zeros(1, 1, *SIZE)
    hidden[..., :32] = 1
    with pytest.raises(HackamoreError, match="fills what is hidden"):
        control.prepare(HINT)
    prepared = control.prepare(HINT, hidden=hidden)["tokens"]
    other = control.prepare(torch.where(hidden > 0.5, 0.25, HINT), hidden=hidden)["tokens"]
    assert torch.equal(prepared, other), "what is hidden must not be seen"
    assert (run(flux, [control.unit(HINT, hidden=hidden)]) - run(flux)).abs().max() > 1e-2


def test_a_union_knows_its_types_by_name_and_number(flux, tmp_path):
    saved(FluxControlNetModel, UNION, tmp_path)
    union = formats.read_flux_control(open_control(tmp_path), flux)
    for number, name in enumerate(TYPES):
        told = [union.prepare(HINT, type=way)["type"] for way in (name, number, str(number))]
        assert torch.equal(told[0], told[1])
        assert torch.equal(told[0], told[2])
    for wrong, words in ((None, "several conditions"), ("lineart", "unknown type"), (7, "range"), (-1, "range")):
        with pytest.raises(HackamoreError, match=words):
            union.prepare(HINT, type=wrong)
    with pytest.raises(HackamoreError, match="does not know 'type'"):
        speaking(flux).unit(HINT, type="canny")


def test_wrong_pairings_are_one_sentence(sd3, flux, sd1, tmp_path):
    saved(SD3ControlNetModel, JOINT, tmp_path / "for-sd3")
    saved(FluxControlNetModel, UNION, tmp_path / "for-flux")
    wide = JOINT | {"num_attention_heads": 4, "caption_projection_dim": 64}
    saved(SD3ControlNetModel, wide, tmp_path / "wide")
    for folder, read, base in (
        ("for-sd3", formats.read_sd3_control, flux),
        ("for-flux", formats.read_flux_control, sd3),
        ("for-sd3", formats.read_sd3_control, sd1),
        ("wide", formats.read_sd3_control, sd3),
    ):
        with pytest.raises(HackamoreError, match="does not fit the base") as told:
            read(open_control(tmp_path / folder), base)
        assert told.value.received
        assert told.value.expected
    control = formats.read_sd3_control(open_control(tmp_path / "for-sd3"), sd3)
    with pytest.raises(HackamoreError, match="another base"):
        run(flux, [Unit(control, HINT)])


@pytest.mark.parametrize("wrong", ["missing", "unexpected", "shapes"])
def test_tensors_that_do_not_fit_are_named(base, tmp_path, wrong):
    flux = base.family == "flux"
    saved(FluxControlNetModel if flux else SD3ControlNetModel, UNION if flux else JOINT, tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = "transformer_blocks.1.attn.to_q.weight"
    if wrong == "missing":
        del weights[name]
    elif wrong == "unexpected":
        weights["strange.weight"] = torch.zeros(1)
    else:
        weights[name] = torch.zeros(3, 3)
    save_file(weights, path)
    read = formats.read_flux_control if flux else formats.read_sd3_control
    with pytest.raises(HackamoreError, match="strange" if wrong == "unexpected" else name):
        read(open_control(tmp_path), base)


# full published shapes, on the meta device

LARGE = {"sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "attention_head_dim": 64,
         "joint_attention_dim": 4096, "pooled_projection_dim": 2048}  # fmt: skip
MEDIUM = LARGE | {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
PUBLISHED = {
    "sd3-medium": MEDIUM | {"pos_embed_max_size": 192},
    "sd3.5-medium": MEDIUM
    | {"pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))},
    "sd3.5-large": LARGE
    | {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192,
       "qk_norm": "rms_norm"},
}  # fmt: skip
SITES = {"sd3-medium": (1536, 24), "sd3.5-medium": (1536, 24), "sd3.5-large": (2432, 38)}


class OnMeta(ControlFile):
    """A file whose tensors are shapes alone."""

    def tensors(self, *keys):
        return {key: torch.empty(shape, device="meta") for key, shape in self.shapes.items()}


def full_base(small, transformer):
    """``small`` with a transformer of full size on the meta device."""
    kind = FluxBase if small.family == "flux" else SD3Base
    return kind("full", transformer, small.vae, small.encoders, small.scheduler_config)


def published(tensors, tmp_path):
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    (tmp_path / "weights.safetensors").write_bytes(b"shapes alone")
    return OnMeta(tmp_path, (tmp_path / "weights.safetensors",), shapes)


def agree_in_shape(control, net):
    mine, theirs = ({k: v.shape for k, v in one.state_dict().items()} for one in (control.net, net))
    assert mine == theirs


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_sd3_in_full(sd3, name, tmp_path):
    with torch.device("meta"):
        transformer = SD3Transformer2DModel(**PUBLISHED[name])
        shared = {key: value for key, value in PUBLISHED[name].items() if key != "num_layers"}
        bare = {"joint_attention_dim": None, "use_pos_embed": False, "num_layers": 19}
        dual = shared.get("dual_attention_layers", ())
        joint = {"num_layers": 6, "dual_attention_layers": tuple(i for i in dual if i < 6)}
        nets = [SD3ControlNetModel(**(shared | told)) for told in (joint, joint | {"extra_conditioning_channels": 1})]
        nets += [SD3ControlNetModel(**(shared | bare | {"qk_norm": None}))]
    base = full_base(sd3, transformer)
    assert (base.sites.width, base.sites.blocks) == SITES[name]
    assert base.sites == sites_of(transformer)
    assert base.sites.text_width == 4096
    for net in nets:
        agree_in_shape(formats.read_sd3_control(published(net.state_dict(), tmp_path), base), net)
    own = relaid(nets[-1].state_dict(), stability_names(19))
    agree_in_shape(formats.read_sd3_control(published(own, tmp_path), base), nets[-1])


def test_flux_in_full(flux, tmp_path):
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
        nets = [
            FluxControlNetModel(num_layers=layers, num_single_layers=singles, guidance_embeds=True, **more)
            for layers, singles, more in (
                (5, 10, {"num_mode": 10}),
                (6, 0, {}),
                (2, 0, {"patch_size": 2, "conditioning_embedding_channels": 16}),
            )
        ]
    assert sum(parameter.numel() for parameter in transformer.parameters()) == 11_901_408_320
    base = full_base(flux, transformer)
    assert (base.sites.width, base.sites.blocks, base.sites.singles) == (3072, 19, 38)
    for net in nets:
        agree_in_shape(formats.read_flux_control(published(net.state_dict(), tmp_path), base), net)
    own = relaid(nets[-1].state_dict(), xlabs_names(2))
    agree_in_shape(formats.read_xlabs(published(own, tmp_path), base), nets[-1])
