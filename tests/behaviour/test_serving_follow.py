"""Who follows a job by its events, waits for it, or hangs up."""

from __future__ import annotations

import asyncio
import base64
import json
import threading

import httpx
import pytest

fastapi = pytest.importorskip("fastapi")

from hackamore.core.image import load_picture  # noqa: E402
from hackamore.serving.engine import Unknown  # noqa: E402
from hackamore.serving.http.a1111_desk import Desk  # noqa: E402
from hackamore.serving.http.events import stream  # noqa: E402
from hackamore.serving.job import Event, Job  # noqa: E402
from tests.behaviour.serving_rig import Rig, errors_of, lasting, request, rig, served, until  # noqa: E402


def test_events_follow_a_job_to_its_end(parts: Rig, tmp_path):
    parts.painter.go.clear()
    job = parts.engine.submit(parts.models.check(request(steps=4, preview=1)))
    heard: list[tuple[str, dict]] = []
    with served(lasting(parts)) as url, httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=20) as answer:
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
    with served(lasting(parts)) as url:
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


def test_a_job_that_is_gone_is_not_on_its_way(parts: Rig):
    desk = Desk(parts.engine, "meadow")

    async def go() -> None:
        async with desk.going("0" * 32, 1, 1):
            pass

    with pytest.raises(Unknown):
        asyncio.run(go())
    assert desk._going == {}
