"""schemathesis over the server's own description: ``python benchmarks/serving_fuzz.py [--examples N]``.

Starts a server on a free port and lets schemathesis send what the description allows, and what it does not. Exit 1
where an answer is no answer that the description knows, or a fault.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from serving_common import Server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), ["--no-canvas", "--queue", "100000"]) as server:
        words = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
        words += ["--checks", CHECKS, "--max-examples", str(told.examples), "--seed", str(told.seed)]
        words += ["--exclude-path-regex", "/events$", "--request-timeout", "60"]
        code = subprocess.run(words, check=False).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
