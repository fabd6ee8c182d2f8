"""What becomes of jobs whose server or worker died."""

from __future__ import annotations

from hackamore.serving.job import Failure, Job, State

ATTEMPTS = 3
"""Work on a job is begun so often; then it is taken for what its workers die of."""


def again(job: Job, now: float) -> Job:
    """The job as it waits once more, or failed in words where that was tried often enough."""
    if job.attempts >= ATTEMPTS:
        words = f"work on this was begun {job.attempts} times, and each time the server or its worker died"
        return ended(job, "failed", now, Failure(what=words, remedy="another size, base or control", input=False))
    return job.model_copy(update={"state": "queued", "started": None, "progress": 0.0})


def restarted(job: Job, stop: State | None, now: float) -> Job:
    """What a job that was not over is after the server started again at ``now``.

    ``stop``: what was asked of it before. Who waited for a live one is gone.
    """
    if stop is not None:
        return ended(job, stop, now)
    if job.deadline is not None and job.deadline <= now:
        return ended(job, "expired", now, late(job))
    if job.live is not None:
        words = "the server stopped before this picture of a live canvas was made"
        return ended(job, "expired", now, Failure(what=words, remedy="paint on: the next one is new", input=False))
    return again(job, now)


def late(job: Job) -> Failure:
    """Why an expired job has no picture."""
    seconds = round((job.deadline or job.created) - job.created, 3)
    return Failure(what=f"its deadline of {seconds:g} seconds passed first", input=False)


def ended(job: Job, state: State, now: float, error: Failure | None = None) -> Job:
    """The job, over without pictures."""
    return job.model_copy(update={"state": state, "finished": now, "error": error, "ahead": None})
