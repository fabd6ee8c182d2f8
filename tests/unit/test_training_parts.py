import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hackamore.cli.options import parse_control, parse_size
from hackamore.core.errors import HackamoreError
from hackamore.data.pairs import read_pairs
from hackamore.training.patches import Patches
from hackamore.training.tokenizer import learn_tokenizer
from hackamore.worlds import render


@pytest.fixture(scope="module")
def patches():
    pictures = np.stack([render(seed, 64).picture for seed in range(40)])
    return Patches().fit(pictures), torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_patch_latents_are_white(patches):
    fitted, x = patches
    z = fitted.encode(x).permute(1, 0, 2, 3).flatten(1)
    assert z.mean(1).abs().max() < 1e-3
    torch.testing.assert_close(z.cov(), torch.eye(4), atol=1e-2, rtol=0)


def test_patches_reconstruct_as_well_as_four_components_can(patches):
    fitted, x = patches
    z = fitted.encode(x)
    error = (fitted.decode(z) - x).square().mean()
    assert error < 0.1 * (x - x.mean()).square().mean()
    torch.testing.assert_close(fitted.encode(fitted.decode(z)), z, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    words = ["a snowy mountain at sunset, clear sky", "rolling hills with a lake at noon"]
    return learn_tokenizer(words, tmp_path_factory.mktemp("tokenizer"))


@given(st.text(max_size=30))
def test_any_text_at_all_has_tokens(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id != 2
    assert all(0 <= i < len(tokenizer) for i in ids)


def test_known_words_are_one_token(tokenizer):
    assert len(tokenizer("a snowy mountain at sunset , clear sky").input_ids) == 8 + 2
    assert tokenizer.decode(tokenizer("Rolling hills", add_special_tokens=False).input_ids) == "rolling hills"


@given(st.integers(1, 10000), st.integers(1, 10000))
def test_sizes_are_read_as_written(w, h):
    assert parse_size(f"{w}x{h}") == (w, h)


@given(st.dictionaries(st.sampled_from(["scale", "start", "low", "model", "mask"]), st.integers(0, 9), max_size=5))
def test_controls_as_words_and_as_json_are_the_same(told):
    import json

    words = parse_control(",".join(["canny=a.png", *(f"{k}={v}" for k, v in told.items())]))
    as_json = parse_control(json.dumps({"kind": "canny", "image": "a.png"} | {k: str(v) for k, v in told.items()}))
    assert words == as_json


@pytest.mark.parametrize("text", ["", "canny", "=a.png", "canny=", "canny=a,b", "canny=a,scale=1,scale=2", "[1]", "{}"])
def test_malformed_controls_are_refused(text):
    with pytest.raises(HackamoreError):
        parse_control(text)


def test_data_that_is_not_understood_is_named(tmp_path):
    with pytest.raises(HackamoreError, match="no training data"):
        read_pairs(tmp_path)
    (tmp_path / "prompt.json").write_text('{"source": "s.png", "target": "t.png", "prompt": "p"}\nnonsense\n')
    with pytest.raises(HackamoreError, match="line 2"):
        read_pairs(tmp_path)
    (tmp_path / "prompt.json").write_text("\n")
    with pytest.raises(HackamoreError, match="empty"):
        read_pairs(tmp_path)
