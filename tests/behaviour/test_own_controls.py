"""A base's own controls by the kind of hint: a folder of that name, or a union that knows the type."""

import numpy as np
import pytest
import torch
from PIL import Image

from hackamore.bases.catalog import load_base
from hackamore.controls import catalog
from hackamore.controls.formats.union import write_union
from hackamore.controls.union import new_union
from hackamore.core.recipe import read_recipe
from hackamore.worlds import render


@pytest.fixture
def united(tmp_path, monkeypatch):
    """Meadow with a union of its own beside its controls."""
    torch.manual_seed(0)
    union = new_union(load_base("meadow", device="cpu"), ("depth", "pose", "seg"))
    for weight in union.branch.zero_skips.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    write_union(union, tmp_path / "own" / "union")
    known = catalog.embedded() | {"meadow/union": tmp_path / "own" / "union"}
    monkeypatch.setattr(catalog, "embedded", lambda: known)
    Image.fromarray(render(3, 128).picture).save(tmp_path / "picture.png")
    return tmp_path


def test_a_union_serves_the_types_that_have_no_control_of_their_own(united):
    own = catalog.own_controls("meadow")
    assert own["depth"] == own["pose"] == "meadow/union"
    assert (own["seg"], own["canny"]) == ("meadow/seg", "meadow/canny")
    assert catalog.own_controls("another") == {}


def test_it_is_told_the_type_by_the_kind(united, run, monkeypatch):
    monkeypatch.chdir(united)
    code, _, err = run("generate", "a lake", "--control", "depth=picture.png", "--steps", 2, "--out", "made.png")
    assert code == 0, err
    told = read_recipe(united / "made.png").model_dump_json()
    assert "meadow/union" in told
    assert '"type":"depth"' in told.replace(" ", "")
    plain = run("generate", "a lake", "--steps", 2, "--out", "plain.png")
    assert plain[0] == 0
    made, without = (np.asarray(Image.open(united / name)) for name in ("made.png", "plain.png"))
    assert (made != without).any()


def test_it_is_evaluated_by_kind(united, run, monkeypatch):
    monkeypatch.chdir(united)
    code, out, err = run("evaluate", "--control", "depth", "--count", 2, "--steps", 2, "--out", "e", "--no-off")
    assert code == 0, err
    assert out.startswith("meadow/union: depth RMSE")
