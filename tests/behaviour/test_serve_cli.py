"""The command that serves: its options and file, its one line, and how it starts, refuses and stops."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from hackamore.cli.serve import OFFER_KEYS, make_settings, parse_offer
from hackamore.core.errors import HackamoreError
from hackamore.serving.settings import Offer

RUN = [sys.executable, "-c", "from hackamore.cli.main import main; main()"]


@pytest.fixture
def begun(tmp_path: Path):
    """A served command: the process, its address and what it wrote to the log."""
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as errors:
        words = [*RUN, "serve", "--port", "0", "--no-canvas", "--folder", str(tmp_path / "jobs")]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    end = time.monotonic() + 120
    try:
        while not lines:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < end
            time.sleep(0.02)
        (url,) = re.findall(r"^hackamore serves (http://127\.0\.0\.1:\d+)$", lines[0].strip())
        yield process, url, log
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        process.stdout.close()


def test_it_says_one_line_serves_and_stops_at_the_signal(begun):
    process, url, log = begun
    told = {"prompt": "a lake", "steps": 2, "seed": 1}
    with httpx.Client(base_url=url, timeout=120) as client:
        job = client.post("/v1/jobs?wait=true", json=told).json()
        assert job["state"] == "done"
        recipe = client.get(f"/v1/jobs/{job['id']}/images/0?format=recipe").json()
        assert (recipe["base"], recipe["prompt"], recipe["steps"]) == ("meadow", "a lake", 2)
        waiting = [client.post("/v1/jobs", json=told | {"steps": 100, "num": 4}).json()["id"] for _ in range(2)]
        assert len(waiting) == 2
        port = url.rpartition(":")[2]
        with pytest.raises(HackamoreError, match=f"cannot listen on 127.0.0.1 port {port}") as refused:
            _serve_in_process(log.parent / "other", ("--port", port))
        assert refused.value.exit_code == 2
        assert "\n" not in refused.value.what
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    events = log.read_text(encoding="utf-8")
    assert '"event": "stopped"' in events
    assert "Traceback" not in events
    assert "a lake" not in events


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--host", "0.0.0.0"), "a server that others can reach needs a token"),
        (("--host", "0.0.0.0", "--token", "short"), "the token cannot be used"),
        (("--base", "=x"), "the offer is not understood"),
        (("--control", "a=b,colour=red"), "the offer is not understood"),
        (("--port", "99999"), "setting port"),
        (("--engine", "steam"), "setting engine"),
        (("--config", "no-such.toml"), "no-such.toml cannot be read"),
        (("--base", "none=/no/such/base"), "the base none on offer cannot be found"),
        (("--control", "gone=/no/such/file,kind=canny"), "the control gone on offer cannot be found"),
    ],
)
def test_what_cannot_be_served_is_one_sentence_and_exit_2(tmp_path: Path, words: tuple[str, ...], told: str):
    with pytest.raises(HackamoreError, match=told):
        _serve_in_process(tmp_path, words)


def _serve_in_process(tmp_path: Path, words: tuple[str, ...]) -> None:
    from hackamore.cli.main import app

    app(["serve", "--port", "0", "--no-canvas", "--folder", str(tmp_path), *words], standalone_mode=False)


def test_offers_are_read_from_words():
    assert parse_offer("meadow", ()) == {"name": "meadow", "path": "meadow"}
    assert parse_offer("sd = /models/sd15", ()) == {"name": "sd", "path": "/models/sd15"}
    told = {"name": "c", "path": "/c.safetensors", "base": "sd", "kind": "canny"}
    assert parse_offer("c=/c.safetensors,base=sd,kind=canny", OFFER_KEYS) == told
    for wrong in ("", "=", "a=", "a=b,kind=", "a=b,kind=x,kind=y", "a=b,c"):
        with pytest.raises(HackamoreError):
            parse_offer(wrong, OFFER_KEYS)


def test_the_command_line_stands_over_the_file(tmp_path: Path):
    file = tmp_path / "server.toml"
    file.write_text(
        'port = 1234\nhost = "::1"\n[[bases]]\nname = "sd"\npath = "/sd"\n[limits]\nsteps = 30\nqueue = 5\n',
        encoding="utf-8",
    )
    settings = make_settings({"port": 4321, "host": None, "controls": []}, 9, file)
    assert (settings.port, settings.host) == (4321, "::1")
    assert settings.bases == (Offer(name="sd", path="/sd"),)
    assert (settings.limits.steps, settings.limits.queue, settings.limits.pictures) == (30, 9, 16)
    for wrong in ("port = ", "colour = 1", "limits = 3", "[limits]\nsteps = 0"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(HackamoreError):
            make_settings({}, 9, file)


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(HackamoreError) as caught:
        _serve_in_process(tmp_path, ())
    assert caught.value.remedy == 'pip install "hackamore[serve]"'


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom hackamore.cli.main import main\nsys.argv = ['hackamore', 'serve', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'fastapi', 'gradio', 'uvicorn') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert told.rstrip().endswith("[]")
    assert "--no-canvas" in told


def test_a_taken_port_is_told_before_anything_slow():
    from hackamore.serving.http.server import address, listening

    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address(first, "127.0.0.1") == f"http://127.0.0.1:{port}"
        with pytest.raises(HackamoreError, match=f"port {port}"), listening("127.0.0.1", port):
            pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
    for host in ("256.0.0.1", "no such host", "a" * 300):
        with pytest.raises(HackamoreError), listening(host, 0):
            pass
