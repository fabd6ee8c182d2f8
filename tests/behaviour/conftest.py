"""The command in this process, an empty folder to work in, and an engine at work."""

import sys

import numpy as np
import pytest
from PIL import Image

from hackamore.cli.main import main
from hackamore.core import palette
from hackamore.serving.engine import Engine
from hackamore.serving.http.a1111_names import offered
from hackamore.serving.models import Models
from hackamore.serving.settings import Limits, ServeSettings
from hackamore.training.trainer import train
from tests.line import RUN, Line
from tests.serving_workers import Plain, checked
from tests.transformer_models import SD3, load, write_flux, write_sd3

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a photograph and a painted segmentation."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    classes = np.zeros((64, 64), np.uint8)
    classes[32:] = 2
    Image.fromarray(palette.paint(classes)).save("painted.png")
    return tmp_path


@pytest.fixture(scope="session")
def offers():
    """What a server offers that was told nothing, as the WebUI's routes see it."""
    return offered(Models(ServeSettings()).offers())


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["hackamore", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The folder of a small run that nothing interrupted."""
    return train(Line(), RUN, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def worker():
    """What the engine's requests are worked on by."""
    return Plain()


@pytest.fixture
def held(worker):
    """A worker that holds each step until ``go`` is set."""
    worker.go.clear()
    return worker


@pytest.fixture
def engine(worker, tmp_path):
    """An engine with one worker, four jobs at a time and room for five."""
    settings = ServeSettings(folder=tmp_path / "server", batch=4, limits=Limits(queue=5))
    engine = Engine(settings, [worker], checked)
    engine.start()
    yield engine
    worker.go.set()
    engine.stop()


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return load(write_sd3(tmp_path_factory.mktemp("sd3"), SD3))


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return load(write_flux(tmp_path_factory.mktemp("flux")))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A server with a small queue, and what it is made of."""
    from tests.behaviour.serving_rig import rig

    with rig(tmp_path_factory.mktemp("http"), limits={"queue": 8, "pixels": 128 * 128}) as one:
        yield one


@pytest.fixture(scope="module")
def client(parts):
    """One that asks it, from the same machine."""
    from fastapi.testclient import TestClient

    from tests.behaviour.serving_rig import LOCAL

    return TestClient(parts.app, base_url=LOCAL)
