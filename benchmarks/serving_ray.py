"""One one-thread replica against two, on a local Ray cluster of two nodes with a core each.

The same jobs (Meadow, ``--steps`` steps, each alone) go through the engine to one replica, then to two; the figure is
how many times as much is done a second. Target: 1.5 on two cores.

python benchmarks/serving_ray.py
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
STORE = 150 << 20


def measured(replicas: int, jobs: int, steps: int, folder: Path) -> dict[str, Any]:
    """How long the jobs take with so many replicas, all of them warm."""
    from hackamore.serving.engine import Engine
    from hackamore.serving.models import Models
    from hackamore.serving.ray_engine import ray_workers
    from hackamore.serving.request import Request
    from hackamore.serving.settings import Limits, ServeSettings

    settings = ServeSettings(
        folder=folder, engine="ray", replicas=replicas, devices=("cpu",), batch=1, limits=Limits(queue=10_000)
    )
    workers = ray_workers(settings)
    with Engine(settings, workers, Models(settings).check) as engine:
        for count in (2 * replicas, jobs):
            began = time.monotonic()
            ids = [engine.submit(Request(prompt="a lake", seed=seed, steps=steps)).id for seed in range(count)]
            while not all(engine.job(one).over for one in ids):
                time.sleep(0.05)
            seconds = time.monotonic() - began
        states = [engine.job(one).state for one in ids]
    return {"replicas": replicas, "jobs": jobs, "done": states.count("done"), "seconds": round(seconds, 2)}


def main() -> None:
    """Both, to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/serving-ray.json"))
    told = parser.parse_args()
    import ray
    from ray.cluster_utils import Cluster

    cluster = None
    if "RAY_ADDRESS" not in os.environ:
        cluster = Cluster()
        cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False)
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
        os.environ["RAY_ADDRESS"] = cluster.address
    try:
        with TemporaryDirectory() as folder:
            one, two = (measured(count, told.jobs, told.steps, Path(folder) / str(count)) for count in (1, 2))
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
    held = {"steps": told.steps, "runs": [one, two], "times_the_work": round(one["seconds"] / two["seconds"], 2)}
    print(json.dumps(held, indent=1))
    told.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
