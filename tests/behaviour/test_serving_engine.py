"""Jobs from their acceptance to their end."""

import asyncio
import base64
import io
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.engine import Engine, Full, Unknown
from hackamore.serving.local import LocalWorker
from hackamore.serving.models import Models
from hackamore.serving.request import Request, UnitRequest
from hackamore.serving.settings import Limits, ServeSettings
from hackamore.serving.store import FILE
from tests.serving_workers import Plain, ask, begun, checked, ended, plain, until


def test_a_request_becomes_pictures(engine, worker):
    job = ask(engine, "a lake", seed=5, num=2, steps=3, controls=(UnitRequest(kind="canny", image="aGk="),))
    over = ended(engine, job)
    assert (over.state, over.progress, over.attempts, over.error, over.ahead) == ("done", 1.0, 1, None, None)
    assert over.created <= over.started <= over.finished
    assert [engine.picture(job.id, k).read_bytes() for k in range(2)] == [plain(5), plain(6)]
    assert engine.hint(job.id, 0).is_file()
    assert [report.seed for report in over.pictures] == [5, 6]
    assert (over.hints, over.notices) == (1, ("plain",))
    assert engine.jobs() == [over]
    for number in (-1, 2, 10**9):
        with pytest.raises(Unknown, match="no such picture"):
            engine.picture(job.id, number)


def test_what_was_accepted_can_be_used_again(engine):
    job = engine.submit(Request(prompt="a"))
    assert engine.request(job.id) == Request(prompt="a", seed=7), "the seed is filled in"
    assert job.summary["seed"] == 7


def test_a_wrong_request_is_refused_and_leaves_nothing(engine):
    with pytest.raises(HackamoreError, match="the prompt is wrong"):
        ask(engine, "wrong")
    assert sum(engine.counts().values()) == 0


def test_words_that_are_no_text_are_refused(engine):
    unit = UnitRequest(kind="pose", people={"people": "\ud800"})
    with pytest.raises(HackamoreError, match="as text"):
        ask(engine, controls=(unit,))


def test_a_full_queue_says_when_to_come_again(engine, held):
    begun(engine, held)
    jobs = [ask(engine) for _ in range(5)]
    with pytest.raises(Full, match="the queue is full") as told:
        ask(engine)
    assert told.value.retry_after >= 1
    with pytest.raises(Full):
        ask(engine, "wrong")
    assert sum(engine.counts().values()) == 6
    engine.cancel(jobs[0].id)
    ask(engine)


def test_the_newest_of_a_live_canvas_replaces_the_older(engine, held):
    running = begun(engine, held, live="mine", steps=5)
    other = ask(engine, live="other")
    waiting = [ask(engine, live="mine") for _ in range(9)]
    assert [engine.job(job.id).state for job in waiting] == ["replaced"] * 8 + ["queued"]
    assert engine.job(running.id).state == "running"
    held.go.set()
    assert ended(engine, running).state == "replaced"
    assert ended(engine, waiting[-1]).state == "done"
    assert ended(engine, other).state == "done"


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_between_steps(engine, held, tmp_path):
    running, waiting = begun(engine, held, steps=5), ask(engine)
    assert engine.cancel(waiting.id).state == "cancelled"
    assert engine.cancel(running.id).state == "running"
    with closing(sqlite3.connect(tmp_path / "server" / FILE)) as base:  # a server that is killed now knows it later
        told = base.execute("SELECT stop FROM jobs WHERE id = ?", (running.id,)).fetchall()
    assert told == [("cancelled",)]
    held.go.set()
    over = ended(engine, running)
    assert over.state == "cancelled"
    assert engine.cancel(running.id) == over, "an over job stays as it is"
    with pytest.raises(Unknown):
        engine.picture(running.id, 0)


def test_what_was_made_before_the_worker_asked_is_kept(engine, held):
    job = begun(engine, held, steps=1)
    wanted = threading.Event()
    engine.watch(job.id, lambda event: event.job.progress == 1 and (engine.cancel(job.id), wanted.set()))
    held.go.set()
    assert ended(engine, job).state == "done"
    assert wanted.is_set()


def test_deadlines(engine, held):
    running = begun(engine, held, steps=5, deadline=0.2)
    waiting, patient = ask(engine, deadline=0.1), ask(engine, deadline=900)
    over = ended(engine, waiting)
    assert (over.state, over.error.what) == ("expired", "its deadline of 0.1 seconds passed first")
    until(lambda: time.time() > engine.job(running.id).deadline)
    held.go.set()
    assert ended(engine, running).state == "expired"
    assert ended(engine, patient).state == "done"


