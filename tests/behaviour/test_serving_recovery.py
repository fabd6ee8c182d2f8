"""What was accepted ends once, whatever kills the server."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hackamore.serving.active import new_job
from hackamore.serving.engine import Engine
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.store import Store
from tests.serving_workers import Plain, checked, plain, until

ROOT = Path(__file__).parents[2]


def child(folder, submit=0, cut="never") -> subprocess.Popen:
    words = [sys.executable, "-m", "tests.serving_child", folder / "server", folder / "log", str(submit), cut]
    return subprocess.Popen(words, cwd=ROOT)


def lines(folder) -> list[list[str]]:
    log = folder / "log"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def check_once(folder) -> dict[str, list[str]]:
    """Each accepted job is over, was told so once at most, and was not worked on after; their last lines by id."""
    told = lines(folder)
    accepted = {words[1] for words in told if words[0] == "accepted"}
    over: dict[str, list[str]] = {}
    ended: set[str] = set()
    for words in told:
        if words[0] == "over":
            assert words[1] not in over, "it ended twice"
            over[words[1]] = words
            if words[2] == "done":
                ended.add(words[3])
        elif words[0] == "work":
            assert words[1] not in ended, "it was worked on after it was done"
    with closing(Store(folder / "server")) as store:
        jobs = {job.id: job for job in store.jobs(1000)}
        assert accepted <= set(jobs)
        assert all(job.over for job in jobs.values())
        assert store.unfinished() == []
        done = {job.id for job in jobs.values() if job.state == "done"}
        assert {path.name for path in store.results.iterdir()} == done
        for job_id in done:
            (report,) = jobs[job_id].pictures
            assert store.file(job_id, "picture-0.png").read_bytes() == plain(report.seed)
        for job in jobs.values():
            assert job.state in ("done", "expired", "replaced", "failed")
            assert (job.error is None) == (job.state in ("done", "replaced"))
    return over


def test_kill_at_any_moment_and_each_job_ends_once(tmp_path):
    draw = random.Random(5)
    for _ in range(4):
        server = child(tmp_path, submit=400)
        before = len(lines(tmp_path))
        until(lambda server=server, before=before: len(lines(tmp_path)) > before or server.poll() is not None)
        time.sleep(draw.uniform(0.0, 0.4))
        server.kill()
        assert server.wait(20) == -signal.SIGKILL, "it was killed while it worked"
    assert child(tmp_path).wait(60) == 0
    over = check_once(tmp_path)
    assert Counter(words[2] for words in over.values())["done"] > 10


@pytest.mark.parametrize("cut", ["files", "half"])
def test_killed_between_the_pictures_and_the_word(tmp_path, cut):
    assert child(tmp_path, 3, cut).wait(60) == -signal.SIGKILL
    assert list((tmp_path / "server" / "results").iterdir()), "pictures were left that nobody was told of"
    assert child(tmp_path).wait(60) == 0
    over = check_once(tmp_path)
    assert {words[2] for words in over.values()} == {"done"}
    assert max(int(words[4]) for words in over.values()) == 2


def test_a_request_that_kills_the_server_does_so_three_times(tmp_path):
    assert child(tmp_path, 6, "poison").wait(60) == -signal.SIGKILL
    assert [child(tmp_path).wait(60) for _ in range(3)] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    over = check_once(tmp_path)
    with closing(Store(tmp_path / "server")) as store:
        failed = [job for job in store.jobs(100) if job.state == "failed"]
    assert [job.summary["prompt"] for job in failed] == ["poison"]
    assert failed[0].attempts == 3
    assert "begun 3 times" in failed[0].error.words
    accepted = {words[1] for words in lines(tmp_path) if words[0] == "accepted"}
    assert {over[job_id][2] for job_id in accepted - {failed[0].id} if job_id in over} == {"done"}


def left(store, created, **told):
    """A job as a killed server leaves it."""
    asked = {name: told.pop(name) for name in ("live", "deadline", "priority") if name in told}
    request = Request(prompt="a", seed=int(created), **asked)
    job = new_job(request, created, None)
    store.accept(job, request)
    if told:
        store.save(job.model_copy(update=told))
    return job


def test_what_becomes_of_each(tmp_path):
    now = time.time()
    with closing(Store(tmp_path)) as store:
        jobs = {
            "low": left(store, now - 9, priority="low"),
            "ran": left(store, now - 8, state="running", started=now - 7, attempts=1, progress=0.5),
            "tried": left(store, now - 7, state="running", attempts=3),
            "live": left(store, now - 6, live="canvas"),
            "late": left(store, now - 5, deadline=1.0),
            "unwanted": left(store, now - 4, state="running", attempts=1),
            "waited": left(store, now - 3),
        }
        store.ask(jobs["unwanted"].id, "cancelled")
    worker = Plain()
    worker.go.clear()
    with Engine(ServeSettings(folder=tmp_path), [worker], checked) as engine:
        assert worker.began.acquire(timeout=20)
        told = {name: engine.job(job.id) for name, job in jobs.items()}
        states = {name: job.state for name, job in told.items()}
        assert states == {
            "low": "queued",
            "ran": "running",
            "tried": "failed",
            "live": "expired",
            "late": "expired",
            "unwanted": "cancelled",
            "waited": "queued",
        }
        assert told["ran"].attempts == 2
        assert told["ran"].progress == 0.0
        assert "begun 3 times" in told["tried"].error.what
        assert "live canvas" in told["live"].error.what
        assert "deadline of 1 seconds" in told["late"].error.what
        worker.go.set()
        until(lambda: engine.counts()["done"] == 3)
        assert [seed for batch in worker.batches for seed in batch] == [int(now - 8), int(now - 3), int(now - 9)]
        newer = engine.submit(Request(prompt="a"))
        assert engine.jobs(1)[0].id == newer.id


def test_a_clock_that_went_back_keeps_the_order(tmp_path):
    with closing(Store(tmp_path)) as store:
        old = left(store, time.time() + 5000)
    with Engine(ServeSettings(folder=tmp_path), [Plain()], checked) as engine:
        new = engine.submit(Request(prompt="a"))
        assert [job.id for job in engine.jobs()] == [new.id, old.id]
        assert new.created > old.created
