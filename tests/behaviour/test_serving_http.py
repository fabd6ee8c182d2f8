"""Our own routes: jobs from the asking to the forgetting, hints, models, and what the server says of itself."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import zipfile
from io import BytesIO
from urllib.parse import urljoin
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

from hackamore.core.image import load_picture  # noqa: E402
from hackamore.core.recipe import Recipe  # noqa: E402
from hackamore.serving.engine import Unknown  # noqa: E402
from hackamore.serving.http.a1111_desk import Desk  # noqa: E402
from hackamore.serving.http.errors import Refused  # noqa: E402
from hackamore.serving.http.events import stream  # noqa: E402
from hackamore.serving.http.waiting import Narrow  # noqa: E402
from hackamore.serving.job import Event, Job  # noqa: E402
from hackamore.serving.settings import Limits  # noqa: E402
from tests.behaviour.serving_rig import LOCAL, Rig, errors_of, picture, rig, served, until  # noqa: E402


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("http"), limits={"queue": 8, "pixels": 128 * 128}) as one:
        yield one


@pytest.fixture(scope="module")
def client(parts: Rig) -> TestClient:
    return TestClient(parts.app, base_url=LOCAL)


def done(client: TestClient, **told) -> dict:
    answer = client.post("/v1/jobs?wait=true", json={"prompt": "x", "steps": 2, "seed": 5, **told})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_job_is_accepted_then_done_and_its_picture_is_there(client: TestClient):
    answer = client.post("/v1/jobs", json={"prompt": "a lake", "steps": 2, "num": 2, "seed": 40})
    assert answer.status_code == 202
    job = answer.json()
    assert urljoin(f"{LOCAL}/v1/jobs", answer.headers["Location"]) == f"{LOCAL}/v1/jobs/{job['id']}"
    until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done")
    job = client.get(f"/v1/jobs/{job['id']}").json()
    assert [one["seed"] for one in job["pictures"]] == [40, 41]
    for place, shade in enumerate((40, 41)):
        got = client.get(f"/v1/jobs/{job['id']}/images/{place}")
        assert got.headers["content-type"] == "image/png"
        assert (load_picture(got.content) == shade).all()
    recipe = Recipe.model_validate_json(client.get(f"/v1/jobs/{job['id']}/images/1?format=recipe").text)
    assert (recipe.prompt, recipe.seed) == ("a lake", 41)
    missing = client.get(f"/v1/jobs/{job['id']}/images/2")
    assert missing.status_code == 404
    assert errors_of(missing)["expected"] == "0 to 1"


def test_the_accepted_request_makes_the_same_again(client: TestClient):
    first = done(client, seed=None, prompt="a meadow")
    again = client.get(f"/v1/jobs/{first['id']}/request").json()
    assert again["seed"] == first["pictures"][0]["seed"]
    second = client.post("/v1/jobs?wait=true", json=again).json()
    assert second["pictures"][0]["sha256"] == first["pictures"][0]["sha256"]


def test_an_open_raster_holds_the_picture_above_its_hints_and_its_start(client: TestClient):
    job = done(client, init=picture(), controls=[{"kind": "canny", "image": picture()}])
    answer = client.get(f"/v1/jobs/{job['id']}/images/0?format=ora")
    assert answer.headers["content-type"] == "image/openraster"
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        layers = ElementTree.fromstring(archive.read("stack.xml")).findall("stack/layer")
        assert [layer.get("name") for layer in layers] == ["picture", "canny (meadow/canny)", "start picture"]
        assert [layer.get("visibility") for layer in layers] == ["visible", "hidden", "hidden"]
        shown = [load_picture(archive.read(layer.get("src") or "")) for layer in layers]
        assert [int(layer[0, 0, 0]) for layer in shown] == [5, 200, 0]
        assert (load_picture(archive.read("mergedimage.png")) == 5).all()
        assert archive.read("Thumbnails/thumbnail.png")
    hint = client.get(f"/v1/jobs/{job['id']}/hints/0")
    assert (load_picture(hint.content) == 200).all()


def test_jobs_are_listed_newest_first_and_by_pages(client: TestClient):
    told = [done(client, prompt=f"number {number}")["id"] for number in range(3)]
    first = client.get("/v1/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first] == told[:0:-1]
    rest = client.get("/v1/jobs", params={"limit": 1, "before": first[-1]["created"]}).json()
    assert [job["id"] for job in rest] == told[:1]


def test_only_an_over_job_is_removed_and_then_it_is_unknown(parts: Rig, client: TestClient):
    parts.painter.go.clear()
    job = client.post("/v1/jobs", json={"prompt": "x", "steps": 2}).json()["id"]
    refused = client.delete(f"/v1/jobs/{job}")
    assert refused.status_code == 409
    assert "cancel" in errors_of(refused)["remedy"]
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 200
    parts.painter.go.set()
    until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled")
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    for path in ("", "/request", "/events", "/images/0", "/hints/0"):
        assert client.get(f"/v1/jobs/{job}{path}").status_code == 404


def test_a_full_queue_says_when_to_come_again(parts: Rig, client: TestClient):
    parts.painter.go.clear()
    jobs = []
    try:
        while (answer := client.post("/v1/jobs", json={"prompt": "x", "steps": 1})).status_code == 202:
            jobs.append(answer.json()["id"])
            assert len(jobs) < 12
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert errors_of(answer)["type"] == "rate_limit_error"
        assert len(jobs) >= 8
    finally:
        parts.painter.go.set()
    until(lambda: all(client.get(f"/v1/jobs/{job}").json()["state"] == "done" for job in jobs))


def test_work_that_failed_is_told_in_the_job(client: TestClient):
    job = done(client, prompt="fail")
    assert job["state"] == "failed"
    assert job["error"]["what"] == "the colours ran out"
    assert job["error"]["input"] is False


def test_events_follow_a_job_to_its_end(parts: Rig, tmp_path):
    parts.painter.go.clear()
    job = parts.engine.submit(parts.models.check(_request(steps=4, preview=1)))
    heard: list[tuple[str, dict]] = []
    with served(parts_of(parts)) as url, httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                heard.append((name, json.loads(line.removeprefix("data: "))))
                parts.painter.go.set()
    names = [name for name, _ in heard]
    assert names[-1] == "over"
    assert "over" not in names[:-1]
    assert set(names) <= {"progress", "preview", "over"}
    shares = [told["job"]["progress"] for _, told in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for name, told in heard:
        if name == "preview":
            assert load_picture(base64.b64decode(told["preview"])).shape == (32, 32, 3)


def parts_of(parts: Rig) -> Rig:
    """The same server whose engine outlives the listening one."""
    return Rig(parts.settings, _Lasting(parts.engine), parts.models, parts.painter)


class _Lasting:
    """An engine that a server cannot stop."""

    def __init__(self, engine) -> None:
        self._engine = engine

    def stop(self, grace: float = 0.0) -> None:
        """It goes on."""

    def __getattr__(self, name: str):
        return getattr(self._engine, name)


def _request(**told):
    from hackamore.serving.request import Request

    return Request(prompt="x", **told)


def test_silence_on_a_stream_is_broken_by_comments():
    import asyncio

    async def slow():
        job = Job(id="0" * 32, created=0)
        yield Event(job=job)
        await asyncio.sleep(0.2)
        yield Event(job=job.model_copy(update={"state": "done"}))
        raise AssertionError("nothing is asked for after the end")

    async def read() -> list[bytes]:
        return [part async for part in stream(slow(), silence=0.03)]

    heard = asyncio.run(read())
    assert heard[0].startswith(b"event: progress\n")
    assert heard[-1].startswith(b"event: over\n")
    assert len(heard) > 2
    assert all(part.startswith(b":") for part in heard[1:-1])


def test_who_hangs_up_while_waiting_or_following_cancels_nothing(parts: Rig):
    parts.painter.go.clear()
    with served(parts_of(parts)) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/jobs?wait=true", json={"prompt": "left", "steps": 1}, timeout=0.5)
        job = httpx.get(f"{url}/v1/jobs?limit=1").json()[0]
        with httpx.stream("GET", f"{url}/v1/jobs/{job['id']}/events") as answer:
            next(answer.iter_lines())
        parts.painter.go.set()
        until(lambda: httpx.get(f"{url}/v1/jobs/{job['id']}").json()["state"] == "done")
        assert job["summary"]["prompt"] == "left"


def test_a_server_that_stops_tells_those_who_wait(tmp_path):
    with rig(tmp_path) as one:
        one.painter.go.clear()
        answers: list[httpx.Response] = []
        with served(one) as url:
            ask = threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{url}/v1/jobs?wait=true", json={"prompt": "x", "steps": 1}, timeout=60)
                )
            )
            ask.start()
            until(lambda: one.engine.counts().get("running"))
        ask.join(30)
    assert answers[0].status_code == 503
    assert "stopping" in errors_of(answers[0])["what"]


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
    info = client.get("/v1/info").json()
    (base,) = info["bases"]
    assert (base["name"], base["size"], base["guidance"]) == ("meadow", [128, 128], 3.0)
    assert "dpm++_2m" in base["schedulers"]
    assert {one["kind"] for one in info["controls"]["meadow"]} >= {"canny", "seg"}
    assert {"name": "water", "colour": [40, 90, 170]} in info["palette"]
    assert len(info["palettes"]["ade20k"]) == 150
    assert len(info["pose"]["joints"]) == 18
    assert len(info["pose"]["limbs"]) == 17
    assert info["limits"]["queue"] == 8


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
        _request(**{name: value for name, value in example["value"].items() if name != "prompt"})
    assert client.get("/docs").headers["content-type"].startswith("text/html")


def test_a_server_that_stopped_or_whose_disk_is_full_says_so_by_its_status(tmp_path):
    with rig(tmp_path) as one:
        client = TestClient(one.app, base_url=LOCAL)
        base = one.engine._kept._base
        (pages,) = base.execute("PRAGMA page_count").fetchone()
        base.execute(f"PRAGMA max_page_count={pages}")
        for route in ("/v1/jobs", "/sdapi/v1/txt2img", "/v1/images/generations"):
            answer = client.post(route, json={"prompt": "x" * 8000})
            assert (answer.status_code, "full" in errors_of(answer)["received"]) == (507, True)
        base.execute("PRAGMA max_page_count=1000000")
        with one.models.hold() as held:
            one.models.base(held=held)
            assert client.post("/v1/models/meadow/unload").status_code == 409
    for route in ("/v1/jobs", "/sdapi/v1/txt2img", "/v1/images/generations"):
        assert client.post(route, json={"prompt": "x"}).status_code == 503
    assert client.get("/v1/jobs").status_code == 503


def test_who_waits_for_what_expires_is_told_to_come_later(tmp_path):
    with rig(tmp_path, limits=Limits(seconds=0.2)) as one:
        one.painter.go.clear()
        answer = TestClient(one.app, base_url=LOCAL).post("/v1/images/generations", json={"prompt": "x"})
    assert answer.status_code == 503
    assert "deadline" in errors_of(answer)["what"]


def test_more_than_may_wait_are_answered_429(client: TestClient):
    go = threading.Event()

    async def ask() -> list[object]:
        narrow = Narrow(1, 1)
        asking = [asyncio.ensure_future(narrow.run(lambda: go.wait(20))) for _ in range(3)]
        await asyncio.wait(asking, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    *worked, refused = asyncio.run(ask())
    assert worked == [True, True]
    assert isinstance(refused, Refused)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    paths = client.get("/openapi.json").json()["paths"]
    for route in ("/v1/annotate", "/controlnet/detect", "/controlnet/render_openpose_json"):
        assert "429" in paths[route]["post"]["responses"]


def test_a_job_that_is_gone_is_not_on_its_way(parts: Rig):
    desk = Desk(parts.engine, "meadow")

    async def go() -> None:
        async with desk.going("0" * 32, 1, 1):
            pass

    with pytest.raises(Unknown):
        asyncio.run(go())
    assert desk._going == {}
