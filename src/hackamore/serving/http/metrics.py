"""What the server counts, in the form that Prometheus reads: one registry an app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from hackamore.serving.job import Job

if TYPE_CHECKING:
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")


class Metrics:
    """Counters and histograms of one app, beside what the engine and the models tell at the moment of reading."""

    def __init__(self, engine: Engine, models: Models) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_Present(engine, models))
        ProcessCollector(registry=registry)
        self._waiting = Histogram(
            "hackamore_job_waiting_seconds", "from acceptance to the beginning of the work", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._working = Histogram(
            "hackamore_job_working_seconds", "from the beginning of the work to its end", ["state"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._over = Counter("hackamore_jobs_over", "jobs that are over, by state", ["state"], registry=registry)
        self._pictures = Counter("hackamore_pictures", "finished pictures", registry=registry)
        self._requests = Counter(
            "hackamore_http_requests", "answered requests", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "hackamore_http_request_seconds", "until a request was answered whole", ["route"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip

    def job(self, job: Job) -> None:
        """A job is over."""
        self._over.labels(job.state).inc()
        self._pictures.inc(len(job.pictures))
        if job.started is not None:
            self._waiting.observe(max(0.0, job.started - job.created))
            if job.finished is not None:
                self._working.labels(job.state).observe(max(0.0, job.finished - job.started))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is a template, such as ``/v1/jobs/{id}``."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus's text form."""
        return generate_latest(self.registry)


class _Present(Collector):
    """What is asked for at the moment of reading."""

    def __init__(self, engine: Engine, models: Models) -> None:
        self.engine, self.models = engine, models

    def describe(self) -> Iterator[Metric]:
        """Nothing: what it tells is asked for only when it is read."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Jobs by state, the length of the queue, and the memory of models."""
        counts = self.engine.counts()
        jobs = GaugeMetricFamily("hackamore_jobs", "jobs that are kept, by state", labels=["state"])
        for state, count in counts.items():
            jobs.add_metric([state], count)
        yield jobs
        yield GaugeMetricFamily("hackamore_queue_length", "jobs that wait", value=counts.get("queued", 0))
        used = self.models.memory().get("used_mib") or 0.0
        yield GaugeMetricFamily("hackamore_models_mib", "bases and controls that are loaded", value=used)


def router(metrics: Metrics) -> APIRouter:
    """The route that Prometheus reads."""
    routes = APIRouter(tags=["server"])

    @routes.get("/metrics", summary="Counters and histograms, as Prometheus reads them", response_class=Response,
                responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})  # fmt: skip
    def read() -> Response:
        """Queue length, jobs by state, seconds of waiting and working, pictures, requests by route and status."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
