"""The worker of a server on Meadow: requests as clients send them → pictures, reports, failures in words."""

import base64
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from hackamore.core.image import png
from hackamore.core.palette import WORLDS
from hackamore.core.recipe import read_recipe
from hackamore.generate import generate
from hackamore.serving.job import Failure
from hackamore.serving.local import LocalWorker
from hackamore.serving.models import Models
from hackamore.serving.request import Request, UnitRequest
from hackamore.serving.settings import ServeSettings
from hackamore.serving.worker import Made, Stopped
from hackamore.worlds import render


def encoded(picture):
    return base64.b64encode(png(np.ascontiguousarray(picture))).decode()


@pytest.fixture(scope="module")
def world():
    return render(9_000_001, 128)


@pytest.fixture(scope="module")
def photo(world):
    return encoded(world.picture)


@pytest.fixture(scope="module")
def painted(world):
    return encoded(WORLDS.paint(world.segmentation))


@pytest.fixture(scope="module")
def settings():
    return ServeSettings(devices=("cpu",), batch=4)


@pytest.fixture(scope="module")
def models(settings):
    return Models(settings)


@pytest.fixture(scope="module")
def worker(models, settings):
    return LocalWorker(models, settings, "cpu", "cpu")


def asked(*units, **told):
    return Request(**({"prompt": "a lake below a mountain", "steps": 2, "seed": 5, "controls": units} | told))


def work(worker, *requests, told=lambda *_: None, wanted=lambda _: True):
    return worker.work(requests, told, wanted)


def test_a_batch_of_different_units_gives_pictures_with_recipes_and_reports(worker, models, photo, painted, tmp_path):
    heard = []
    requests = [
        models.check(asked(UnitRequest(kind="canny", image=photo, scale=0.9, end=0.5), preview=1)),
        models.check(
            asked(UnitRequest(kind="seg", image=painted), UnitRequest(kind="canny", image=photo, mode="guess"))
        ),
        models.check(asked(num=2, guidance=1.0)),
    ]
    assert len({worker.key(request) for request in requests}) == 1
    made = work(worker, *requests, told=lambda *told: heard.append(told))
    assert all(isinstance(one, Made) for one in made)
    assert [len(one.pictures) for one in made] == [1, 1, 2]
    (unit,) = made[0].reports[0].units
    assert (unit.control, unit.kind, unit.scale, unit.end, unit.mode) == ("meadow/canny", "canny", 0.9, 0.5, "balanced")
    assert unit.hint_sha256 == hashlib.sha256(made[0].hints[0]).hexdigest()
    assert next(iter(unit.fidelity)).startswith("canny F1")
    assert unit.sha256 == models.control("meadow/canny").sha256
    assert [one.kind for one in made[1].reports[0].units] == ["seg", "canny"]
    assert made[0].reports[0].sha256 == hashlib.sha256(made[0].pictures[0]).hexdigest()
    (tmp_path / "one.png").write_bytes(made[2].pictures[1])
    recipe = read_recipe(tmp_path / "one.png")
    assert (recipe.seed, recipe.prompt) == (6, "a lake below a mountain")
    alone = generate(models.base(), recipe.prompt, seed=6, steps=2, guidance=1.0).images[0].pixels
    assert np.abs(alone.astype(int) - np.array(Image.open(io.BytesIO(made[2].pictures[1])))).max() <= 1
    previews = [picture for number, _, picture in heard if number == 0 and picture]
    assert len(previews) == 1
    assert max(Image.open(io.BytesIO(previews[0])).size) == 128
    for number in range(3):
        shares = [share for told, share, _ in heard if told == number]
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_what_is_watched_or_unlike_is_worked_on_alone(worker, models, photo):
    key = worker.key(models.check(asked()))
    assert key is not None
    for other in ({"steps": 3}, {"size": (64, 64)}, {"scheduler": "euler"}, {"init": photo}):
        assert worker.key(models.check(asked(**other))) not in (key, None)
    for alone in (asked(priority="live"), asked(num=4), asked(UnitRequest(kind="reference", image=photo))):
        assert worker.key(models.check(alone)) is None
    assert LocalWorker(models, ServeSettings(devices=("cpu",), batch=1), "cpu", "cpu").key(asked()) is None
    assert LocalWorker(models, ServeSettings(devices=("cpu",)), "cpu", "cpu").batch == 1  # graphs are compiled here
    assert LocalWorker(models, ServeSettings(devices=("cpu", "cpu")), "cpu", "cpu").batch == 4


