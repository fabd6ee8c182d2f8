"""What ``--control`` makes of its picture."""

import numpy as np
import pytest
from PIL import Image

from hackamore.cli.options import parse_control
from hackamore.cli.units import read_hint
from hackamore.core.errors import HackamoreError
from hackamore.core.image import png


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(1, 256, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "photo.png").write_bytes(png(picture))
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    Image.fromarray(mask).save("mask.png")
    return picture


def test_a_mask_of_inpaint_hides_the_picture(photo):
    hint = read_hint(parse_control("inpaint=photo.png,mask=mask.png,model=meadow/canny"), "meadow")((64, 64)).picture
    assert (hint[:32] == 0).all()
    assert (hint[32:] == photo[32:]).all()


def test_a_finished_hint_has_no_parameters(photo):
    with pytest.raises(HackamoreError, match="annotator none"):
        read_hint(parse_control("canny=photo.png,hint=true,low=3"), "meadow")


def test_another_base_needs_a_model(photo):
    with pytest.raises(HackamoreError, match="names no model"):
        read_hint(parse_control("canny=photo.png"), "folder")
