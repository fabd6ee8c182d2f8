"""A new kind of control is one file and one line of the catalogue."""

import sys

import pytest
import torch
from safetensors.torch import save_file

import hackamore as hk
from hackamore.controls.formats import table
from hackamore.controls.formats.marks import has
from hackamore.core.errors import HackamoreError

PRETEND = '''
from hackamore.controls.unit import Unit
from hackamore.core.residuals import Residuals


class Tint:
    """Adds one learned vector to the mid block, as strong as the hint is light."""

    def __init__(self, base, vector):
        self.name, self.condition, self.sites, self.sha256 = "tint", "lightness", base.sites, {}
        self.vector = vector

    def prepare(self, hint):
        return hint.mean((1, 2, 3), keepdim=True)

    def residuals(self, x, t, text, prepared):
        return Residuals(mid=prepared * self.vector[None, :, None, None])

    def unit(self, hint, **settings):
        return Unit(self, hint, **settings)


def read(file, base):
    return Tint(base, file.tensors()["tint.vector"])
'''


@pytest.fixture
def tint(tmp_path, monkeypatch, sd1):
    (tmp_path / "pretend_tint.py").write_text(PRETEND)
    monkeypatch.syspath_prepend(tmp_path)
    save_file({"tint.vector": torch.full((sd1.sites.mid,), 3.0)}, tmp_path / "tint.safetensors")
    yield tmp_path / "tint.safetensors"
    sys.modules.pop("pretend_tint", None)


def made(base, *units):
    return hk.generate(base, "a lake", controls=units, seed=1, size=(64, 64), steps=4).latents


def test_one_file_and_one_line_make_a_new_kind(sd1, tint, monkeypatch):
    with pytest.raises(HackamoreError, match="no format that is known"):
        hk.load_control(tint, sd1)
    line = table.Format("a tint", "tint", has("tint.vector"), "pretend_tint:read")
    monkeypatch.setattr(table, "FORMATS", (*table.FORMATS, line))
    control = hk.load_control(tint, sd1)
    white, black = torch.ones(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    assert torch.equal(made(sd1, control.unit(black)), made(sd1))
    whole = made(sd1, control.unit(white))
    assert (whole - made(sd1)).abs().max() > 1e-2
    halves = made(sd1, control.unit(white, scale=0.5), control.unit(white, scale=0.5))
    assert (whole - halves).abs().max() <= 1e-5
    late = made(sd1, control.unit(white, start=0.5, mode="control", mask=white[:, :1]))
    assert not torch.equal(late, whole)
