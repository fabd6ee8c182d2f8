"""What a run writes is told before its first step, and is what it writes."""

import pytest

from hackamore.training import disk
from hackamore.training.disk import disk_of, free_disk
from hackamore.training.forms import make_form
from hackamore.training.forms.write import written_bytes
from hackamore.training.settings import ControlSettings, ProbeSettings
from hackamore.training.trainer import read_log, train
from hackamore.training.watcher import Watcher
from tests.tiny_runs import RUN, Data, Small, squares


def weighed(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class Most(Watcher):
    """The most bytes that a run's checkpoints ever had."""

    size = 0

    def saved(self, done, path):
        self.size = max(self.size, weighed(path.parent))


@pytest.fixture(scope="module")
def data(sd1):
    return Data.of(sd1, squares(4))


@pytest.mark.parametrize("optimiser", ["adamw", "adamw8bit", "sgd"])
@pytest.mark.parametrize("ema", [0.9, None])
def test_checkpoints_take_what_is_said(sd1, data, tmp_path, optimiser, ema):
    run = RUN.model_copy(update={"checkpoint_every": 1, "keep": 2, "optimiser": optimiser, "ema": ema})
    task, most = Small(sd1, data), Most()
    told = disk_of(list(task.form.network.parameters()), run, 0, tmp_path, probed=False)
    train(task, run, tmp_path / "o", watchers=[most])
    assert told.count == 3, "two are kept, and a third is written before the first is removed"
    assert told.checkpoint * run.keep == pytest.approx(most.size, rel=0.08)
    once = disk_of([], run.model_copy(update={"checkpoint_every": 100}), 7, tmp_path, probed=True)
    assert (once.count, once.needed) == (1, 14)


@pytest.mark.parametrize(
    ("form", "told"), [("controlnet", {}), ("controlnet", {"unlocked": True}), ("control-lora", {}), ("union", {})]
)
def test_finished_files_take_what_is_said(sd1, tmp_path, form, told):
    made = make_form(sd1, ControlSettings(form=form, **told), ["canny", "seg"][: 1 + (form == "union")])
    made.write(tmp_path)
    assert written_bytes(made) == pytest.approx(weighed(tmp_path), rel=0.05)


def test_a_disk_without_room_is_told_before_the_first_step(sd1, data, tmp_path, monkeypatch):
    train(Small(sd1, data), RUN, tmp_path / "roomy", watchers=[Watcher()])
    assert not any("disk" in row.get("warning", "") for row in read_log(tmp_path / "roomy" / "log.jsonl"))
    monkeypatch.setattr(disk, "free_disk", lambda folder: 5 << 10)
    run = RUN.model_copy(update={"checkpoint_every": 1})
    train(Small(sd1, data), run, tmp_path / "o", watchers=[Watcher()], probe=ProbeSettings(every=100))
    first = read_log(tmp_path / "o" / "log.jsonl")[0]
    assert first["step"] == 0
    assert "to a disk with 5 KiB free" in first["warning"]
    assert "run.keep=1" in first["warning"]


def test_what_a_run_has_written_already_is_room_for_it(tmp_path):
    free = free_disk(tmp_path / "not" / "there")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "step").write_bytes(bytes(1 << 26))
    assert free_disk(tmp_path / "o") - free_disk(tmp_path) == pytest.approx(0, abs=1 << 24)
    assert free_disk(tmp_path / "o") == pytest.approx(free, abs=1 << 25)
