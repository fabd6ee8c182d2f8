"""SD3 and FLUX: bases that refuse what they cannot do, and what must hold for any control."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hackamore.bases.catalog import load_base
from hackamore.bases.lora import with_loras
from hackamore.bases.tokens import pack, places_of, unpack
from hackamore.controls.blocks import FluxControl, SD3Control, new_blocks
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import spread_over
from hackamore.generate import generate
from tests.transformer_models import SD35, SIZE, load, randomise, write_flux, write_sd3

PROMPT = "a red circle"
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255


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


def run(base, units=(), **told):
    return generate(base, PROMPT, controls=list(units), **({"seed": 5, "size": SIZE, "steps": 2} | told)).latents


def speaking(base, seed=0, **settings):
    return randomise(new_blocks(base, "canny", **settings), seed)


# residuals


@pytest.mark.parametrize("sites", [19, 24, 38])
def test_each_rule_spreads_as_its_makers_do(sites):
    for count in range(1, sites + 1):
        outputs = [torch.tensor(i) for i in range(count)]
        share = [int(i / (sites / count)) for i in range(sites)]
        run_of = [i // math.ceil(sites / count) for i in range(sites)]
        for rule, chosen in (("share", share), ("run", run_of), ("turn", [i % count for i in range(sites)])):
            assert [int(x) for x in spread_over(outputs, sites, rule)] == chosen


def test_packing_goes_there_and_back():
    x = torch.randn(2, 16, 6, 10)
    assert torch.equal(unpack(pack(x), 6, 10), x)
    assert places_of(x)[5 + 1].tolist() == [0, 1, 1]


def test_a_fresh_control_is_a_no_op_bit_for_bit(base):
    control = new_blocks(base, "canny")
    assert isinstance(control, SD3Control if base.family == "sd3" else FluxControl)
    assert torch.equal(run(base, [control.unit(HINT)]), run(base))


def test_the_first_step_of_training_moves_only_zero_layers(base):
    control = new_blocks(base)
    text = base.encode_text([PROMPT])
    x = torch.randn(1, 16, 8, 8)
    residuals = control(x, torch.tensor(500.0), text, HINT)
    base.predict(x, torch.tensor(500.0), text, residuals.spread(base.sites.blocks, base.sites.singles)).sum().backward()
    moved = {name.split(".")[1] for name, p in control.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved <= {"controlnet_blocks", "controlnet_single_blocks"}
    assert moved


def test_two_units_say_their_sum(base):
    first, second = speaking(base, 0), speaking(base, 1)
    text = base.encode_text([PROMPT], guidance=3.0)
    x, t = torch.randn(1, 16, 8, 8), torch.tensor(400.0)
    with torch.no_grad():
        one, other = (c.residuals(x, t, text, c.prepare(HINT)).spread(5, 5) for c in (first, second))
        both = one.scaled(0.5) + other
    torch.testing.assert_close(both.blocks[0], one.blocks[0] * 0.5 + other.blocks[0])
    twice = run(base, [first.unit(HINT), first.unit(HINT)])
    torch.testing.assert_close(twice, run(base, [first.unit(HINT, scale=2.0)]), atol=1e-4, rtol=0)


def test_a_mask_silences_its_tokens(base):
    control = speaking(base)
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., :32] = 1
    text = base.encode_text([PROMPT], guidance=3.0)
    x, t = torch.randn(1, 16, 8, 8), torch.tensor(400.0)
    with torch.no_grad():
        told = control.residuals(x, t, text, control.prepare(HINT))
    masked = told.masked(mask)
    for whole, part in zip(told.blocks + told.singles, masked.blocks + masked.singles, strict=True):
        whole, part = whole.reshape(4, 4, -1), part.reshape(4, 4, -1)
        assert torch.equal(part[:, :2], whole[:, :2])
        assert not part[:, 2:].any()
    half = run(base, [control.unit(HINT, mask=mask)])
    assert (half - run(base)).abs().max() > 1e-2
    assert (half - run(base, [control.unit(HINT)])).abs().max() > 1e-2


@pytest.mark.parametrize("mode", ["prompt", "control", "guess"])
def test_modes_weigh_a_transformer_s_outputs(base, mode):
    control = speaking(base)
    balanced, other = (run(base, [control.unit(HINT, mode=m)], negative="a lake") for m in ("balanced", mode))
    assert (balanced - other).abs().max() > 1e-3


def test_layer_weights_count_every_output(base):
    control = speaking(base)
    outputs = len(control.net.controlnet_blocks) + len(getattr(control.net, "controlnet_single_blocks", ()))
    assert torch.equal(run(base, [control.unit(HINT, weights=[0.0] * outputs)]), run(base))
    with pytest.raises(HackamoreError, match="layer weights"):
        run(base, [control.unit(HINT, weights=[1.0])])


def test_a_unit_outside_its_window_never_runs(base):
    control = speaking(base)
    control.net.transformer_blocks.register_forward_hook(lambda *_: pytest.fail("it ran"))
    for block in control.net.transformer_blocks:
        block.register_forward_hook(lambda *_: pytest.fail("it ran"))
    assert torch.equal(run(base, [control.unit(HINT, scale=0.0)]), run(base))
    assert torch.equal(run(base, [control.unit(HINT, start=0.9)]), run(base))


def test_a_hint_is_encoded_once(base):
    control, calls = speaking(base), []
    handle = base.vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    run(base, [control.unit(HINT)], steps=3)
    handle.remove()
    assert len(calls) == 1


def test_each_picture_of_a_batch_is_the_picture_alone(base):
    unit = speaking(base).unit(torch.cat([HINT, HINT.flip(3)]))
    both = generate(base, PROMPT, controls=[unit], seed=5, num=2, size=SIZE, steps=2, batch=2).latents
    alone = run(base, [speaking(base).unit(HINT.flip(3))], seed=6)
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(base, sd3_folder, flux_folder, dtype):
    half = load(sd3_folder if base.family == "sd3" else flux_folder, dtype)
    control = new_blocks(half)
    made = run(half, [control.unit(HINT)])
    assert made.dtype == dtype
    whole = run(base)
    assert float((made.float() - whole).norm() / whole.norm()) < 0.05


def test_a_view_is_its_own(base):
    view = base.view()
    view.transformer.transformer_blocks[0] = torch.nn.Identity()
    assert type(base.transformer.transformer_blocks[0]) is not torch.nn.Identity
    assert base.network is base.transformer


# bases


def test_sizes_that_do_not_fit_are_refused(base):
    with pytest.raises(HackamoreError, match="size does not fit"):
        run(base, size=(72, 64))
    if base.family == "sd3":
        with pytest.raises(HackamoreError, match="size does not fit"):
            run(base, size=(256, 64))


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_weights_may_wait_elsewhere(base, sd3_folder, flux_folder, kind):
    waiting = load_base(flux_folder if base.family == "flux" else sd3_folder, device="cpu", offload=kind)
    assert torch.equal(run(waiting), run(base))
    control = speaking(base)
    control._bases = (waiting,)
    assert torch.equal(run(waiting, [control.unit(HINT)]), run(base, [speaking(base).unit(HINT)]))


def test_schnell_takes_no_guidance(tmp_path):
    schnell = load(write_flux(tmp_path, guidance=False))
    assert (schnell.guidance, schnell.distilled) == (1.0, True)
    with pytest.raises(HackamoreError, match="without guidance"):
        run(schnell, guidance=3.5)


def test_dev_is_told_its_guidance(flux):
    assert (run(flux, guidance=1.0) - run(flux, guidance=5.0)).abs().max() > 1e-3


def test_a_distilled_base_hears_no_negative_prompt_and_that_is_told(flux):
    made = generate(flux, PROMPT, negative="a lake, " * 400, seed=5, size=SIZE, steps=1)
    assert made.notices == ["the negative prompt is not heard: this base has no second pass for it"]


def test_words_that_t5_does_not_see_are_told(base):
    assert base.words_lost(PROMPT) == ""
    assert base.words_lost("a red circle " * 400).endswith("a red circle")


def test_weighted_words_move_the_states_of_their_tokens(base):
    plain, heavy, same = (
        base.encode_text([p]).tokens for p in ("a red circle", "a (red:1.4) circle", "a (red:1.0) circle")
    )
    assert torch.equal(plain, same)
    assert (plain - heavy).abs().max() > 1e-2


def test_flux_s_weights_are_compel_s(flux, flux_folder):
    from compel import CompelForFlux
    from diffusers import FluxPipeline

    pipeline = FluxPipeline.from_pretrained(flux_folder, torch_dtype=torch.float32)
    theirs = CompelForFlux(pipeline)("a (red)1.4 circle at (noon)0.6")
    mine = flux.encode_text(["a (red:1.4) circle at (noon:0.6)"])
    torch.testing.assert_close(mine.tokens, theirs.embeds, atol=1e-5, rtol=0)


def test_a_folder_s_faults_are_named(sd3_folder, flux_folder, tmp_path):
    def damaged(source, name):
        return shutil.copytree(source, tmp_path / name)

    folder = damaged(flux_folder, "no-t5")
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(HackamoreError, match="not a whole FLUX folder") as told:
        load(folder)
    assert "text_encoder_2" in str(told.value)
    folder = damaged(sd3_folder, "no-text")
    for number in ("", "_2", "_3"):
        shutil.rmtree(folder / f"text_encoder{number}")
    with pytest.raises(HackamoreError, match="no text encoder"):
        load(folder)
    folder = damaged(flux_folder, "fill")
    config = json.loads((folder / "transformer" / "config.json").read_text())
    (folder / "transformer" / "config.json").write_text(json.dumps(config | {"in_channels": 384}))
    with pytest.raises(HackamoreError, match="not supported yet"):
        load(folder)
    (folder / "transformer" / "config.json").write_text(json.dumps(config | {"_class_name": "SanaTransformer2DModel"}))
    with pytest.raises(HackamoreError, match="not supported yet") as told:
        load(folder)
    assert "SanaTransformer2DModel" in str(told.value)
    folder = damaged(sd3_folder, "truncated")
    weights = next((folder / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(HackamoreError, match=r"transformer.* is damaged"):
        load(folder)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "text_encoder_2"])
def test_a_missing_tensor_is_named(flux_folder, tmp_path, part):
    folder = shutil.copytree(flux_folder, tmp_path / "base")
    weights = next((folder / part).glob("*.safetensors"))
    tensors = load_file(weights)
    name = next(key for key in sorted(tensors) if key.endswith("weight") and tensors[key].ndim > 1)
    save_file({key: value for key, value in tensors.items() if key != name}, weights, metadata={"format": "pt"})
    with pytest.raises(HackamoreError, match=f"the {part} of .* lacks 1 tensors: ") as told:
        load(folder)
    assert name.removeprefix("text_model.") in str(told.value)


def test_an_absent_encoder_leaves_the_others(sd3_folder, tmp_path):
    folder = shutil.copytree(sd3_folder, tmp_path / "no-t5")
    shutil.rmtree(folder / "text_encoder_3")
    shutil.rmtree(folder / "tokenizer_3")
    base = load(folder)
    assert base.absent == ("text_encoder_3",)
    assert not base.encode_text([PROMPT]).tokens[:, -256:].any()
    assert run(base).isfinite().all()


def test_files_that_are_no_lora_of_the_base_are_refused(base, tmp_path):
    down, up = torch.zeros(2, 32), torch.zeros(32, 2)
    layer = "transformer.transformer_blocks.0.attn.to_q"
    wrong = {
        "is no LoRA": {"weight": down},
        "decomposed": {f"{layer}.lora_A.weight": down, f"{layer}.dora_scale": up},
        "no layer": {"transformer.blocks.9.to_q.lora_A.weight": down, "transformer.blocks.9.to_q.lora_B.weight": up},
        "for (32, 32)": {f"{layer}.lora_A.weight": torch.zeros(2, 48), f"{layer}.lora_B.weight": up},
        "without the second": {f"{layer}.lora_A.weight": down},
        "in text_encoder: (2, 9) for": {
            f"{layer}.lora_A.weight": down,
            f"{layer}.lora_B.weight": up,
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 9),
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight": up.clone(),
        },
        "tensors of unet": {"unet.to_q.lora_A.weight": down, "unet.to_q.lora_B.weight": up},
    }
    for words, tensors in wrong.items():
        save_file(tensors, tmp_path / "wrong.safetensors")
        with pytest.raises(HackamoreError) as told:
            with_loras(base, [(tmp_path / "wrong.safetensors", 1.0)])
        assert words in str(told.value)


def test_more_files_on_top(base, tmp_path):
    wide = base.transformer.transformer_blocks[0].attn.to_q.weight.shape[0]
    files = []
    for k in range(2):
        pair = {"A": torch.randn(2, wide), "B": torch.randn(wide, 2)}
        made = {f"transformer.transformer_blocks.0.attn.to_q.lora_{half}.weight": pair[half] for half in pair}
        save_file(made, tmp_path / f"{k}.safetensors")
        files.append((tmp_path / f"{k}.safetensors", 0.5 + k))
    one = with_loras(base, files[:1])
    alone = run(one)
    assert torch.equal(run(with_loras(one, files[1:])), run(with_loras(base, files)))
    assert torch.equal(run(one), alone)


def test_only_so_many_blocks_can_be_copied(base):
    with pytest.raises(HackamoreError, match="not so many blocks"):
        new_blocks(base, layers=99)


def test_a_u_net_has_no_such_blocks(sd1):
    with pytest.raises(HackamoreError, match="no blocks"):
        new_blocks(sd1)
