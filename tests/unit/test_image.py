import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.core.image import check_size, from_hint, load_picture, resize, to_hint

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
sides = st.integers(8, 80)


@given(sides, sides, sides, sides, st.sampled_from(["crop", "fill", "stretch"]), st.booleans())
def test_resize_gives_the_size_and_categorical_no_new_colours(w, h, to_w, to_h, mode, categorical):
    picture = np.random.default_rng(w * h).choice(np.array([0, 90, 255], np.uint8), (h, w, 3))
    made = resize(picture, (to_w, to_h), mode, categorical=categorical)
    assert made.shape == (to_h, to_w, 3)
    assert made.dtype == np.uint8
    if categorical:
        assert set(np.unique(made)) <= {0, 90, 255}


def test_crop_is_centred_and_keeps_the_aspect():
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, 8:24] = 200
    assert (resize(picture, (16, 16), "crop") == 200).all()


def test_fill_repeats_the_border():
    picture = np.full((16, 32, 3), 50, np.uint8)
    assert (resize(picture, (32, 32), "fill") == 50).all()


def test_none_refuses_another_size():
    assert resize(PHOTO, (64, 48), "none") is PHOTO
    with pytest.raises(HackamoreError, match="resize mode none"):
        resize(PHOTO, (64, 64), "none")
    with pytest.raises(HackamoreError, match="unknown resize mode"):
        resize(PHOTO, (64, 64), "squash")


def test_hints_go_to_tensors_and_back():
    hint = to_hint([PHOTO, PHOTO])
    assert hint.shape == (2, 3, 48, 64)
    assert hint.dtype == torch.float32
    assert 0 <= float(hint.min()) <= float(hint.max()) <= 1
    assert all(np.array_equal(p, PHOTO) for p in from_hint(hint))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "RGB"])
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif"])
def test_every_mode_of_picture_becomes_rgb(tmp_path, mode, kind):
    source = Image.fromarray(PHOTO)
    picture = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257) if mode == "I;16" else source.convert(mode)
    path = tmp_path / f"p.{kind}"
    try:
        picture.save(path)
    except (OSError, ValueError):
        return  # the format does not hold this mode
    made = load_picture(path)
    assert made.shape == PHOTO.shape
    assert made.dtype == np.uint8


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(tmp_path / "p.png")
    assert np.array_equal(load_picture(tmp_path / "p.png")[..., 1], PHOTO[..., 0])


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.dstack([PHOTO, np.zeros((48, 64), np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "p.png")
    assert (load_picture(tmp_path / "p.png") == 255).all()


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "p.png", exif=exif)
    assert np.array_equal(load_picture(tmp_path / "p.png"), np.rot90(PHOTO, -1))


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (10, 240)]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    assert load_picture(tmp_path / "p.gif").max() < 20


def test_a_huge_picture_is_refused_from_its_header(tmp_path):
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    with pytest.raises(HackamoreError, match="too large"):
        load_picture(tmp_path / "p.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_truncated_files_are_named_as_such(tmp_path, kind):
    path = tmp_path / f"p.{kind}"
    Image.fromarray(PHOTO).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(HackamoreError, match="damaged"):
        load_picture(path)


def test_other_wrong_inputs(tmp_path):
    (tmp_path / "t.png").write_text("hello")
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    for name, words in (
        ("none.png", "no such file"),
        ("t.png", "cannot be read"),
        ("one.png", "too small"),
        ("", "folder"),
    ):
        with pytest.raises(HackamoreError, match=words):
            load_picture(tmp_path / name)


def test_sizes_that_do_not_fit_name_the_nearest():
    assert check_size((128, 64)) == (128, 64)
    with pytest.raises(HackamoreError) as error:
        check_size((130, 61))
    assert "128x64" in str(error.value)
