"""Many clients at once: each job answered once, none lost, the queue bounded, memory flat; and a server that is killed.

``--clients`` threads post ``--jobs`` small jobs (Meadow, ``--steps`` steps, every second with a canny unit) to a real
server, wait as long as a 429 says, and follow each job until it is over. Then the same again, killed with kill -9
``--kills`` times on the way and started anew on its folder: every job that was accepted must end, done or reported, and
be done once.

python benchmarks/serving_load.py
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from serving_common import Server, quantile

OVER = {"done", "failed", "cancelled", "expired", "replaced"}


class Load:
    """What the clients did, and what they saw."""

    def __init__(self, server: Server, jobs: int, steps: int, hint: str) -> None:
        self.server, self.jobs, self.steps, self.hint = server, jobs, steps, hint
        self.left = list(range(jobs))
        self.lock = threading.Lock()
        self.accepted: dict[str, float] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.refused = self.told = self.lost = 0
        self.memory: list[tuple[int, float]] = []

    def run(self, clients: int) -> None:
        """All of it."""
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with suppress(psutil.Error):  # it is being started anew
                self.memory.append((len(self.ended), self.server.memory_mib))
            time.sleep(1)
        for thread in threads:
            thread.join()

    def _client(self, number: int) -> None:
        with httpx.Client(timeout=60) as client:
            while True:
                with self.lock:
                    if not self.left:
                        return
                    seed = self.left.pop()
                job = self._post(client, seed)
                self._follow(client, job)

    def _request(self, seed: int) -> dict[str, Any]:
        units = [{"kind": "canny", "image": self.hint}] if seed % 2 else []
        return {"prompt": "a snowy peak above a lake", "seed": seed, "steps": self.steps, "controls": units}

    def _post(self, client: httpx.Client, seed: int) -> str:
        while True:
            try:
                answer = client.post(f"{self.server.url}/v1/jobs", json=self._request(seed))
            except httpx.TransportError:  # killed: nobody knows whether it was accepted; the client asks again
                self.lost += 1
                time.sleep(0.5)
                continue
            if answer.status_code == 429:
                self.refused += 1
                self.told += "retry-after" in answer.headers
                time.sleep(min(5.0, float(answer.headers.get("retry-after", 1))))
                continue
            answer.raise_for_status()
            job = str(answer.json()["id"])
            with self.lock:
                self.accepted[job] = time.monotonic()
            return job

    def _follow(self, client: httpx.Client, job: str) -> None:
        while True:
            try:
                answer = client.get(f"{self.server.url}/v1/jobs/{job}")
            except httpx.TransportError:
                time.sleep(0.5)
                continue
            answer.raise_for_status()
            told = answer.json()
            if told["state"] in OVER:
                with self.lock:
                    assert job not in self.ended
                    self.ended[job] = told
                    self.seconds[job] = time.monotonic() - self.accepted[job]
                return
            time.sleep(0.2)


def summary(load: Load) -> dict[str, Any]:
    """What is told of a load."""
    states = Counter(told["state"] for told in load.ended.values())
    late = [mib for ended, mib in load.memory if ended >= load.jobs // 5]
    halves = late[: len(late) // 2], late[len(late) // 2 :]
    means = [sum(half) / max(1, len(half)) for half in halves]
    return {
        "jobs": load.jobs,
        "accepted": len(load.accepted),
        "ended": len(load.ended),
        "states": dict(states),
        "attempts": dict(Counter(told["attempts"] for told in load.ended.values())),
        "answered_429": load.refused,
        "of_them_with_retry_after": load.told,
        "connections_lost": load.lost,
        "p50_s": round(quantile(list(load.seconds.values()), 0.5), 2),
        "p95_s": round(quantile(list(load.seconds.values()), 0.95), 2),
        "memory_mib_first_and_second_half_of_the_last_four_fifths": [round(mean, 1) for mean in means],
    }


def killed(server: Server, stop: threading.Event, kills: int, every: float) -> None:
    """kill -9 at random moments, started anew each time."""
    draw = random.Random(0)
    for _ in range(kills):
        if stop.wait(every * (0.5 + draw.random())):
            return
        server.kill()
        server.start()


def main() -> None:
    """Both loads, to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument(
        "--queue", type=int, default=16, help="bound of the queue, below the clients, so that it is met"
    )
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/serving-load.json"))
    told = parser.parse_args()
    from sklearn.datasets import load_sample_image

    from hackamore.core.image import load_picture, png

    hint = base64.b64encode(png(load_picture(load_sample_image("china.jpg"), size=(256, 256)))).decode()
    options = ["--queue", str(told.queue), "--no-canvas"]
    held: dict[str, Any] = {}
    for name, kills in (("steady", 0), ("killed", told.kills)):
        with TemporaryDirectory() as folder, Server(Path(folder), options) as server:
            load = Load(server, told.jobs, told.steps, hint)
            began, stop = time.monotonic(), threading.Event()
            killer = threading.Thread(target=killed, args=(server, stop, kills, 20.0))
            killer.start()
            load.run(told.clients)
            stop.set()
            killer.join()
            held[name] = {"seconds": round(time.monotonic() - began, 1), **summary(load)}
            jobs = httpx.get(f"{server.url}/v1/jobs", params={"limit": 2 * told.jobs}).json()
            held[name] |= {"kills": kills, "jobs_the_server_knows": len(jobs)}
            print(name, json.dumps(held[name], indent=1), flush=True)
    told.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
