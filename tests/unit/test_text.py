"""Prompts: plain ones as diffusers reads them, long ones in chunks, weighted words through compel."""

import pytest
import torch
from compel import Compel
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st

from hackamore.bases.base import Text
from hackamore.bases.catalog import load_base
from hackamore.bases.weighting import literal, read_weights
from hackamore.core.errors import HackamoreError
from hackamore.generate import generate

LONG = "mountains with a lake, a red circle at noon, a blue square, " * 6


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a red circle", [("a red circle", 1.0)]),
        ("a (red) circle", [("a ", 1.0), ("red", 1.1), (" circle", 1.0)]),
        ("a ((red)) circle", [("a ", 1.0), ("red", 1.21), (" circle", 1.0)]),
        ("a [red] circle", [("a ", 1.0), ("red", 1 / 1.1), (" circle", 1.0)]),
        ("(red:1.5), (blue: 0.5 )", [("red", 1.5), (", ", 1.0), ("blue", 0.5)]),
        ("(a (red:1.5) circle:2)", [("a ", 2.0), ("red", 3.0), (" circle", 2.0)]),
        (r"photo \(35mm\) of C\+\+", [("photo (35mm) of C++", 1.0)]),
        ("(red:1.0) circle", [("red circle", 1.0)]),
        ("red++ circle-", [("red", 1.1**2), (" ", 1.0), ("circle", 0.9)]),
        ("(red circle)1.3 and (lake)--", [("red circle", 1.3), (" and ", 1.0), ("lake", 0.81)]),
        ("salt + pepper - well-lit, a+b", [("salt + pepper - well-lit, a+b", 1.0)]),
        ("(red circle", [("red circle", 1.1)]),
        ("red) circle]", [("red) circle]", 1.0)]),
        ("9:30 at (the lake: blue)", [("9:30 at ", 1.0), ("the lake: blue", 1.1)]),
        ("", [("", 1.0)]),
        ("()", [("", 1.0)]),
    ],
)
def test_words_and_their_weights(prompt, read):
    fragments = read_weights(prompt).fragments
    assert [fragment.text for fragment in fragments] == [text for text, _ in read]
    assert [fragment.weight for fragment in fragments] == pytest.approx([weight for _, weight in read])


@given(st.text(alphabet="ab c,.!?'0", max_size=60))
def test_text_without_signs_is_left_as_it_is(text):
    reading = read_weights(text)
    assert reading.plain
    assert reading.text == text


@given(st.text(alphabet="ab()[]:+-\\1. ", max_size=40))
def test_any_text_is_read(text):
    try:
        reading = read_weights(text)
    except HackamoreError:
        return
    assert all(fragment.weight == fragment.weight for fragment in reading.fragments)


@given(st.text(max_size=60))
def test_literal_text_means_its_words(text):
    reading = read_weights(literal(text))
    assert reading.plain
    assert reading.text == text


@pytest.mark.parametrize("text", ["a (red:2) [circle|lake]", '("a", "b").blend(1, 1)', "<lora:x:1>", "C++ \\( a-"])
def test_signs_can_be_letters(text):
    assert read_weights(literal(text)).text == text


@pytest.mark.parametrize("prompt", ["a [red:blue:0.5] circle", "a [red|blue] circle", "a lake <lora:paint:0.8>"])
def test_what_changes_on_the_way_is_refused(sd1, prompt):
    with pytest.raises(HackamoreError, match="not supported"):
        sd1.encode_text([prompt])


@pytest.mark.parametrize("family", ["sd1", "sdxl", "meadow"])
def test_weights_move_the_states_and_one_is_none(request, family):
    base = request.getfixturevalue(family)
    plain = base.encode_text(["a red circle"])
    assert torch.equal(base.encode_text(["a (red:1.0) circle"]).tokens, plain.tokens)
    heavy, light = (base.encode_text([f"a (red:{weight}) circle"]) for weight in (1.4, 0.5))
    empty = base.encode_text([""]).tokens
    assert heavy.tokens.shape == plain.tokens.shape
    expected = empty + (plain.tokens - empty) * 1.4
    inside = (heavy.tokens - expected).abs().amax((0, 2)) < 1e-4
    same = (heavy.tokens - plain.tokens).abs().amax((0, 2)) < 1e-6
    assert bool((inside | same).all())
    assert inside.any()
    assert not torch.allclose(light.tokens, plain.tokens)
    if family == "sdxl":
        assert torch.equal(heavy.added["text_embeds"], plain.added["text_embeds"])


