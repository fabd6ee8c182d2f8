"""What a server loads and accepts: each thing once, within its memory, and nothing but what is on offer."""

import base64
import io
import struct
import threading
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.core.image import png
from hackamore.serving.models import Models
from hackamore.serving.pictures import read_picture
from hackamore.serving.request import Request, UnitRequest
from hackamore.serving.settings import Limits, Offer, ServeSettings
from hackamore.serving.shelf import Shelf

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
MOST = 1_000_000


def encoded(data):
    return base64.b64encode(data).decode()


def saved(kind, *frames, **told):
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in (frames or (PICTURE,))]
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(buffer, kind, **more, **told)
    return buffer.getvalue()


def settings(**told):
    return ServeSettings(**({"devices": ("cpu",)} | told))


@pytest.fixture(scope="module")
def models():
    return Models(settings(limits=Limits(steps=50, pictures=4, units=2, pixels=256 * 256)))


def test_two_that_ask_at_once_load_once(models, monkeypatch):
    from hackamore.controls import catalog

    loads, found = [], []
    real = catalog.load_control

    def load(name, base, **options):
        loads.append(str(name))
        return real(name, base, **options)

    monkeypatch.setattr(catalog, "load_control", load)
    asking = [threading.Thread(target=lambda: found.append(models.control("meadow/canny"))) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(60)
    assert loads == ["meadow/canny"]
    assert len(found) == 4
    assert len({id(one) for one in found}) == 1
    told = {offer["name"]: offer for offer in models.offers()}
    parameters = sum(p.numel() * p.element_size() for p in found[0].parameters())
    assert told["meadow/canny"]["mib"] == pytest.approx(parameters / 2**20, abs=0.2)
    assert told["meadow/canny"]["sha256"]
    assert not told["meadow/seg"]["loaded"]


def test_the_least_used_is_let_go_and_never_one_in_use():
    models = Models(settings(memory_mib=80, bases=(Offer(name="meadow", path="meadow"),)))
    first = models.control("meadow/canny")
    models.control("meadow/seg")
    assert models.memory()["loaded"] == ["meadow", "meadow/seg"]
    assert models.memory()["used_mib"] <= 80
    with models.hold() as held:
        again = models.control("meadow/canny", held=held)
        assert again is not first
        with pytest.raises(WorkFailed, match="no room"):
            models.control("meadow/seg")
        for name in ("meadow/canny", "meadow"):
            with pytest.raises(WorkFailed, match="in use"):
                models.unload(name)
        assert models.control("meadow/canny") is again
    assert not models.unload("meadow")["loaded"]
    assert models.memory()["used_mib"] == 0


def test_what_is_larger_than_the_memory_is_refused_in_words():
    models = Models(settings(memory_mib=10))
    with pytest.raises(HackamoreError, match="larger than the memory") as told:
        models.base()
    assert "at most 10 MiB" in str(told.value)
    assert models.memory()["loaded"] == []


def test_shared_tensors_count_once():
    import torch
    from torch import nn

    shelf, layer = Shelf(None), nn.Linear(512, 512)
    shelf.get("a", "a", lambda: layer)
    shelf.get("b", "b", lambda: nn.Sequential(layer, nn.Linear(1, 1)))
    assert shelf.mib() == pytest.approx(512 * 513 * 4 / 2**20, abs=0.01)
    assert torch.is_tensor(layer.weight)


def test_a_load_that_fails_leaves_nothing_and_may_be_tried_again():
    shelf, tries = Shelf(None), []

    def load():
        tries.append(1)
        if len(tries) == 1:
            raise WorkFailed("no")
        return "here"

    with pytest.raises(WorkFailed):
        shelf.get("a", "a", load)
    assert shelf.get("a", "a", load) == "here"


def test_only_the_offers_can_be_named(models, tmp_path):
    for name in ("/etc/passwd", str(tmp_path), "../meadow", "stabilityai/sdxl", "http://host/x"):
        with pytest.raises(HackamoreError, match="unknown base"):
            models.check(Request(prompt="x", base=name))
        unit = UnitRequest(kind="canny", image=encoded(png(PICTURE)), model=name)
        with pytest.raises(HackamoreError, match="unknown control"):
            models.check(Request(prompt="x", controls=(unit,)))
        with pytest.raises(HackamoreError, match="unknown model"):
            models.load(name)
    two = Models(settings(bases=(Offer(name="a", path="meadow"), Offer(name="b", path=str(tmp_path)))))
    with pytest.raises(HackamoreError, match="not for the base b"):
        two.control("meadow/canny", "b")
    assert [one["name"] for one in two.offers() if one["base"] == "a"] == ["meadow/canny", "meadow/seg", "reference"]
    with pytest.raises(HackamoreError, match="same name"):
        Models(settings(bases=(Offer(name="a", path="meadow"), Offer(name="a", path="x"))))


def test_a_check_fills_in_what_was_left_open_and_changes_nothing_else(models):
    request = Request(prompt="x", steps=7)
    filled = models.check(request)
    assert (filled.base, filled.size, filled.guidance, filled.scheduler) == ("meadow", (128, 128), 3.0, "ddim")
    assert filled.seed is not None
    assert models.check(filled) == filled
    assert filled.model_copy(update=dict.fromkeys(("base", "size", "guidance", "scheduler", "seed"))) == request


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"steps": 51}, "too many steps"),
        ({"num": 5}, "too many pictures"),
        ({"size": (512, 256)}, "size is out of range"),
        ({"size": (-8, -8)}, "size is out of range"),
        ({"size": (100, 100)}, "does not fit the base"),
        ({"scheduler": "nothing"}, "unknown scheduler"),
        ({"strength": 0.5}, "strength without a start picture"),
        ({"mask": "iVBOR"}, "the mask is not base64"),
        ({"init": "iVBORw0KGgo="}, "the start picture cannot be read"),
        ({"controls": 3}, "too many units"),
        ({"unit": {"scale": 0}}, "silent at all of the 4 steps"),
        ({"unit": {"start": 0.5, "schedule": "1@0"}}, "a schedule and start"),
        ({"unit": {"start": 0.8, "end": 0.2}}, "starts after it ends"),
        ({"unit": {"schedule": "x"}}, "schedule is not understood"),
        ({"unit": {"kind": "nothing"}}, "unknown annotator"),
        ({"unit": {"kind": "depth_midas"}}, "does not work on this server"),
        ({"unit": {"kind": "inpaint"}}, "inpaint needs a mask"),
        ({"unit": {"parameters": {"density": "many"}}}, "density"),
        ({"unit": {"parameters": {"folder": "/etc"}}}, "takes no folder"),
        ({"unit": {"kind": "seg_ade20k", "parameters": {"download": True}}}, "takes no download"),
        ({"unit": {"kind": "reference", "parameters": {"encoder": "/etc"}}}, "takes no encoder"),
        ({"unit": {"weights": (0.5,)}}, "layer weights"),
        ({"unit": {"weights": (0.5,) * 7, "mode": "guess"}}, "mode guess"),
        ({"unit": {"type": "depth"}}, "does not know 'type'"),
        ({"unit": {"mask": encoded(png(np.zeros((16, 16, 3), np.uint8)))}}, "the mask is empty"),
        ({"unit": {"model": "reference"}}, "does not take canny"),
        ({"unit": {"people": {}, "image": None}}, "has no list of people"),
        ({"unit": {"image": "https://host/picture.png"}}, "the picture of canny is not base64"),
        ({"unit": {"mask": "/etc/passwd"}}, "the mask of canny is not base64"),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_is_accepted(models, told, words):
    unit = {"kind": "canny", "image": encoded(png(PICTURE))}
    if "unit" in told:
        told = {"controls": (UnitRequest(**(unit | told["unit"])),)}
    elif "controls" in told:
        told = {"controls": (UnitRequest(**unit),) * told["controls"]}
    with pytest.raises(HackamoreError, match=words) as error:
        models.check(Request(**({"prompt": "x", "steps": 4} | told)))
    assert not isinstance(error.value, WorkFailed)


