"""Two thousand hostile inputs against a real server that is watched from inside: ``docs/serving-hostile.json``.

``python benchmarks/serving_hostile.py [--count N] [--out FILE]``. Exit 1 where anything was not as it must be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.hostile_inputs import Input, hostile_inputs, hostile_pictures
from tests.watched_server import Watched, fault_of, patient_client, send

TOKEN = "a-token-that-nobody-guesses"


def attack(server: Watched, inputs: list[Input], headers: dict[str, str]) -> dict[str, object]:
    """Send every input; what was answered, and what was wrong with it."""
    statuses: Counter[str] = Counter()
    faults = []
    with patient_client(server.url, headers) as client:
        for number, one in enumerate(inputs):
            answer = send(client, server.url, one)
            statuses[str(answer[0]) if answer else "hung up"] += 1
            if fault := fault_of(answer):
                faults.append({"number": number, "fault": fault, "path": one.path, "content": repr(one.content[:300])})
            if number % 100 == 99:
                print(f"{number + 1} of {len(inputs)}", dict(statuses), flush=True)
        health = client.get("/healthz").json()["status"]
    return {"inputs": len(inputs), "statuses": dict(sorted(statuses.items())), "faults": faults, "health": health}


def warm(server: Watched, headers: dict[str, str]) -> None:
    """Let it load what it needs once, so that only what a client makes it open is noted."""
    with patient_client(server.url, headers) as client:
        unit = {"kind": "canny", "image": hostile_pictures()[0]}
        client.get("/v1/annotators")
        for told in ({}, {"controls": [unit]}, {"controls": [unit | {"kind": "seg"}]}):
            client.post("/v1/jobs?wait=true", json={"prompt": "x", "steps": 1, "size": [64, 64], **told})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("docs/serving-hostile.json"))
    told = parser.parse_args()
    result: dict[str, dict[str, object]] = {}
    whole = list(hostile_inputs(told.count))
    ways = {"open": ([], {}, whole), "token": (["--token", TOKEN], {"Authorization": f"Bearer {TOKEN}x"}, whole[:200])}
    for name, (options, headers, inputs) in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            with Watched(Path(folder), [*options, "--queue", "100000"]) as server:
                right = {"Authorization": f"Bearer {TOKEN}"} if options else {}
                warm(server, right)
                server.arm()
                began = time.monotonic()
                result[name] = attack(server, inputs, headers)
                result[name]["seconds"] = round(time.monotonic() - began, 1)
            log = server.log.read_text(encoding="utf-8")
            result[name] |= {"touched": server.forbidden, "tracebacks_in_log": log.count("Traceback")}
    told.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    bad = [one for one in result.values() if one["faults"] or one["touched"] or one["health"] != "ok"]
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