def test_the_operator_sets_a_deadline(tmp_path, held):
    settings = ServeSettings(folder=tmp_path, limits=Limits(seconds=60))
    with Engine(settings, [held], checked) as engine:
        assert ask(engine).deadline == pytest.approx(time.time() + 60, abs=10)
        assert ask(engine, deadline=5).deadline == pytest.approx(time.time() + 5, abs=4)
        held.go.set()


def test_only_an_over_job_can_be_removed(engine, held):
    job = begun(engine, held)
    with pytest.raises(HackamoreError, match="that is over"):
        engine.delete(job.id)
    held.go.set()
    path = until(lambda: ended(engine, job) and engine.picture(job.id, 0))
    engine.delete(job.id)
    assert not path.exists()
    for gone in (engine.job, engine.request, engine.cancel, engine.delete):
        with pytest.raises(Unknown):
            gone(job.id)


def test_results_go_by_size(tmp_path):
    settings = ServeSettings(folder=tmp_path, keep_mib=1)
    with Engine(settings, [Plain()], checked) as engine:
        big = [ask(engine, controls=(UnitRequest(kind="canny", image="x" * (400 << 10)),)) for _ in range(4)]
        until(lambda: [job.id for job in engine.jobs()] == [big[3].id, big[2].id])
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_stop_lets_running_jobs_end(tmp_path, held):
    engine = Engine(ServeSettings(folder=tmp_path), [held], checked)
    engine.start()
    running, waiting = begun(engine, held), ask(engine)
    stopping = threading.Thread(target=engine.stop, args=(20,))
    stopping.start()
    until(lambda: not engine.running)
    with pytest.raises(WorkFailed, match="is stopping"):
        ask(engine)
    held.go.set()
    stopping.join(20)
    assert held.closed
    with Engine(ServeSettings(folder=tmp_path), [Plain()], checked) as engine:
        assert engine.job(running.id).state == "done"
        assert ended(engine, waiting).attempts == 1


def test_stop_gives_back_what_does_not_end(tmp_path, held):
    engine = Engine(ServeSettings(folder=tmp_path), [held], checked)
    engine.start()
    running, unwanted = begun(engine, held, steps=5), ask(engine)
    engine.cancel(unwanted.id)

    async def wait():
        waiting = asyncio.create_task(engine.wait(running.id))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop, 0.01))
        with pytest.raises(WorkFailed, match="is stopping"):
            await waiting
        await stopping

    threading.Timer(0.3, held.go.set).start()
    asyncio.run(wait())
    with Engine(ServeSettings(folder=tmp_path), [Plain()], checked) as engine:
        assert (ended(engine, running).state, engine.job(running.id).attempts) == ("done", 1)
        assert engine.job(unwanted.id).state == "cancelled"


def test_outside_start_and_stop_it_says_so(tmp_path):
    engine = Engine(ServeSettings(folder=tmp_path), [Plain()], checked)
    assert not engine.running
    with pytest.raises(WorkFailed, match="not started"):
        engine.jobs()
    with engine:
        assert engine.running
    engine.stop()
    assert not engine.running
    with pytest.raises(WorkFailed, match="stopped"):
        engine.jobs()


def test_a_real_picture(tmp_path):
    settings = ServeSettings(folder=tmp_path, devices=("cpu",))
    models = Models(settings)
    worker = LocalWorker(models, settings, "cpu", "cpu 0")
    with Engine(settings, [worker], models.check) as engine:
        photo = Image.new("RGB", (160, 120))
        photo.paste((200, 220, 240), (40, 30, 100, 90))
        photo.save(file := io.BytesIO(), "PNG")
        unit = UnitRequest(kind="canny", image=base64.b64encode(file.getvalue()).decode())
        told = {"steps": 2, "num": 2, "preview": 1, "verify": False}
        job = engine.submit(Request(prompt="mountains with a lake", controls=(unit,), **told))
        events = []
        engine.watch(job.id, events.append)
        over = until(lambda: (now := engine.job(job.id)).over and now, 120)
        assert over.state == "done", over.error
        assert over.hints == 1
        assert any(event.preview for event in events)
        again = engine.submit(engine.request(job.id))
        until(lambda: engine.job(again.id).over, 120)
        for k, report in enumerate(over.pictures):
            with Image.open(engine.picture(job.id, k)) as first, Image.open(engine.picture(again.id, k)) as second:
                assert first.size == (report.width, report.height)
                assert first.tobytes() == second.tobytes(), "used again, it is the same picture"
            assert [unit.kind for unit in report.units] == ["canny"]
