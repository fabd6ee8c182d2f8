"""What a user sees of a run: on the terminal, on the page, in trackers, and on the card; and what it never does."""

import io
import json
import random
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from rich.console import Console

from hackamore.controls.adapter import new_adapter
from hackamore.controls.branch import new_control
from hackamore.controls.formats.diffusers import write_branch
from hackamore.controls.formats.t2i import write_adapter
from hackamore.core.errors import HackamoreError
from hackamore.training.forms.write import FORM, write_unet
from hackamore.training.settings import RunSettings, TrackSettings
from hackamore.training.trainer import Task, train
from hackamore.training.watch.card import Card
from hackamore.training.watch.catalog import watchers_of
from hackamore.training.watch.page import Page
from hackamore.training.watch.progress import Progress
from hackamore.training.watch.trackers import TensorBoard, WandB
from hackamore.training.watcher import Started

RUN = RunSettings(steps=400, batch_size=4, log_every=20)
WARNING = "the gradient norm is 9 times its running median"
LINE = RunSettings(steps=24, batch_size=8, lr=0.05, warmup=3, log_every=2, checkpoint_every=5, sample_every=10, ema=0.9)


class Line(Task):
    """The smallest task that draws, samples and exports: y = a·x + b."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(3, 1)

    def groups(self):
        return [{"params": list(self.line.parameters())}]

    def batch(self, draws):
        x = draws.normal(3)
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def forward(self, batch):
        return {"loss": (self.line(batch["x"]) - batch["y"]).square().mean()}

    def sample(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(path)

    def export(self, folder):
        torch.save(self.line.state_dict(), folder / "line.pt")


def play(watchers, output, first=0, last=400, settings=None, run=RUN, ends="done"):
    """A run as the trainer tells it: rows, probes, a warning, samples; ``log.jsonl`` beside it."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "log.jsonl"
    kept = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= first] if log.exists() else []
    log.write_text("".join(line + "\n" for line in kept))

    def tell(what, *told):
        for watcher in watchers:
            getattr(watcher, what)(*told)

    def row(told):
        with log.open("a") as file:
            file.write(json.dumps(told) + "\n")
        tell("logged", told)

    tell("begins", Started(output, run, first, settings or {}))
    for step in range(first + 1, last + 1):
        tell("stepped", step)
        if step % run.log_every == 0:
            row({"step": step, "loss": 1 + 1 / step, "norm": 0.2, "lr": 1e-3, "samples_per_second": 8.0,
                 "memory_mib": 2048.0})  # fmt: skip
        if step % 80 == 0:
            learned = 0.05 if step < 240 else 0.62
            row({"step": step, "probe": {"figure": 0.2 + learned / 2, "floor": 0.2, "ceiling": 0.7, "off": 0.2,
                                         "normalised": learned, "gain": learned / 10, "captions": 0.9}})  # fmt: skip
            path = output / "samples" / f"step-{step:08d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((40, 60, 3), step % 256, np.uint8)).save(path)
            tell("sampled", step, path)
        if step == 130:
            row({"step": step, "warning": WARNING})
    if ends:
        tell("ends", last, ends, f"all {last} steps done" if ends == "done" else "stopped")


def heard(terminal=False, quiet=False, **told):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False, _environ={})
    return Progress(console, quiet=quiet), out


def test_lines_where_it_is_no_terminal(tmp_path):
    progress, out = heard()
    play([progress], tmp_path)
    lines = out.getvalue().splitlines()
    rows = [line for line in lines if "loss" in line]
    assert len(rows) == 20
    assert re.search(r"step 400/400  loss 1\.\d+  norm 0.2  lr 0.001  8 samples/s  2.0 GiB", rows[-1])
    assert "step 320/400  learned 0.62 of what is possible (figure 0.51, floor 0.2, ceiling 0.7)" in out.getvalue()
    assert f"warning, step 130: {WARNING}" in lines
    assert lines[-1] == "all 400 steps done"
    assert "\x1b" not in out.getvalue()


def test_quiet_tells_warnings_alone(tmp_path, capsys):
    progress, out = heard(quiet=True)
    play([progress], tmp_path)
    assert out.getvalue() == f"warning, step 130: {WARNING}\n"
    play([Progress(quiet=True)], tmp_path / "b")
    told = capsys.readouterr()
    assert told.out == ""
    assert WARNING in told.err


def test_a_terminal_shows_one_display_with_all_of_it(tmp_path):
    progress, out = heard(terminal=True)
    play([progress], tmp_path)
    last = out.getvalue().rpartition("step 400/400")[2]
    for told in ("samples/s", "lr 0.001", "2.0 GiB", "learned 0.62 of what is possible", WARNING):
        assert told in last
    assert out.getvalue().endswith("\n")
    assert progress.live is None


def test_a_run_that_is_resumed_says_where(tmp_path):
    progress, out = heard()
    play([progress], tmp_path, first=200)
    assert out.getvalue().startswith("going on at step 200\n")


def page(output):
    return (output / "training.html").read_text(encoding="utf-8")