@pytest.mark.parametrize(
    "prompt", ["a (red)1.4 circle, (lake)0.6", "red+ (blue square)-- noon", "a (lake (noon)1.2)1.3"]
)
def test_weights_are_those_of_compel(sd1, prompt):
    theirs = Compel(sd1.tokenizer, sd1.text_encoder)(prompt)
    torch.testing.assert_close(sd1.encode_text([prompt]).tokens, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_weights_in_half_precision(request, family, dtype):
    whole = request.getfixturevalue(family)
    half = load_base(request.getfixturevalue(f"{family}_folder"), device="cpu", dtype=dtype)
    prompts = ["a (red:1.3) circle", "a lake"]
    text = half.encode_text(prompts)
    assert text.tokens.dtype == half.dtype
    torch.testing.assert_close(text.tokens.float(), whole.encode_text(prompts).tokens, rtol=0.1, atol=0.1)
    assert half.encode_negative(["a (blue:0.7) square"]).tokens.dtype == half.dtype
    told = {"negative": "a (blue:0.7) square", "steps": 1, "size": (64, 64), "guidance": 3.0}
    assert generate(half, prompts[0], **told).latents.isfinite().all()


def test_compels_expressions(sd1):
    blend = sd1.encode_text(['("a red circle", "a lake").blend(0.7, 0.3)']).tokens
    expected = 0.7 * sd1.encode_text(["a red circle"]).tokens + 0.3 * sd1.encode_text(["a lake"]).tokens
    torch.testing.assert_close(blend, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["sd1", "sdxl", "meadow"])
def test_long_prompts_are_read_in_chunks(request, family):
    base = request.getfixturevalue(family)
    length = base.encoders()[0].length
    text = base.encode_text([LONG, "a lake"])
    assert text.tokens.shape[1] > length
    assert text.tokens.shape[1] % length == 0
    assert base.words_lost(LONG) == ""
    ids = base.tokenizer(LONG, add_special_tokens=False, verbose=False).input_ids
    chunk = [base.tokenizer.bos_token_id, *ids[length - 2 : 2 * (length - 2)], base.tokenizer.eos_token_id]
    state = base.encoders()[0]._run(torch.tensor([chunk]))[0]
    torch.testing.assert_close(text.tokens[:1, length : 2 * length, : state.shape[2]], state)
    torch.testing.assert_close(text.tokens[1:, length : 2 * length], base.encode_text([""]).tokens)
    torch.testing.assert_close(text.tokens[1:, :length], base.encode_text(["a lake"]).tokens)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_long_weighted_prompts_have_the_same_chunks(request, family):
    base = request.getfixturevalue(family)
    plain, weighted = (base.encode_text([f"{start}, {LONG}"]) for start in ("a red circle", "(a red circle:1.3)"))
    length = base.encoders()[0].length
    torch.testing.assert_close(plain.tokens[:, length:], weighted.tokens[:, length:], rtol=0, atol=1e-5)
    assert not torch.allclose(plain.tokens[:, :length], weighted.tokens[:, :length])


def test_texts_of_different_lengths_stand_side_by_side(sd1, sdxl):
    both = Text.cat([sd1.encode_negative(["a lake"]), sd1.encode_text([LONG])])
    torch.testing.assert_close(both[:1].tokens, sd1.encode_text(["a lake", LONG]).tokens[:1])
    nothing = Text.cat([sdxl.encode_negative([""]), sdxl.encode_text([LONG])])
    assert not nothing[:1].tokens.any()


def test_a_long_prompt_steers_by_its_end(sd1):
    told = {"size": (64, 64), "steps": 2, "negative": "a lake"}
    one, other = (generate(sd1, LONG + end, **told) for end in ("a red circle", "a blue square"))
    assert one.notices == []
    assert not torch.equal(one.latents, other.latents)


def test_meadow_reads_the_end_of_a_long_prompt(meadow):
    start = "mountains with a lake, a wide valley, far hills and meadows, pine trees at the left and the right of it, "
    told = {"steps": 2, "seed": 1, "size": (64, 64)}
    noon, night = (generate(meadow, start + end, **told).images[0].pixels for end in ("at noon", "at night"))
    assert night.mean() < noon.mean() - 10


def test_plain_prompts_are_diffusers_bit_for_bit(sd1, sd1_folder):
    pipeline = StableDiffusionPipeline.from_pretrained(sd1_folder, torch_dtype=torch.float32)
    theirs, negative = pipeline.encode_prompt("a red circle, at noon", "cpu", 1, True, "a lake")
    assert torch.equal(sd1.encode_text(["a red circle, at noon"]).tokens, theirs)
    assert torch.equal(sd1.encode_negative(["a lake"]).tokens, negative)


def test_prompts_are_read_in_several_threads_at_once(sd1):
    from concurrent.futures import ThreadPoolExecutor

    prompts = ["a red circle", "mountains with a lake", "a (blue:1.3) square at noon"] * 20
    alone = {prompt: sd1.encode_text([prompt]).tokens for prompt in set(prompts)}

    def read(prompt):
        sd1.words_lost(prompt)
        return bool(torch.equal(sd1.encode_text([prompt]).tokens, alone[prompt]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, prompts))
