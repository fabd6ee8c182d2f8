"""Union controls: shapes, types by name, silence at birth, several hints in one run, files, what is refused."""

import pytest
import torch
from diffusers import ControlNetUnionModel
from safetensors.torch import load_file, save_file

from hackamore.controls.catalog import load_control
from hackamore.controls.compose import Composition
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.union import key_of, read_union, write_union
from hackamore.controls.union import new_union
from hackamore.controls.union_types import PUBLISHED, type_named
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate
from tests.control_models import PUBLISHED as SHAPES
from tests.control_models import PublishedBase, lively_union

HINTS = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)).mul(255).round() / 255
OURS = ("depth", "normal", "softedge", "scribble", "lineart", "pose")
TOLD = {"seed": 5, "size": (64, 64), "steps": 4, "guidance": 3.0}


@pytest.mark.parametrize(
    ("family", "types", "count"), [("sdxl", 6, 1_255_958_800), ("sdxl", 8, 1_256_614_800), ("sd1", 6, 366_223_760)]
)
def test_the_published_shapes_are_diffusers_key_by_key(family, types, count):
    told = SHAPES[family] | {"addition_time_embed_dim": 256, "conditioning_embedding_out_channels": (16, 32, 96, 256)}
    told.pop("up_block_types", None)
    with torch.device("meta"):
        theirs = ControlNetUnionModel(**told, num_control_type=types)
        mine = new_union(PublishedBase(family), PUBLISHED[:types])
    found = {key_of(name): parameter.shape for name, parameter in mine.named_parameters()}
    assert found == {name: value.shape for name, value in theirs.state_dict().items()}
    assert sum(parameter.numel() for parameter in mine.parameters()) == count


@pytest.mark.parametrize("shape", ["sd1", "sd2", "sdxl", "meadow"])
def test_a_fresh_union_is_a_no_op_bit_for_bit(request, shape):
    base = request.getfixturevalue(shape)
    union = new_union(base, OURS)
    hint = HINTS[:1] if base.family != "meadow" else HINTS[:1].repeat(1, 1, 2, 2)
    told = TOLD | {"size": base.size}
    free = generate(base, "a lake", **told).latents
    units = [union.unit(hint, type="depth"), union.unit(hint, type="pose", scale=0.5)]
    assert torch.equal(generate(base, "a lake", controls=units, **told).latents, free)


def test_a_fresh_union_begins_as_the_base_is(meadow):
    """Behind its zero convolutions the copy computes what the base's encoder does: no type moves it yet."""
    union = new_union(meadow, OURS)
    x, t, text = torch.randn(1, 4, 16, 16), torch.tensor([500]), meadow.encode_text(["a"])
    hint = HINTS[:1].repeat(1, 1, 2, 2)
    entering = []
    union.branch.zero_mid.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
    for kind in ("depth", "pose"):
        union.residuals(x, t, text, union.prepare(hint, kind))
    assert torch.equal(entering[0], entering[1])
    union(x, t, text, hint, "depth").mid.sum().backward()
    assert union.branch.zero_mid.weight.grad.any()


def test_several_hints_are_encoded_once_and_run_together(sd1):
    union, runs, encoded = lively_union(sd1, types=OURS), [], []
    union.branch.trunk.conv_in.register_forward_hook(lambda *_: runs.append(1))
    union.branch.hint_encoder.register_forward_hook(lambda *_: encoded.append(1))
    units = [union.unit(HINTS[k : k + 1], type=kind, scale=0.5) for k, kind in enumerate(("depth", "pose", "normal"))]
    generate(sd1, "a lake", controls=units, **TOLD)
    assert len(encoded) == 3
    assert len(runs) == TOLD["steps"]


