"""A push to a hub of our own: real files over HTTP, in a process that may speak to it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from hackamore.training.forms.write import FORM
from tests.hub_server import Hub

TRY = """
import json, os, sys
from pathlib import Path
from hackamore.core.errors import HackamoreError
from hackamore.training.settings import RunSettings
from hackamore.training.watch.push import Push
from hackamore.training.watcher import Started

for token, repo, output in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    try:
        watcher = Push(repo)
        watcher.begins(Started(Path(output), RunSettings(steps=1), 0))
        watcher.ends(1, "stopped", "stopped")
        assert watcher.address is None
        watcher.ends(1, "done", "all 1 steps done")
        failed = watcher.failed
        print(json.dumps([watcher.address, failed and [failed.what, failed.received, failed.remedy]]))
    except HackamoreError as error:
        print(json.dumps([error.exit_code, error.what, error.remedy]))
"""


def speaking(hub, tmp_path):
    """The environment of a process that knows this hub alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    told = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_writer"}
    return kept | told | {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_COLOR": "1"}


def pushes(environment, *jobs):
    """What each (token, repo, output) came to, in one process; and what it said on stderr."""
    told = json.dumps([[*job[:2], str(job[2])] for job in jobs])
    done = subprocess.run(
        [sys.executable, "-c", TRY, told], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def finished(tmp_path):
    """What a run leaves behind."""
    output = tmp_path / "runs" / "canny"
    (output / "checkpoints").mkdir(parents=True)
    (output / "samples").mkdir()
    save_file(
        {"weight": np.arange(6, dtype=np.float32)}, output / "diffusion_pytorch_model.safetensors", {FORM: "controlnet"}
    )
    (output / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel"}))
    (output / "README.md").write_text("---\ntags:\n- hackamore\n---\n# A control\n")
    (output / "checkpoints" / "step-00000001.pt").write_bytes(b"not for others")
    (output / "log.jsonl").write_text("{}")
    for step in (1, 2):
        Image.new("RGB", (8, 8)).save(output / "samples" / f"step-{step:08d}.png")
    return output


PUSHED = {"README.md", "config.json", "diffusion_pytorch_model.safetensors", "samples/step-00000002.png"}


def test_a_finished_control_arrives_whole_and_the_run_stays_here(finished, tmp_path):
    with Hub() as hub:
        told, heard = pushes(
            speaking(hub.address, tmp_path), ("hf_writer", "canny", finished), ("hf_writer", "herd/canny", finished)
        )
    assert told == [[f"{hub.address}/rider/canny", None], [f"{hub.address}/herd/canny", None]]
    assert f"pushed to {hub.address}/rider/canny" in heard
    assert hub.repos == {"rider/canny", "herd/canny"}
    assert set(hub.files) == PUSHED
    assert all(hub.files[name] == (finished / name).read_bytes() for name in PUSHED)


def test_a_push_that_fails_is_told_with_a_command_that_works(finished, tmp_path):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with Hub(refuse=1) as hub:
        environment = speaking(hub.address, tmp_path)
        [[address, failed]], heard = pushes(environment, ("hf_writer", "canny", finished))
        assert address is None
        assert not hub.files
        assert "pushing it to rider/canny failed" in failed[0]
        assert failed[2] in heard.replace("\n", " ")
        assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
        line = shlex.split(failed[2])
        assert line[:2] == ["hf", "upload"]
        command = [str(Path(sys.executable).with_name("hf")), *line[1:]]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert set(hub.files) == PUSHED


def test_what_cannot_work_is_told_before_the_first_step(finished, tmp_path):
    jobs = [("hf_writer", name, finished) for name in ("a name", "a/b/c", "stranger/canny")]
    jobs += [(token, "canny", finished) for token in ("hf_reader", "hf_nobody", "")]
    with Hub() as hub:
        told, _ = pushes(speaking(hub.address, tmp_path), *jobs)
        assert hub.repos == set()
        away = speaking(hub.address, tmp_path)
    told += pushes(away, ("hf_writer", "canny", finished))[0]
    told += pushes(away | {"HF_HUB_OFFLINE": "1"}, ("hf_writer", "canny", finished))[0]
    assert [row[:2] for row in told] == [
        [2, "the hub does not take this name"],
        [2, "the hub does not take this name"],
        [2, "the token may not write to stranger/canny"],
        [2, "the token for the hub may only read"],
        [2, "the hub does not take the token"],
        [2, "there is no token for the hub"],
        [2, "the hub cannot be reached"],
        [2, "nothing can be pushed while the hub is switched off"],
    ]


def test_a_path_of_this_machine_or_the_token_never_leaves(finished, tmp_path):
    folders = [shutil.copytree(finished, tmp_path / "runs" / name) for name in ("weights", "settings", "card")]
    weights = {"weight": np.zeros(1, np.float32)}
    save_file(
        weights,
        folders[0] / "diffusion_pytorch_model.safetensors",
        {FORM: "controlnet", "from": str(folders[0].resolve())},
    )
    (folders[1] / "config.json").write_text(json.dumps({"_name_or_path": str(folders[1])}))
    (folders[2] / "README.md").write_text("push it with hf_writer")
    with Hub() as hub:
        told, _ = pushes(speaking(hub.address, tmp_path), *(("hf_writer", "canny", folder) for folder in folders))
    assert [failed[0].partition(" ")[0] for _, failed in told] == [
        "diffusion_pytorch_model.safetensors", "config.json", "README.md",
    ]  # fmt: skip
    assert all(address is None and failed[0].endswith("nothing was pushed") for address, failed in told)
    assert not hub.files
    assert not hub.repos
