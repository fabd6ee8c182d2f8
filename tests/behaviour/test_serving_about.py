"""Hints, models, and what the server says of itself."""

from __future__ import annotations

import base64

import numpy as np
import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

from hackamore.core.image import load_picture  # noqa: E402
from tests.behaviour.serving_rig import LOCAL, Rig, done, picture, request, rig, until  # noqa: E402


def test_a_hint_is_the_one_that_a_unit_would_get(client: TestClient):
    from hackamore.annotators.catalog import annotate

    told = {"kind": "canny", "image": picture(64, 48), "parameters": {"low": 50, "high": 100}, "size": [32, 24]}
    body = client.post("/v1/annotate", json=told).json()
    hint = load_picture(base64.b64decode(body["image"]))
    source = load_picture(base64.b64decode(str(told["image"])))
    assert (hint == annotate("canny", source, size=(32, 24), low=50, high=100)).all()
    assert (body["width"], body["height"]) == (32, 24)


def test_people_become_a_skeleton_and_stay_people(client: TestClient):
    points = [[20.0 + 4 * joint, 10.0 + 3 * joint, 1.0] for joint in range(18)]
    person = {"pose_keypoints_2d": [value for point in points for value in point]}
    people = {"people": [person], "canvas_width": 100, "canvas_height": 80}
    body = client.post("/v1/annotate", json={"kind": "pose", "people": people}).json()
    assert (body["width"], body["height"]) == (100, 80)
    assert np.unique(load_picture(base64.b64decode(body["image"])).reshape(-1, 3), axis=0).shape[0] > 10
    assert body["people"]["people"][0]["pose_keypoints_2d"][:3] == [20.0, 10.0, 1.0]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"kind": "cany", "image": picture()}, "unknown annotator 'cany'"),
        ({"kind": "depth", "image": picture(), "parameters": {"weights": "/etc"}}, "takes no weights from clients"),
        ({"kind": "inpaint", "image": picture(), "parameters": {"mask": "/etc/passwd"}}, "takes no mask from clients"),
        ({"kind": "canny"}, "either image or people"),
        ({"kind": "canny", "image": "/etc/passwd"}, "base64"),
        ({"kind": "canny", "image": "file:///etc/passwd"}, "base64"),
        ({"kind": "canny", "image": picture(), "size": [-4, 10**9]}, "size"),
        ({"kind": "canny", "image": picture(), "parameters": {"density": 3}}, "density"),
    ],
)
def test_a_hint_that_cannot_be_made_is_refused_in_words(client: TestClient, told: dict, words: str):
    answer = client.post("/v1/annotate", json=told)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


def test_annotators_are_listed_with_ranges_and_whether_they_work_here(client: TestClient):
    listed = {one["kind"]: one for one in client.get("/v1/annotators").json()}
    assert listed["canny"]["usable"]
    assert listed["seg"]["usable"]
    assert not listed["depth_midas"]["usable"]
    assert "weights" in listed["depth_midas"]["reason"]
    for one in listed.values():
        assert not {"weights", "download", "mask"} & {parameter["name"] for parameter in one["parameters"]}
    density = next(one for one in listed["canny"]["parameters"] if one["name"] == "density")
    assert (density["type"], density["default"], density["minimum"], density["maximum"]) == ("number", 0.08, 0, 0.5)
    palette = next(one for one in listed["seg"]["parameters"] if one["name"] == "palette")
    assert (palette["type"], palette["choices"]) == ("choice", ["worlds", "ade20k"])


def test_models_are_listed_as_openai_has_them_and_loaded_by_name(client: TestClient):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    known = {one["id"]: one for one in listed["data"]}
    assert known["meadow"]["type"] == "base"
    assert known["meadow/canny"]["kind"] == "canny"
    assert all(one["object"] == "model" and one["owned_by"] == "hackamore" for one in known.values())
    loaded = client.post("/v1/models/meadow%2Fcanny/load").json()
    assert loaded["loaded"]
    assert loaded["mib"] > 0
    assert not client.post("/v1/models/meadow/canny/unload").json()["loaded"]
    for path in ("/v1/models/other", "/v1/models/..%2Fmeadow"):
        assert client.get(path).status_code == 404
    assert client.post("/v1/models/other/load").status_code == 404


def test_the_info_tells_a_page_all_that_it_needs(client: TestClient):
    client.post("/v1/models/meadow/load")
    info = client.get("/v1/info").json()
    assert info["fast"]["2"] == {"steps": 8, "scheduler": "dpm++_2m"}
    for wrong in ([1], {}, "2x", 9):
        assert client.post("/v1/jobs", json={"prompt": "a lake", "fast": wrong}).status_code in (400, 422)
    (base,) = info["bases"]
    assert (base["name"], base["size"], base["guidance"]) == ("meadow", [128, 128], 3.0)
    assert "dpm++_2m" in base["schedulers"]
    assert {one["kind"] for one in info["controls"]["meadow"]} >= {"canny", "seg"}
    assert {"name": "water", "colour": [40, 90, 170]} in info["palette"]
    assert len(info["palettes"]["ade20k"]) == 150
    assert len(info["pose"]["joints"]) == 18
    assert len(info["pose"]["limbs"]) == 17
    assert info["limits"]["queue"] == 8


def test_the_info_loads_nothing(client: TestClient):
    client.post("/v1/models/meadow/unload")
    for _ in range(2):
        (base,) = client.get("/v1/info").json()["bases"]
        assert (base["loaded"], base["size"], base["guidance"]) == (False, None, None)


def test_health_and_metrics_tell_how_the_server_is(parts: Rig, client: TestClient):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.head("/healthz").status_code == 200
    before = _metrics(client)
    job = done(client, num=3)
    after = _metrics(client)
    assert after["hackamore_pictures_total"] == before.get("hackamore_pictures_total", 0) + 3
    waited = "hackamore_job_waiting_seconds_count"
    assert after[waited] == before[waited] + 1
    assert after['hackamore_jobs{state="done"}'] == before['hackamore_jobs{state="done"}'] + 1
    assert after["hackamore_queue_length"] == 0
    route = 'hackamore_http_requests_total{method="POST",route="/v1/jobs",status="200"}'
    assert after[route] == before.get(route, 0) + 1
    assert job["id"] not in client.get("/metrics").text


def test_health_is_bad_when_no_worker_runs(tmp_path):
    with rig(tmp_path) as one:
        client = TestClient(one.app, base_url=LOCAL)
        assert client.get("/healthz").status_code == 200
        one.engine.stop(0)
        until(lambda: client.get("/healthz").status_code == 503)


def _metrics(client: TestClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_description_is_complete(parts: Rig, client: TestClient):
    described = client.get("/openapi.json").json()
    ours = {
        path: told for path, told in described["paths"].items() if path.startswith(("/v1/", "/healthz", "/metrics"))
    }
    assert len(ours) >= 14
    for path, methods in ours.items():
        for method, told in methods.items():
            assert told["summary"], (path, method)
            assert told["description"], (path, method)
            assert {"400", "401", "500"} <= set(told["responses"]), (path, method)
            for status, answer in told["responses"].items():
                assert status == "204" or "content" in answer, (path, method, status)
    body = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        request(**{name: value for name, value in example["value"].items() if name != "prompt"})
    assert client.get("/docs").headers["content-type"].startswith("text/html")
