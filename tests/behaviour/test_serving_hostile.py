"""Hostile inputs against a real server: no fault, no traceback, and no file or network but its own."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from tests.behaviour.serving_rig import LOCAL, errors_of, rig
from tests.hostile_inputs import PLACES, Input, hostile_inputs, hostile_pictures
from tests.watched_server import Watched, fault_of, patient_client, send

COUNT = 120


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    with Watched(tmp_path_factory.mktemp("hostile"), ["--no-canvas", "--queue", "1000"]) as server:
        with patient_client(server.url) as client:
            told = {"prompt": "x", "steps": 2, "controls": [{"kind": "canny", "image": hostile_pictures()[0]}]}
            assert client.post("/v1/jobs", params={"wait": True}, json=told).json()["state"] == "done"
        server.arm()
        yield server


def test_hostile_inputs_are_refused_and_touch_nothing(watched: Watched):
    faults = {}
    with patient_client(watched.url) as client:
        for number, one in enumerate(hostile_inputs(COUNT)):
            if fault := fault_of(send(client, watched.url, one)):
                faults[number] = (fault, one.path, one.headers, one.content[:500])
        assert client.get("/healthz").json()["status"] == "ok"
        failed = [job["error"] for job in client.get("/v1/jobs?limit=1000").json() if job["state"] == "failed"]
    assert not faults
    assert all(error["input"] for error in failed)
    assert "Traceback" not in watched.log.read_text(encoding="utf-8")
    assert watched.forbidden == []


def test_the_watch_sees_what_a_server_must_not_do(tmp_path):
    """The trace itself can fail."""
    import subprocess
    import sys
    from pathlib import Path

    import tests.watched_server as module

    words = (
        "import sys, os, signal, socket; from pathlib import Path; from tests.watched_server import watch;"
        "watch(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGUSR1);"
        "open('/etc/hostname').close(); open(sys.argv[1] + '.x', 'w').close();"
        "socket.socket().connect_ex(('127.0.0.1', 9))"
    )
    audit = tmp_path / "audit.jsonl"
    root = Path(module.__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", words, str(audit)], check=True, cwd=root, timeout=60)
    noted = audit.read_text(encoding="utf-8")
    for sign in ("/etc/hostname", "audit.jsonl.x", "socket.connect"):
        assert sign in noted


@pytest.mark.parametrize("place", [*PLACES[:10], "data:image/png;base64,/etc/passwd"])
def test_a_place_is_never_a_picture(tmp_path_factory, place: str, client: TestClient):
    unit = {"kind": "canny", "image": place}
    for told in ({"init": place}, {"controls": [unit]}, {"controls": [{**unit, "image": _good(), "mask": place}]}):
        answer = client.post("/v1/jobs", json={"prompt": "x", "steps": 1, **told})
        assert answer.status_code == 400, answer.text
        errors_of(answer)


def test_limits_are_told_in_words(client: TestClient):
    told = {
        "num": 17, "steps": 101, "size": [2048, 2048], "controls": [{"kind": "canny", "image": _good()}] * 9,
    }  # fmt: skip
    for name, value in told.items():
        answer = client.post("/v1/jobs", json={"prompt": "x", name: value})
        assert answer.status_code == 400, name
        assert errors_of(answer)["expected"]


def test_bombs_and_other_files_are_no_pictures(client: TestClient):
    for data in hostile_pictures()[1:]:
        answer = client.post("/v1/annotate", json={"kind": "canny", "image": data})
        assert answer.status_code in (400, 422), data[:60]
        errors_of(answer)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("small")) as one:
        yield TestClient(one.app, base_url=LOCAL)


def test_the_inputs_are_many_and_the_same_each_time():
    first, second = list(hostile_inputs(100)), list(hostile_inputs(100))
    assert first == second
    assert len({(one.path, one.content, one.raw, tuple(one.headers)) for one in first}) > 80
    assert sum(one == Input() for one in first) == 0


def _good() -> str:
    picture = hostile_pictures()[0]
    assert base64.b64decode(picture)
    return picture