def test_a_request_that_fails_or_is_not_wanted_does_not_harm_the_others(worker, photo):
    flat = encoded(np.full((64, 64, 3), 90, np.uint8))
    good, blank, gone = work(
        worker,
        asked(UnitRequest(kind="canny", image=photo)),
        asked(UnitRequest(kind="canny", image=flat)),
        asked(),
        wanted=lambda number: number != 2,
    )
    assert isinstance(good, Made)
    assert isinstance(blank, Failure)
    assert blank.input
    assert "canny finds no edges" in blank.words
    assert isinstance(gone, Stopped)
    steps = []
    (stopped,) = work(worker, asked(steps=4), told=lambda *told: steps.append(told), wanted=lambda _: len(steps) < 2)
    assert isinstance(stopped, Stopped)
    assert len(steps) == 2


def test_a_unit_that_cannot_be_applied_is_never_dropped(worker, photo, painted):
    wrong = {
        "silent at all of the 2 steps": UnitRequest(kind="canny", image=photo, start=0.9),
        "no control depth": UnitRequest(kind="depth", image=photo),
        "unknown control 'nothing'": UnitRequest(kind="canny", image=photo, model="nothing"),
        "takes no weights from clients": UnitRequest(kind="seg", image=painted, parameters={"weights": "/etc"}),
        "does not take canny": UnitRequest(kind="canny", image=photo, model="reference"),
        "layer weights": UnitRequest(kind="canny", image=photo, weights=(1.0, 2.0)),
        "does not know 'type'": UnitRequest(kind="canny", image=photo, type="depth"),
        "the mask is empty": UnitRequest(kind="canny", image=photo, mask=encoded(np.zeros((8, 8, 3), np.uint8))),
        "needs a picture or people": UnitRequest(kind="pose"),
    }
    outcomes = work(worker, *(asked(unit) for unit in wrong.values()))
    for words, outcome in zip(wrong, outcomes, strict=True):
        assert isinstance(outcome, Failure), words
        assert outcome.input
        assert words in outcome.words


def test_a_picture_taken_as_it_is_and_a_start_picture_with_a_mask(worker, photo, world):
    mask = np.zeros((128, 128, 3), np.uint8)
    mask[32:96, 32:96] = 255
    requests = [
        asked(UnitRequest(kind="reference", image=photo, parameters={"fidelity": 0.8})),
        asked(UnitRequest(kind="canny", image=photo), init=photo, mask=encoded(mask)),
    ]
    assert worker.key(requests[0]) is None
    referred, painted = work(worker, *requests)
    assert isinstance(referred, Made)
    assert referred.reports[0].units[0].control == "reference"
    assert any("no control-fidelity figure" in notice for notice in referred.notices)
    pixels = np.array(Image.open(io.BytesIO(painted.pictures[0])))
    assert (pixels[mask == 0] == world.picture[mask == 0]).all()


def test_what_nobody_foresaw_is_a_sentence_without_a_traceback(models, settings, caplog):
    class Broken(Models):
        def base(self, *_, **__):
            raise RuntimeError("/secret/place")

    worker = LocalWorker(Broken(settings), settings, "cpu", "cpu")
    (failed,) = work(worker, asked())
    assert isinstance(failed, Failure)
    assert not failed.input
    assert "/secret/place" not in failed.words
    assert "/secret/place" in caplog.text
    models.base()