@pytest.mark.parametrize("shape", ["sd1", "sd2", "meadow"])
@pytest.mark.parametrize("scales", [(0.7,), (1.0, 1.0), (0.7, 0.4), (0.9, 0.2, 1.3)])
def test_its_residuals_are_those_of_diffusers(request, shape, scales, tmp_path):
    """Single: what leaves it is scaled; joint: each hint is. No pipeline of theirs reads these families."""
    base = request.getfixturevalue(shape)
    union = lively_union(base, types=OURS)
    write_union(union, tmp_path)
    theirs = ControlNetUnionModel.from_pretrained(tmp_path)
    kinds = [0, 3, 5][: len(scales)]
    units = [
        union.unit(HINTS[k : k + 1], type=kind, scale=s) for k, (kind, s) in enumerate(zip(kinds, scales, strict=True))
    ]
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    text = base.encode_text(["", "a red circle"])
    present = torch.zeros(2, len(OURS)).index_fill_(1, torch.tensor(kinds), 1.0)
    with torch.inference_mode():
        mine = Composition(units, base).residuals(x, torch.tensor(500), text, 0, 4, slice(0, 1), [None] * len(scales))
        skips, mid = theirs(
            x, 500, text.tokens, controlnet_cond=[HINTS[k : k + 1].repeat(2, 1, 1, 1) for k in range(len(scales))],
            control_type=present, control_type_idx=kinds, conditioning_scale=list(scales), return_dict=False,
        )  # fmt: skip
    for one, other in zip((*mine.skips, mine.mid), (*skips, mid), strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max().clamp(min=1)
    assert mine.mid.abs().max() > 1e-2


def test_outside_its_window_a_hint_says_nothing(sd1):
    """Where one of two is silent the other speaks as if alone; where both are, nothing runs."""
    union = lively_union(sd1, types=OURS)
    one, other = union.unit(HINTS[:1], type=0, scale=0.6), union.unit(HINTS[1:2], type=1, scale=0.4, end=0.5)
    late = union.unit(HINTS[:1], type=0, scale=0.6, end=0.5)
    x, text = torch.randn(2, 4, 8, 8), sd1.encode_text(["", "a"])

    def said(units, index):
        told = (x, torch.tensor(500), text, index, 4, slice(0, 1), [None] * len(units))
        return Composition(units, sd1).residuals(*told)

    assert torch.equal(said([one, other], 2).mid, said([one], 2).mid)
    assert not torch.equal(said([one, other], 1).mid, said([one], 1).mid)
    assert said([late, other], 2) is None


def test_masked_units_run_for_themselves_and_are_added(sd1):
    union = lively_union(sd1, types=OURS)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    units = [union.unit(HINTS[:1], type=0, mask=mask), union.unit(HINTS[1:2], type=1)]
    x, text = torch.randn(2, 4, 8, 8), sd1.encode_text(["", "a"])
    told = (x, torch.tensor(500), text, 0, 4, slice(0, 1))
    both = Composition(units, sd1).residuals(*told, [None, None])
    alone = [Composition([unit], sd1).residuals(*told, [None]) for unit in units]
    torch.testing.assert_close(both.skips[0], alone[0].skips[0] + alone[1].skips[0])
    assert not alone[0].skips[0][..., 4:].any()


def test_pictures_of_a_batch_are_those_made_alone(meadow):
    union, hints = lively_union(meadow, types=OURS), torch.rand(2, 3, 128, 128)
    told = {"steps": 3, "guidance": 3.0}
    units = [union.unit(hints, type="depth"), union.unit(hints.flip(0), type="pose", scale=0.5)]
    both = generate(meadow, "a lake", controls=units, num=2, batch=2, seed=5, **told).latents
    for k in range(2):
        units = [union.unit(hints[k : k + 1], type="depth"), union.unit(hints[1 - k : 2 - k], type="pose", scale=0.5)]
        alone = generate(meadow, "a lake", controls=units, seed=5 + k, **told).latents
        torch.testing.assert_close(both[k], alone[0], rtol=0, atol=1e-4)


def test_in_training_each_row_may_have_its_own_type(sd1):
    union = lively_union(sd1, types=OURS)
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([100, 900]), sd1.encode_text(["a", "b"])
    mixed = union(x, t, text, HINTS[:2], torch.tensor([0, 3]))
    for row, kind in enumerate(("depth", "scribble")):
        part = slice(row, row + 1)
        alone = union(x[part], t[part], text[part], HINTS[part], kind)
        torch.testing.assert_close(mixed.mid[part], alone.mid, rtol=0, atol=1e-5)


def test_what_is_hidden_is_black(sd1):
    union, hidden = lively_union(sd1), torch.zeros(1, 1, 64, 64)
    hidden[..., :20, :] = 1
    shown = HINTS[:1].clone()
    shown[..., :20, :] = 0
    one, other = union.prepare(HINTS[:1], "inpaint", hidden), union.prepare(shown, "inpaint")
    assert torch.equal(one["features"], other["features"])
    union.unit(HINTS[:1], type="inpaint", hidden=hidden)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("pose", 0), ("openpose", 0), ("pose_json", 0), ("depth", 1), ("depth_midas", 1), ("softedge", 2), ("hed", 2),
        ("scribble", 2), ("scribble_drawing", 2), ("sketch", 2), ("canny", 3), ("lineart", 3), ("lineart_anime", 3),
        ("mlsd", 3), ("normal_bae", 4), ("seg_ade20k", 5), ("segment", 5), ("tile", 6), ("blur", 6), ("repaint", 7),
        ("inpaint", 7), (3, 3), ("3", 3), ("Canny", 3),
    ],
)  # fmt: skip
def test_published_types_have_their_usual_names(name, number):
    assert type_named(name, PUBLISHED, "union") == number