def test_the_page_is_one_file_that_looks_again_until_the_run_ends(tmp_path):
    watcher = Page()
    play([watcher], tmp_path, last=300, ends=None)
    assert 'http-equiv="refresh"' in page(tmp_path)
    watcher.ends(300, "stopped", "stopped at step 300")
    text = page(tmp_path)
    assert 'http-equiv="refresh"' not in text
    assert "Stopped at step 300" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_shows_curves_figures_warnings_advice_samples_and_settings(tmp_path):
    play([Page()], tmp_path, settings={"base": "meadow", "kind": "canny", "control": {"form": "xs"}, "run": {"lr": 7}})
    text = page(tmp_path)
    assert "Training: ControlNet-XS for canny" in text
    assert "Learned 0.62 of what is possible" in text
    assert "sudden convergence about step 240" in text
    assert WARNING in text
    assert "<h2>Advice</h2>" in text
    assert text.count("<svg") == 8
    assert re.findall(r'alt="samples of step (\d+)"', text) == ["400", "320", "240"]
    assert "<dt>run.lr</dt><dd>7</dd>" in text


def test_the_page_of_a_resumed_run_has_its_whole_past(tmp_path):
    play([Page()], tmp_path, last=333, ends=None)
    play([Page()], tmp_path / "whole")
    play([Page()], tmp_path, first=240)
    curves = [re.findall(r'points="[^"]+"', page(folder)) for folder in (tmp_path, tmp_path / "whole")]
    assert curves[0] == curves[1]


def test_the_page_stays_small_however_long_the_run(tmp_path):
    long = RunSettings(steps=60_000, batch_size=4, log_every=20)
    play([Page()], tmp_path / "short")
    watcher = Page()
    watcher.begins(Started(tmp_path, long, 0, {}))
    for step in range(20, 60_001, 20):
        watcher.logged({"step": step, "loss": 1 / step, "norm": 0.1, "lr": 1e-3, "samples_per_second": 5.0})
    watcher.ends(60_000, "done", "done")
    assert len(page(tmp_path)) < len(page(tmp_path / "short")) + 60_000
    assert "60,000" in page(tmp_path)


def test_words_of_a_user_are_no_markup(tmp_path):
    watcher = Page()
    watcher.begins(Started(tmp_path, RUN, 0, {"kind": "<script>alert(1)</script>"}))
    watcher.logged({"step": 1, "warning": "<img src=x>"})
    watcher.ends(1, "failed", "<b>no</b>")
    text = page(tmp_path)
    assert "<script>" not in text
    assert "<img src=x>" not in text
    assert "<b>no</b>" not in text


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    read.Reload()
    return read


def test_tensorboard_reads_every_figure_once_also_of_a_run_that_was_killed(tmp_path):
    play([TensorBoard()], tmp_path, last=350, ends=None, settings={"base": "meadow"})
    play([TensorBoard()], tmp_path, first=240)
    read = events(tmp_path)
    steps = {tag: [one.step for one in read.Scalars(tag)] for tag in ("train/loss", "probe/normalised")}
    assert steps == {"train/loss": list(range(20, 401, 20)), "probe/normalised": list(range(80, 401, 80))}
    assert read.Scalars("train/loss")[-1].value == pytest.approx(1 + 1 / 400)
    assert [one.step for one in read.Images("samples")] == list(range(80, 401, 80))
    assert b"meadow" in read.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


