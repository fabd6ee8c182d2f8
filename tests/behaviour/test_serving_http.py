"""Jobs by our own routes, from the asking to the forgetting, and what is answered when that cannot be."""

from __future__ import annotations

import asyncio
import threading
import zipfile
from io import BytesIO
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree

import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

from hackamore.core.image import load_picture  # noqa: E402
from hackamore.core.recipe import Recipe  # noqa: E402
from hackamore.serving.http.errors import Refused  # noqa: E402
from hackamore.serving.http.waiting import Narrow  # noqa: E402
from hackamore.serving.settings import Limits  # noqa: E402
from tests.behaviour.serving_rig import LOCAL, Rig, done, errors_of, picture, rig, until  # noqa: E402


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


@pytest.mark.parametrize(
    "route",
    [
        ("/sdapi/v1/txt2img", {}),
        ("/v1/images/generations", {}),
        ("/v1/images/generations", {"output_format": "webp"}),
    ],
)
def test_a_picture_that_is_removed_while_it_is_read_is_told_so(parts: Rig, client: TestClient, monkeypatch, route):
    found = parts.engine.picture

    def picture(job_id: str, index: int) -> Path:
        path = found(job_id, index)
        parts.engine.delete(job_id)
        return path

    monkeypatch.setattr(parts.engine, "picture", picture)
    answer = client.post(route[0], json={"prompt": "x"} | route[1])
    assert answer.status_code == 404, answer.text
    assert errors_of(answer)["what"] == "this picture was just removed"
