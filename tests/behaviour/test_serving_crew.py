"""How jobs come to workers, and what becomes of them where a worker fails."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hackamore.serving import crew
from hackamore.serving.engine import Engine, Full
from hackamore.serving.job import Job
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits, ServeSettings
from hackamore.serving.worker import WorkerDied
from tests.serving_workers import Plain, ask, begun, checked, ended, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(crew, "BACKOFF", 0.01)


def test_classes_go_before_arrival(engine, held):
    begun(engine, held)
    for seed, priority in enumerate(["low", "normal", "live", "normal", "live"]):
        ask(engine, seed=seed, priority=priority)
    held.go.set()
    until(lambda: engine.counts()["done"] == 6)
    assert held.batches == [[99], [2], [4], [1], [3], [0]]


def test_jobs_with_one_key_are_worked_on_together(engine, held):
    begun(engine, held)
    for seed, prompt in enumerate(["red a", "blue b", "red c", "red d", "bad"]):
        ask(engine, prompt, seed=seed)
    held.go.set()
    until(lambda: engine.counts()["done"] == 5 and engine.counts()["failed"] == 1)
    assert held.batches == [[99], [0, 2, 3], [1], [4]]


def test_a_worker_that_dies_gives_its_jobs_back(tmp_path):
    dying, living = Dying("dying"), Plain("living")
    living.go.clear()
    with Engine(ServeSettings(folder=tmp_path, batch=3), [dying, living], checked) as engine:
        jobs = [ask(engine, seed=seed) for seed in range(6)]
        until(lambda: living.batches and len(dying.batches) >= 2)
        until(lambda: engine.workers() == {"dying": False, "living": True})
        living.go.set()
        until(lambda: all(engine.job(job.id).over for job in jobs))
        told = [engine.job(job.id) for job in jobs]
        assert {job.state for job in told} <= {"done", "failed"}
        assert all(job.attempts == 3 and "died" in job.error.what for job in told if job.state == "failed")
        until(lambda: engine.workers() == {"dying": True, "living": True})  # it is asked again


class Dying(Plain):
    """Never does anything."""

    def work(self, requests, told, wanted):
        self.batches.append([])
        raise WorkerDied("gone")


def test_a_request_that_kills_its_worker_takes_no_other_with_it(engine, held):
    begun(engine, held)
    fatal, good = ask(engine, "fatal", seed=1), ask(engine, "fatal too", seed=2)
    held.go.set()
    over = ended(engine, fatal)
    assert (over.state, over.attempts, over.error.input) == ("failed", 3, False)
    assert "begun 3 times" in over.error.what
    assert ended(engine, good).state == "done"
    assert held.batches[1:] == [[1, 2], [1], [2], [1]] or held.batches[1:] == [[1, 2], [1], [1], [2]]
    later = ask(engine)
    assert ended(engine, later).state == "done"


def test_a_fault_in_a_worker_is_told_without_its_inside(engine):
    over = ended(engine, ask(engine, "broken"))
    assert over.state == "failed"
    assert "server's log" in over.error.what
    assert "RuntimeError" not in over.model_dump_json()
    assert ended(engine, ask(engine)).state == "done"


def test_two_hundred_jobs_from_sixteen_threads(tmp_path):
    workers = [Plain("one"), Plain("two")]
    settings = ServeSettings(folder=tmp_path, batch=4, limits=Limits(queue=12))
    with Engine(settings, workers, checked) as engine:

        def client(number):
            job = None
            while job is None:
                try:
                    job = ask(engine, "all", seed=number)
                except Full:
                    time.sleep(0.01)
            return job.id, ended(engine, job).state

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(client, range(200)))
        assert [state for _, state in answers] == ["done"] * 200
        seeds = sorted(seed for worker in workers for batch in worker.batches for seed in batch)
        assert seeds == list(range(200)), "each was worked on once"
        assert engine.counts()["done"] == len({job_id for job_id, _ in answers}) == 200
        gc.collect()
        kept = [thing for thing in gc.get_objects() if type(thing) in (Job, Request)]
        assert len(kept) < 20, "jobs that are over are read from the disk"


@pytest.mark.parametrize("name", ["keep", "save", "request", "sweep"])
def test_a_fault_beside_the_work_fails_its_job_and_ends_no_thread(engine, monkeypatch, caplog, name):
    whole, faults = getattr(engine._kept, name), [RuntimeError("unforeseen")]

    def faulty(*told, **more):
        if faults:
            raise faults.pop()
        return whole(*told, **more)

    monkeypatch.setattr(engine._kept, name, faulty)
    over = ended(engine, ask(engine))
    until(lambda: not faults)
    if name != "sweep":
        assert (over.state, over.error.input) == ("failed", False)
        assert "server's log" in over.error.what
    assert "unforeseen" in caplog.text
    assert ended(engine, ask(engine)).state == "done"
    assert engine.running
    assert engine._keeper.is_alive()
