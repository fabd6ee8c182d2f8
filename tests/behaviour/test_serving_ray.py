"""The ray engine on a cluster of two nodes with a core each, as processes of this machine: replicas that may die."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import read_recipe
from hackamore.serving.batch import run_batch
from hackamore.serving.cluster import share_of
from hackamore.serving.engine import Engine
from hackamore.serving.models import Models
from hackamore.serving.request import Request
from hackamore.serving.settings import ServeSettings
from hackamore.serving.worker import Made, Stopped
from tests.serving_workers import until

pytest.importorskip("ray.serve", reason='pip install "hackamore[ray]"')
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]  # Ray's own are not ours to mend
ATTEMPTS = 3
STORE = 150 << 20


def nodes():
    """Two nodes; Ray gives its helpers 15 seconds to start, which a busy machine may not."""
    from ray.cluster_utils import Cluster

    for attempt in range(1, ATTEMPTS + 1):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        except Exception:
            cluster.shutdown()
            if attempt == ATTEMPTS:
                raise
        else:
            return cluster
    raise AssertionError


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Settings, and two workers for as many replicas."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = nodes()
    before, os.environ["RAY_ADDRESS"] = os.environ.get("RAY_ADDRESS"), cluster.address
    settings = ServeSettings(folder=tmp_path_factory.mktemp("ray"), engine="ray", replicas=2, batch=2, devices=("cpu",))
    workers = []
    try:
        from hackamore.serving.ray_engine import ray_workers

        workers = ray_workers(settings)
        yield settings, workers
    finally:
        for worker in workers:
            worker.close()
        ray.shutdown()
        cluster.shutdown()
        os.environ.pop("RAY_ADDRESS")
        if before is not None:
            os.environ["RAY_ADDRESS"] = before


def replicas():
    import ray

    return [one for one in ray.util.list_named_actors(all_namespaces=True) if "#replica#" in one["name"]]


def test_pictures_previews_and_one_of_two_that_is_stopped(served):
    _, (worker, _) = served
    requests = [Request(base="meadow", prompt="a lake", seed=seed, steps=30, preview=10) for seed in (1, 2)]
    told = []

    def wanted(number):
        return number == 0 or not told

    first, second = worker.work(requests, lambda *step: told.append(step), wanted)
    assert isinstance(first, Made)
    assert first.pictures[0].startswith(b"\x89PNG")
    assert first.reports[0].seed == 1
    assert isinstance(second, Stopped)
    shares = [share for number, share, _ in told if number == 0]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert sum(preview is not None for number, _, preview in told if number == 0) == 2


def test_a_request_that_fails_is_an_outcome(served):
    _, (worker, _) = served
    (outcome,) = worker.work([Request(base="no such base", prompt="a lake")], lambda *_: None, lambda _: True)
    assert outcome.what.startswith("unknown base")


def test_each_replica_has_the_cores_that_fit():
    two = [{"CPU": 1.0}, {"CPU": 1.0}]
    assert share_of(two, ServeSettings(replicas=2)).resources == {"num_cpus": 1, "num_gpus": 0}
    assert share_of([{"CPU": 8.0}, {"CPU": 4.0}], ServeSettings(replicas=3)).cpus == 4
    with_gpus = share_of([{"CPU": 8.0, "GPU": 2.0}], ServeSettings(replicas=2))
    assert (with_gpus.device, with_gpus.gpus, with_gpus.cpus) == ("cuda", 1, 4)
    with pytest.raises(HackamoreError, match="no room"):
        share_of(two, ServeSettings(replicas=3))
    with pytest.raises(HackamoreError, match="no room"):
        share_of([{"CPU": 8.0}], ServeSettings(replicas=1, devices=("cuda",)))


def test_a_batch_that_nobody_wants_any_more_waits_for_no_replica(served):
    _, (worker, other) = served
    long = [Request(base="meadow", prompt="a lake", steps=100)]
    begun, free = [], threading.Event()
    with ThreadPoolExecutor(2) as pool:
        try:
            busy = [
                pool.submit(one.work, long, lambda *_, one=one: begun.append(one.name), lambda _: not free.is_set())
                for one in (worker, other)
            ]
            until(lambda: {worker.name, other.name} <= set(begun) or any(one.done() for one in busy), 60)
            assert worker.work(long, lambda *_: None, lambda _: False) == [Stopped()]
            assert not all(one.done() for one in busy)
        finally:
            free.set()
        assert all(isinstance(one.result(60)[0], Made | Stopped) for one in busy)


def test_a_replica_that_dies_under_load_loses_no_job(served):
    """The last one: an engine that stops ends its replicas."""
    import ray

    settings, workers = served
    with Engine(settings, workers, Models(settings).check) as engine:
        jobs = [engine.submit(Request(prompt="a lake", seed=seed, steps=12)).id for seed in range(10)]
        until(lambda: sum(engine.job(one).progress > 0 for one in jobs) >= 2, 60)
        victim = replicas()[0]
        ray.kill(ray.get_actor(victim["name"], namespace=victim["namespace"]))
        until(lambda: all(engine.job(one).over for one in jobs), 120)
        over = [engine.job(one) for one in jobs]
        assert [one.state for one in over] == ["done"] * 10
        assert any(one.attempts == 2 for one in over)
        assert {one.pictures[0].seed for one in over} == set(range(10))
        assert all(engine.picture(one.id, 0).read_bytes().startswith(b"\x89PNG") for one in over)


def test_a_file_of_jobs_is_done_by_the_cluster(served, tmp_path):
    """After the replicas, which have both cores."""
    settings, _ = served
    Image.new("RGB", (64, 64), "red").save(tmp_path / "hint.png")
    bad = {"prompt": "a lake", "steps": 2, "controls": [{"kind": "canny", "image_file": "hint.png"}]}
    good = [{"prompt": "a lake", "steps": 2, "seed": seed, "name": f"lake-{seed}"} for seed in range(5)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, [*good, bad])))
    told = []
    summary = run_batch(tmp_path / "jobs.jsonl", tmp_path / "out", settings, False, told.append)
    assert (summary.done, len(summary.failed), len(told)) == (5, 1, 6)
    assert summary.failed[0]["error"]["what"].startswith("canny finds no edges")
    assert [read_recipe(tmp_path / "out" / f"lake-{seed}-0.png").seed for seed in range(5)] == list(range(5))
