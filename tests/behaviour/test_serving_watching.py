"""Who follows jobs: told of everything in order, in nobody's way, and never left waiting."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from hackamore.core.errors import WorkFailed
from hackamore.serving.engine import Unknown
from hackamore.serving.job import Event, Job
from hackamore.serving.watchers import Newest
from tests.serving_workers import ask, begun, ended, until


def test_places_in_the_queue_are_told(engine, held):
    begun(engine, held)
    last = ask(engine, priority="low")
    places = []
    engine.watch(last.id, lambda event: places.append(event.job.ahead))
    first = ask(engine)
    assert [engine.job(job.id).ahead for job in (first, last)] == [0, 1]
    assert [job.ahead for job in engine.jobs()] == [0, 1, None]
    engine.cancel(first.id)
    assert places == [0, 1, 0]


def test_events_tell_progress_previews_and_the_end(engine, held):
    async def read():
        job = ask(engine, steps=3, preview=1)
        told = []
        async for event in engine.events(job.id):
            held.go.set()
            told.append(event)
        again = [event.job async for event in engine.events(job.id)]
        assert again == [await engine.wait(job.id)] == [told[-1].job], "who comes late is told the end"
        return told

    told = asyncio.run(read())
    assert told[0].job.state in ("queued", "running")
    assert told[-1].job.state == "done"
    progress = [event.job.progress for event in told]
    assert progress == sorted(progress)
    assert any(event.preview for event in told)
    with pytest.raises(Unknown):
        asyncio.run(engine.wait("0" * 32))


def test_a_preview_that_was_not_read_is_not_skipped():
    async def read():
        newest = Newest()
        job = Job(id="0", created=1.0)
        newest.put(Event(job=job, preview="old"))
        newest.put(Event(job=job, preview="new"))
        newest.put(Event(job=job.model_copy(update={"state": "done"})))
        return [event async for event in newest.read()]

    (event,) = asyncio.run(read())
    assert (event.preview, event.job.state) == ("new", "done")


def test_slow_readers_skip_to_the_newest(engine, held):
    async def read():
        job = ask(engine, steps=100)
        told = []
        async for event in engine.events(job.id):
            told.append(event)
            held.go.set()
            await asyncio.to_thread(ended, engine, job)
        return told

    assert len(asyncio.run(read())) <= 3


def test_a_watcher_that_fails_harms_nobody(engine, held):
    job = begun(engine, held, steps=2)
    told, left = [], []
    engine.watch(job.id, lambda event: 1 // 0)
    engine.watch(job.id, lambda event: 1 // (event.job.progress == 0))
    unwatch = engine.watch(job.id, left.append)
    engine.watch(job.id, told.append)
    unwatch()
    held.go.set()
    ended(engine, job)
    assert [event.job.progress for event in told] == [0.0, 0.5, 1.0, 1.0]
    assert len(left) == 1
    engine.watch(job.id, left.append)
    assert left[-1].job.state == "done"


def test_who_comes_after_the_end_waits_for_nothing(engine, held):
    begun(engine, held)
    waiting = ask(engine)
    engine._at.end()  # as stop does it, before the database is closed

    async def wait():
        await asyncio.wait_for(engine.wait(waiting.id), 20)

    with pytest.raises(WorkFailed, match="is stopping"):
        asyncio.run(wait())


def test_an_event_loop_does_not_wait_for_who_writes(engine, held):
    job = begun(engine, held)
    mine, free = threading.Event(), threading.Event()

    def write() -> bool:
        with engine._at._lock:
            mine.set()
            return free.wait(5)

    async def read():
        async with aclosing(engine.events(job.id)) as events:
            first = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.01)  # it has begun to wait, and this goes on
            free.set()
            return await first

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert mine.wait(5)
        assert asyncio.run(read()).job.id == job.id
        assert writing.result()
    until(lambda: not engine._at._watchers.ids())
