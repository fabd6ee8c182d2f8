"""What outlives a server, and what does not."""

import resource
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.serving.active import new_job
from hackamore.serving.engine import Engine, Unknown
from hackamore.serving.ledger import Ledger
from hackamore.serving.request import Request, UnitRequest
from hackamore.serving.settings import Limits, ServeSettings
from hackamore.serving.store import FILE, Store
from hackamore.serving.worker import Made
from tests.serving_workers import Plain, checked, made, plain, until

REQUEST = Request(prompt="a lake", seed=3, num=2, controls=(UnitRequest(kind="canny", image="aGk="),))


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "server")) as store:
        yield store


def accepted(store, created, request=REQUEST):
    job = new_job(request, created, None)
    store.accept(job, request)
    return job


def finished(store, created, state="done", at=None, kept=None):
    job = accepted(store, created)
    size = store.keep(job.id, kept or made(REQUEST)) if state == "done" else 0
    job = job.model_copy(update={"state": state, "finished": at or created + 1})
    store.save(job, size=size)
    return job


def test_what_was_accepted_is_there_after_opening_again(tmp_path):
    with closing(Store(tmp_path)) as store:
        job = accepted(store, 5.0)
    with closing(Store(tmp_path)) as store:
        assert store.job(job.id) == job
        assert store.request(job.id) == REQUEST
        assert store.unfinished() == [(job, None)]
        assert store.newest() == 5.0
    assert "aGk=" not in job.model_dump_json(), "a summary holds no pictures"


def test_over_stays_over(store):
    job = finished(store, 1.0)
    store.save(job.model_copy(update={"state": "failed", "finished": 9.0}))
    store.save(job.model_copy(update={"state": "queued", "finished": None}))
    assert store.job(job.id) == job
    assert store.counts()["done"] == 1
    assert sum(store.counts().values()) == 1


def test_jobs_are_told_page_by_page(store):
    jobs = [accepted(store, float(k)) for k in range(5)]
    page = store.jobs(2)
    assert page == [jobs[4], jobs[3]]
    assert store.jobs(9, before=page[-1].created) == [jobs[2], jobs[1], jobs[0]]


def test_pictures_are_files(store):
    job = finished(store, 1.0)
    assert store.file(job.id, "picture-1.png").read_bytes() == plain(4)
    assert store.file(job.id, "hint-0.png").is_file()
    for wrong in ("picture-2.png", "..", ""):
        with pytest.raises(Unknown):
            store.file(job.id, wrong)
    store.delete(job.id)
    assert not list(store.results.iterdir())
    for gone in (store.job, store.request):
        with pytest.raises(Unknown, match="no such job"):
            gone(job.id)


def test_the_oldest_go_first_and_none_that_waits(store):
    waiting = accepted(store, 0.5)
    jobs = [finished(store, float(k)) for k in range(1, 6)]
    each = sum(path.stat().st_size for path in (store.results / jobs[0].id).iterdir()) + len(REQUEST.model_dump_json())
    assert store.sweep(oldest=0.0, most=5 * each) == []
    assert store.sweep(oldest=jobs[1].finished, most=5 * each) == [jobs[0].id]
    assert store.sweep(oldest=0.0, most=2 * each) == [jobs[1].id, jobs[2].id]
    assert store.sweep(oldest=0.0, most=1) == [jobs[3].id], "the newest stays, however large"
    assert {path.name for path in store.results.iterdir()} == {jobs[4].id}
    assert store.sweep(oldest=time.time(), most=1) == [jobs[4].id]
    assert store.jobs(9) == [waiting]


def test_leftovers_are_removed_and_nothing_else(store):
    done, running = finished(store, 1.0), accepted(store, 2.0)
    store.keep(running.id, made(REQUEST))
    (store.results / ("a" * 32)).mkdir()
    (store.results / "my own").mkdir()
    (store.folder / ".hackamore-x").write_text("half")
    store.tidy()
    assert {path.name for path in store.results.iterdir()} == {done.id, "my own"}
    assert not (store.folder / ".hackamore-x").exists()


