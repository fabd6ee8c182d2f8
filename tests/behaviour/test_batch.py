"""``hackamore batch``: a file of jobs is checked whole, done job by job, and gone on with after a stop."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from hackamore.core.errors import HackamoreError
from hackamore.core.recipe import read_recipe
from hackamore.serving.batch import run_batch
from hackamore.serving.batch_lines import check_lines, read_line
from hackamore.serving.batch_record import FILE, Record
from hackamore.serving.job import Failure
from hackamore.serving.settings import ServeSettings

SETTINGS = ServeSettings(devices=("cpu",))


def written(folder, *jobs):
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in jobs) + "\n")
    return path


def edge(path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[20:44, 20:44] = 255
    Image.fromarray(pixels).save(path)
    return path


def results(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def run(path, out, resume=False):
    told = []
    return run_batch(path, out, SETTINGS, resume, told.append), told


def test_a_picture_file_beside_the_jobs_is_the_same_as_its_bytes(tmp_path):
    data = edge(tmp_path / "edge.png").read_bytes()
    unit = {"kind": "canny", "image_file": "edge.png"}
    same = {"kind": "canny", "image": base64.b64encode(data).decode()}
    jobs = [{"prompt": "a lake", "seed": 3, "controls": [one]} for one in (unit, same)]
    jobs.append({"prompt": "a lake", "seed": 3, "init_file": "edge.png", "mask_file": "edge.png", "strength": 0.5})
    path = written(tmp_path, *jobs)
    first, second, third = (read_line(path, line) for line in check_lines(path, lambda one: one))
    assert first == second
    assert third.init == third.mask == same["image"]


def test_every_bad_line_is_told_and_nothing_is_done(tmp_path):
    path = written(
        tmp_path,
        {"prompt": "a lake", "name": "one"},
        {"prompt": "a lake", "stepz": 3},
        "no json",
        "",
        {"prompt": "a lake", "init_file": "there-is-none.png"},
        {"prompt": "a lake", "name": "ONE"},
        {"prompt": "a lake", "name": "../up"},
        {"prompt": "a lake", "controls": [{"kind": "cannny", "image": "AAAA"}]},
    )
    with pytest.raises(HackamoreError, match="lines 2, 3, 5, 6, 7, 8 cannot be done"):
        run(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_that_fails_does_not_harm_the_others_and_resume_does_it_again(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "hint.png")
    unit = {"kind": "canny", "image_file": "hint.png"}
    path = written(
        tmp_path,
        {"prompt": "a lake", "steps": 2, "name": "plain", "num": 2, "seed": 5},
        {"prompt": "a lake", "steps": 2, "controls": [unit]},
    )
    out = tmp_path / "out"
    summary, told = run(path, out)
    assert (summary.done, summary.before, len(summary.failed)) == (1, 0, 1)
    assert summary.failed[0]["error"]["what"].startswith("canny finds no edges")
    assert results(out) == told
    assert [read_recipe(out / f"plain-{k}.png").seed for k in (0, 1)] == [5, 6]

    with pytest.raises(HackamoreError, match="holds results already"):
        run(path, out)
    before = (out / "plain-0.png").stat().st_mtime_ns
    with (out / FILE).open("a") as file:
        file.write('{"name": "cut o')  # as a kill leaves it
    summary, told = run(path, out, resume=True)
    assert (summary.done, summary.before, [one["name"] for one in told]) == (0, 1, ["job-2"])
    assert (out / "plain-0.png").stat().st_mtime_ns == before
    assert [one["state"] for one in results(out)] == ["done", "failed", "failed"]


def test_a_finished_name_is_not_another_job(tmp_path):
    path = written(tmp_path, {"prompt": "a lake", "steps": 1, "name": "one"})
    run(path, tmp_path / "out")
    written(tmp_path, {"prompt": "a peak", "steps": 1, "name": "one"})
    with pytest.raises(HackamoreError, match="was finished with another request"):
        run(path, tmp_path / "out", resume=True)


def test_a_folder_is_one_processs_at_a_time(tmp_path):
    with Record(tmp_path, False), pytest.raises(HackamoreError, match="another process"), Record(tmp_path, False):
        pass


def test_a_job_without_a_seed_keeps_the_one_that_its_line_gives(tmp_path):
    path = written(tmp_path, {"prompt": "a lake"}, {"prompt": "a peak"})
    first, second = ([read_line(path, one).seed for one in check_lines(path, lambda one: one)] for _ in range(2))
    assert first == second
    assert first[0] != first[1]


def test_a_failed_job_is_a_line_too(tmp_path):
    path = written(tmp_path, {"prompt": "a lake"})
    (line,) = check_lines(path, lambda one: one)
    with Record(tmp_path / "out", False) as record:
        record.add(line, Failure(what="it died", input=False), 0.5)
        assert record.left([line]) == [line]