def test_pictures_of_every_kind_are_read_and_animations_give_their_first_frame():
    for kind in ("PNG", "WEBP", "TIFF", "BMP"):
        told = {"lossless": True} if kind == "WEBP" else {}
        assert (read_picture(encoded(saved(kind, **told)), MOST) == PICTURE).all()
    assert (read_picture("data:image/png;base64," + encoded(png(PICTURE)), MOST) == PICTURE).all()
    assert read_picture(encoded(saved("JPEG")), MOST).shape == PICTURE.shape
    red, blue = (np.full((16, 16, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    for kind in ("GIF", "PNG"):
        assert (read_picture(encoded(saved(kind, red, blue)), MOST) == red).all()


def _header(width, height, body=b""):
    """A PNG that declares a size; ``body`` is what its pixels are said to be."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    told = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", told) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


HOSTILE = {
    "a path": "/etc/passwd",
    "an address": "https://host/picture.png",
    "a file address": "file:///etc/passwd",
    "nothing": " ",
    "no base64": "data:image/png,abc",
    "a drawing": encoded(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    "a program": encoded(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n"),
    "text": encoded(b"hello" * 50),
    "a bomb": encoded(_header(30_000, 30_000)),
    "a larger bomb": encoded(_header(2**31 - 1, 2**31 - 1)),
    "a thread": encoded(_header(8, 100_000)),
    "too many pixels": encoded(saved("PNG", np.zeros((1001, 1000, 3), np.uint8))),
    "too small": encoded(saved("PNG", np.zeros((4, 40, 3), np.uint8))),
    "no pixels": encoded(_header(64, 64)),
    "half a picture": encoded(png(PICTURE)[:900]),
    "half a JPEG": encoded(saved("JPEG")[:300]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_in_words_before_its_pixels_are_made(name, monkeypatch):
    if "bomb" in name or name == "a thread":
        monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(HackamoreError) as error:
        read_picture(HOSTILE[name], MOST, "the mask")
    assert error.value.what.startswith("the mask ")
    assert len(str(error.value)) < 600


def test_damaged_files_of_every_kind_are_never_more_than_an_error():
    generator = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = saved(kind)
        for _ in range(40):
            data = bytearray(whole[: generator.integers(1, len(whole) + 1)])
            for place in generator.integers(0, min(len(data), 200), 3):
                data[place] = generator.integers(256)
            with suppress(HackamoreError):
                assert read_picture(encoded(bytes(data)), MOST).dtype == np.uint8


def test_the_pictures_of_a_request_are_checked_one_at_a_time():
    side = 2000
    models = Models(settings(limits=Limits(units=8)))
    picture = encoded(saved("PNG", np.full((side, side, 3), 90, np.uint8)))
    units = tuple(UnitRequest(kind="canny", image=picture) for _ in range(8))
    models.check(Request(prompt="x", controls=units[:1]))  # what is loaded once is no part of it
    tracemalloc.start()
    try:
        models.check(Request(prompt="x", controls=units))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * side * side * 3