def test_own_types_are_not_taken_for_near_ones():
    assert type_named("scribble", OURS, "union") == 3
    with pytest.raises(HackamoreError, match="knows no hints of type 'scribble'"):
        type_named("scribble", ("softedge", "depth"), "union")


@pytest.mark.parametrize("wrong", ["banana", 6, "8", -1, "tile", "", "²", None])
def test_an_unknown_type_is_refused_at_once(sd1, wrong):
    union = new_union(sd1, PUBLISHED[:6])
    with pytest.raises(HackamoreError) as caught:
        union.unit(HINTS[:1], type=wrong)
    assert "pose, depth, softedge, canny, normal, seg (0 to 5)" in caught.value.expected
    assert len(str(caught.value).splitlines()) <= 4


@pytest.mark.parametrize("types", [(), ("a", "a"), ("a,b",), ("", "a")])
def test_types_need_names_of_their_own(sd1, types):
    with pytest.raises(HackamoreError, match="a union needs a name for each"):
        new_union(sd1, types)


@pytest.mark.parametrize("types", [OURS, PUBLISHED, PUBLISHED[:6], ("depth",)])
def test_files_go_there_and_back_bit_for_bit(sd1, tmp_path, types):
    union = lively_union(sd1, types=types, condition="many")
    write_union(union, tmp_path / "u")
    back = load_control(tmp_path / "u", sd1)
    mine, again = dict(union.named_parameters()), dict(back.named_parameters())
    assert mine.keys() == again.keys()
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    assert (back.types, back.condition, back.name) == (types, "many", "u")
    ControlNetUnionModel.from_pretrained(tmp_path / "u").save_pretrained(tmp_path / "theirs")
    if len(types) == 1:  # what diffusers writes does not name them
        with pytest.raises(HackamoreError, match="1 types of hint and does not name them"):
            load_control(tmp_path / "theirs", sd1)
        return
    theirs = load_control(tmp_path / "theirs", sd1)
    assert theirs.types == PUBLISHED[: len(types)]
    assert all(torch.equal(mine[name], value) for name, value in theirs.named_parameters())


def test_wrong_files_are_refused(sd1, sd2, sdxl, meadow, tmp_path):
    path = write_union(new_union(sd1), tmp_path / "u")
    for base in (sd2, sdxl, meadow):
        with pytest.raises(HackamoreError, match="does not fit the base"):
            load_control(tmp_path / "u", base)
    weights = load_file(path)
    for gone in ("task_embedding", "spatial_ch_projs.bias", "transformer_layes.0.attn.in_proj_weight", "conv_in.bias"):
        save_file({key: value for key, value in weights.items() if key != gone}, tmp_path / "less.safetensors")
        with pytest.raises(HackamoreError, match=f"lacks 1 tensors: {gone}"):
            read_union(open_control(tmp_path / "less.safetensors"), sd1)
    save_file(weights | {"extra": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(HackamoreError, match="unexpected 1 tensors: extra"):
        read_union(open_control(tmp_path / "more.safetensors"), sd1)