def wandb_rows(output):
    """Step → values of all runs in the folder, as wandb's own reader gives them; twice told is an error."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    rows, told = {}, []
    for path in sorted(output.glob("wandb/offline-run-*/run-*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            values = {(item.key or "/".join(item.nested_key)): item.value_json for item in record.history.item}
            step = json.loads(values.pop("_step", "-1"))
            for name, value in values.items():
                if not name.startswith("_"):
                    assert (step, name) not in told
                    told.append((step, name))
                    rows.setdefault(name, {})[step] = json.loads(value)
        store._fp.close()
    return rows


def test_wandb_keeps_one_offline_run_that_tells_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    play([WandB("hackamore")], tmp_path, last=350, ends=None)
    import wandb

    wandb.run.finish()  # what a killed process has told is on the disk; only the process is still this one
    ended = int(time.time())
    while int(time.time()) == ended:  # wandb names folders by the second
        time.sleep(0.05)
    play([WandB("hackamore")], tmp_path, first=240)
    runs = sorted(path.name for path in tmp_path.glob("wandb/offline-run-*"))
    assert runs
    assert len({name.split("-")[3] for name in runs}) == 1
    late = time.monotonic() + 20
    while 400 not in (rows := wandb_rows(tmp_path))["train/loss"] and time.monotonic() < late:
        time.sleep(0.2)  # its service writes in a process of its own
    assert sorted(rows["train/loss"]) == list(range(20, 401, 20))
    assert rows["train/loss"][400] == pytest.approx(1 + 1 / 400)
    assert sorted(rows["probe/normalised"]) == sorted(rows["samples/path"]) == list(range(80, 401, 80))
    assert rows["warning"] == {130: WARNING}


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_names_the_line_that_installs_it(tmp_path, monkeypatch, tracker):
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(HackamoreError, match=tracker) as told:
        watchers_of(TrackSettings(trackers=(tracker,)), tmp_path)
    assert told.value.remedy == 'pip install "hackamore[trackers]"'


def test_settings_choose_who_watches(tmp_path):
    def names(**told):
        return [type(one).__name__ for one in watchers_of(TrackSettings(**told), tmp_path)]

    assert names() == ["Progress", "Page", "Card"]
    assert names(page=False, trackers=("tensorboard", "wandb")) == ["Progress", "TensorBoard", "WandB", "Card"]
    (tmp_path / "file").write_text("")
    with pytest.raises(HackamoreError, match="output is a file"):
        watchers_of(TrackSettings(), tmp_path / "file")


def test_a_run_that_is_watched_is_the_run_that_is_not(tmp_path):
    """Real training, all watchers that need no network: the same weights and the same randomness."""
    before = random.getstate(), np.random.get_state()[1].tolist()
    train(Line(), LINE, tmp_path / "alone", watchers=[heard(quiet=True)[0]])
    torch.manual_seed(5)
    watchers = [heard(terminal=True)[0], Page(), TensorBoard(), Card()]
    train(Line(), LINE, tmp_path / "watched", watchers=watchers, settings={"base": "meadow"})
    alone, watched = (torch.load(tmp_path / f / "line.pt", weights_only=True) for f in ("alone", "watched"))
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert "All 24 steps done" in page(tmp_path / "watched")
    assert (tmp_path / "watched" / "README.md").exists()
    assert not any("failed in" in line for line in (tmp_path / "watched" / "log.jsonl").read_text().splitlines())


def card_of(output, told, write=None, **more):
    if write is not None:
        write(output)
    play([Card(**more)], output, settings=told)
    return (output / "README.md").read_text(encoding="utf-8")


def snippets(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


def settings_of(base, output, **more):
    return {
        "stage": "control", "base": str(base), "kind": "canny", "output": str(output),
        "data": {"path": "/home/someone/pictures", "layout": "auto", "cache": "/var/cache/x"},
        "control": {"form": "controlnet", "init": str(output / "earlier")}, "probe": {"count": 16},
        "facts": {"pairs": 1200, "data hash": "abc123"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["controlnet", "unlocked", "t2i-adapter"])
def test_both_ways_to_use_it_run_as_the_card_says(tmp_path, monkeypatch, sd1, sd1_folder, form):
    output = tmp_path / "canny"
    (tmp_path / sd1_folder.name).symlink_to(sd1_folder)
    made = new_adapter(sd1, "canny") if form == "t2i-adapter" else new_control(sd1, "canny")
    write = write_adapter if form == "t2i-adapter" else write_branch

    def written(folder):
        write(made, folder, dtype=torch.float16, told={FORM: form})  # as a finished control is stored
        if form == "unlocked":
            write_unet(sd1.unet, folder / "unet")

    text = card_of(output, settings_of(sd1_folder, output), written)
    assert "`diffusion_pytorch_model.safetensors`: in the layout of diffusers" in text
    assert ("trained along" in text) == (form == "unlocked")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save("photo.jpg")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save("hint.png")
    ours, theirs = snippets(text)
    for code in (ours, theirs):
        exec(compile(code, "card", "exec"), {})
        with Image.open("picture.png") as picture:
            assert picture.size == (64, 64)
        Path("picture.png").unlink()


def test_the_card_is_the_hub_s_and_tells_no_path(tmp_path):
    output = tmp_path / "runs" / "canny"
    text = card_of(output, settings_of("someone/a-base", output))
    data = ModelCard(text).data.to_dict()
    assert data["base_model"] == "someone/a-base"
    assert {"hackamore", "controlnet", "canny"} <= set(data["tags"])
    assert "license" not in data
    for private in (str(tmp_path), "/home/someone", "/var/cache", "earlier/"):
        assert private not in text
    for told in ("pictures", "1200", "abc123", "learned 0.62 of what is possible", WARNING, "Sudden convergence",
                 "samples/step-00000400.png", "1,600 (4 a step)", "2.0 GiB", "curves.png"):  # fmt: skip
        assert told in text
    with Image.open(output / "curves.png") as curves:
        assert min(curves.size) > 700


def test_a_local_base_is_no_model_of_the_hub(tmp_path):
    assert "base_model" not in card_of(tmp_path / "x", settings_of("meadow", tmp_path / "x"))


def test_what_a_user_wrote_on_a_card_stays(tmp_path):
    output = tmp_path / "x"
    text = card_of(output, settings_of("meadow", output))
    (output / "README.md").write_text(text.replace("---\n", "---\nlicense: apache-2.0\n", 1))
    assert ModelCard(card_of(output, settings_of("meadow", output))).data.license == "apache-2.0"
    (output / "README.md").write_text("# My own words\n")
    assert card_of(output, settings_of("meadow", output)) == "# My own words\n"
    assert "Control fidelity" in (output / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("outcome", ["stopped", "failed"])
def test_a_run_that_is_not_finished_has_no_card(tmp_path, outcome):
    play([Card()], tmp_path, ends=outcome)
    assert not (tmp_path / "README.md").exists()
