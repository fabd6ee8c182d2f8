"""Structured logs: one JSON object a line on the standard error stream; prompts only where the operator asks."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from hackamore.serving.job import Job

LOG = logging.getLogger("hackamore.server")
WORDS = ("prompt", "negative")
"""Of a job's summary: what people wrote."""


class Lines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and its fields; a traceback as one field."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            told["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(told, default=str)


def set_up(stream: TextIO | None = None) -> None:
    """Write what this package and the web server log as lines of JSON to ``stream`` (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines())
    for name, level in (("hackamore", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def say(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log ``event`` with its fields."""
    LOG.log(level, event, extra={"fields": fields})


def say_over(job: Job, prompts: bool) -> None:
    """Log that a job is over; what people wrote is left out unless ``prompts``."""
    asked = {name: value for name, value in job.summary.items() if prompts or not _wrote(name)}
    asked["controls"] = [
        {name: value for name, value in unit.items() if prompts or not _wrote(name)}
        for unit in asked.pop("controls", None) or []
        if isinstance(unit, dict)
    ]
    failed: dict[str, Any] = {} if job.error is None else {"input": job.error.input}
    if job.error is not None and prompts:
        failed["error"] = job.error.what
    say(
        "job over",
        job=job.id,
        state=job.state,
        waited=None if job.started is None else round(job.started - job.created, 3),
        worked=None if job.started is None or job.finished is None else round(job.finished - job.started, 3),
        pictures=len(job.pictures),
        attempts=job.attempts,
        request=asked,
        **failed,
    )


def _wrote(name: str) -> bool:
    return name in WORDS