@contextmanager
def files_at_most(size):
    """No file grows beyond ``size`` bytes: what a full disk looks like to who writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_pictures_on_a_full_disk_are_all_there_or_none(store):
    job = accepted(store, 1.0)
    large = Made((plain(1), b"x" * (4 << 20)), ())
    with files_at_most(3 << 20), pytest.raises(WorkFailed, match="could not be written"):
        store.keep(job.id, large)
    assert not list(store.results.iterdir())


class Bulky(Plain):
    """Pictures of the prompt "large" are too large for the disk."""

    def end(self, request):
        outcome = super().end(request)
        if request.prompt == "large":
            return Made((b"x" * (4 << 20),), outcome.reports)
        return outcome


def test_on_a_full_disk_one_fails_and_the_others_live(tmp_path):
    with files_at_most(3 << 20), Engine(ServeSettings(folder=tmp_path), [Bulky()], checked) as engine:
        jobs = [engine.submit(Request(prompt=words)) for words in ("a", "large", "b")]
        until(lambda: all(engine.job(job.id).over for job in jobs))
        told = [engine.job(job.id) for job in jobs]
        assert [job.state for job in told] == ["done", "failed", "done"]
        assert "could not be written" in told[1].error.words
        assert "File too large" in told[1].error.words
        assert not told[1].error.input
        with pytest.raises(Unknown, match="no such picture"):
            engine.picture(told[1].id, 0)


def fill(store):
    """Leave the database no room for another page."""
    (pages,) = store._base.execute("PRAGMA page_count").fetchone()
    store._base.execute(f"PRAGMA max_page_count={pages}")


def room_again(store):
    store._base.execute("PRAGMA max_page_count=1000000")


def test_a_request_that_cannot_be_kept_is_not_accepted(store):
    fill(store)
    with pytest.raises(WorkFailed, match="cannot be read or written") as told:
        accepted(store, 1.0, REQUEST.model_copy(update={"prompt": "x" * 8000}))
    assert "full" in str(told.value)
    room_again(store)
    assert store.jobs(9) == []
    accepted(store, 1.0)


def test_what_cannot_be_written_is_known_and_written_later(store):
    job = accepted(store, 1.0)
    ledger = Ledger(store)
    fill(store)
    over = job.model_copy(update={"state": "done", "finished": 2.0, "notices": ("x" * 9000,)})
    ledger.save(over)
    assert store.job(job.id) == job
    assert ledger.job(job.id) == over == ledger.jobs(9, None)[0]
    room_again(store)
    ledger.save_late()
    assert store.job(job.id) == over


@pytest.mark.parametrize("harm", ["text", "cut", "torn", "newer", "folder"])
def test_a_damaged_database_is_refused_in_words(tmp_path, harm):
    with closing(Store(tmp_path)) as store:
        for k in range(12):
            accepted(store, float(k), REQUEST.model_copy(update={"prompt": "x" * 8000}))
    path = tmp_path / FILE
    whole = path.read_bytes()
    if harm == "text":
        path.write_bytes(b"not a database at all" * 1000)
    elif harm == "cut":
        path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    elif harm == "torn":
        path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    elif harm == "newer":
        with closing(sqlite3.connect(path)) as base:
            base.execute("PRAGMA user_version=99")
    else:
        path.unlink()
        path.mkdir()
    engine = Engine(ServeSettings(folder=tmp_path), [Plain()], checked)
    with pytest.raises(HackamoreError, match=FILE) as told:
        engine.start()
    assert told.value.exit_code == 2
    assert len(str(told.value).splitlines()) <= 4
    with pytest.raises(HackamoreError, match=FILE):  # and the folder was let go
        Engine(ServeSettings(folder=tmp_path), [Plain()], checked).start()


def test_a_request_that_was_damaged_fails_alone(tmp_path):
    worker = Plain()
    worker.go.clear()
    with closing(Store(tmp_path)) as store:
        jobs = [accepted(store, float(k)) for k in range(3)]
        store._base.execute("UPDATE requests SET request = '{\"prompt' WHERE id = ?", (jobs[1].id,))
        store._base.execute("DELETE FROM requests WHERE id = ?", (jobs[2].id,))
    worker.go.set()
    with Engine(ServeSettings(folder=tmp_path), [worker], checked) as engine:
        until(lambda: all(engine.job(job.id).over for job in jobs))
        assert [engine.job(job.id).state for job in jobs] == ["done", "failed", "failed"]
        assert "cannot be read" in engine.job(jobs[1].id).error.what


@pytest.mark.parametrize("harm", ["'{\"id'", "x'ff00ff'", "CAST(x'22ff22' AS TEXT)", "'{\"version\": 9}'"])
def test_a_job_that_cannot_be_read_is_failed_alone(tmp_path, caplog, harm):
    with closing(Store(tmp_path)) as store:
        over, torn, whole = finished(store, 1.0, at=time.time()), accepted(store, 2.0), accepted(store, 3.0)
        store._base.execute(f"UPDATE jobs SET job = {harm} WHERE id IN (?, ?)", (over.id, torn.id))
    with Engine(ServeSettings(folder=tmp_path), [Plain()], checked) as engine:
        until(lambda: engine.job(whole.id).over)
        told = {job.id: job for job in engine.jobs()}
        assert [told[job.id].state for job in (whole, torn, over)] == ["done", "failed", "failed"]
        assert "cannot be read" in told[torn.id].error.what
        assert not told[torn.id].error.input
        assert engine.job(over.id) == told[over.id]
        assert engine.counts()["queued"] == 0
        engine.delete(torn.id)
    assert torn.id in caplog.text
    assert whole.id not in caplog.text


def test_two_servers_do_not_share_a_folder(tmp_path):
    settings = ServeSettings(folder=tmp_path, limits=Limits(queue=1))
    with Engine(settings, [Plain()], checked) as first:
        with pytest.raises(HackamoreError, match="another server"):
            Engine(settings, [Plain()], checked).start()
        job = first.submit(Request(prompt="a"))
        until(lambda: first.job(job.id).over)
    with Engine(settings, [Plain()], checked) as second:
        assert second.job(job.id).state == "done"


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HackamoreError, match="cannot be written"):
        Engine(ServeSettings(folder=tmp_path / "file"), [Plain()], checked).start()
