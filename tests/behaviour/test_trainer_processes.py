"""Several processes are one run: the same gradients, the same weights, one writer, and any number of them goes on."""

import pytest
import torch

from hackamore.core.errors import HackamoreError
from hackamore.data.worlds import write_worlds
from hackamore.training.processes import Processes, check_shards, own_device
from hackamore.training.settings import ProbeSettings
from hackamore.training.state import checkpoints, load_checkpoint
from hackamore.training.trainer import read_log, train
from tests import children
from tests.children import Tall
from tests.line import RUN, exported

FIGURES = [0.1 * step for step in range(1, 9)]


def close(one, other):
    first, second = exported(one), exported(other)
    assert first.keys() == second.keys()
    return all(torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-6) for name in first)


def rows(folder, name="loss"):
    return {row["step"]: row[name] for row in read_log(folder / "log.jsonl") if name in row}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with the whole batch, probed."""
    folder = tmp_path_factory.mktemp("alone")
    return train(Tall(None, list(FIGURES)), RUN, folder, probe=ProbeSettings(every=12))


@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_are_one_with_the_whole_batch_and_only_the_first_writes(alone, tmp_path, parts):
    told = (tmp_path, {"accumulate": parts, "every": 12}, None, True)
    assert children.together(2, children.trained, *told) == [0, 0]
    assert close(tmp_path / "0", alone)
    mine, theirs = rows(tmp_path / "0"), rows(alone)
    assert mine == pytest.approx(theirs, rel=1e-4)
    assert rows(tmp_path / "0", "norm") == pytest.approx(rows(alone, "norm"), rel=1e-4)
    assert rows(tmp_path / "0", "probe")[24]["seen"] == pytest.approx(rows(alone, "probe")[24]["seen"], rel=1e-4)
    assert not (tmp_path / "1").exists(), "the second process writes nothing"


@pytest.mark.parametrize(
    ("first", "second"),
    [((1, False), (2, False)), ((2, False), (1, False)), ((2, True), (1, False)), ((1, False), (2, True))],
    ids=["1 to 2", "2 to 1", "2 shards to 1", "1 to 2 shards"],
)
def test_a_run_goes_on_with_another_number_of_processes(alone, tmp_path, first, second):
    count, sharded = first
    assert children.together(count, children.trained, tmp_path, {}, 9, sharded=sharded) == [130] * count
    assert len(checkpoints(tmp_path / "checkpoints")) == 2
    assert not (tmp_path / "line.pt").exists()
    count, sharded = second
    assert children.together(count, children.trained, tmp_path, {}, sharded=sharded) == [0] * count
    assert close(tmp_path, alone)
    assert rows(tmp_path) == pytest.approx(rows(alone), rel=1e-4)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_sharded_processes_are_one_and_write_everything_whole(alone, tmp_path, optimiser):
    run = RUN.model_copy(update={"optimiser": optimiser})
    told = {"optimiser": optimiser, "every": 12, "accumulate": 2}
    assert children.together(2, children.trained, tmp_path, told, sharded=True) == [0, 0]
    if optimiser != "adamw":
        alone = train(Tall(None, list(FIGURES)), run, tmp_path / "alone", probe=ProbeSettings(every=12))
    assert close(tmp_path, alone)
    assert close(tmp_path / "best", alone / "best")
    assert rows(tmp_path) == pytest.approx(rows(alone), rel=1e-4)
    assert rows(tmp_path, "probe")[12]["seen"] == pytest.approx(rows(alone, "probe")[12]["seen"], rel=1e-4)
    whole, mine = (load_checkpoint(checkpoints(folder / "checkpoints")[-1]) for folder in (alone, tmp_path))
    assert mine["weights"].keys() == whole["weights"].keys()
    for part in ("weights", "average"):
        for name, value in whole[part].items():
            assert torch.allclose(mine[part][name], value, rtol=1e-4, atol=1e-6)
    for name, state in whole["optimiser"].items():
        for key, value in state.items():
            assert torch.allclose(torch.as_tensor(mine["optimiser"][name][key]), torch.as_tensor(value), atol=1e-4)


def test_each_process_keeps_its_shard_alone(tmp_path):
    assert children.together(2, children.halves, tmp_path, sharded=True) == [0, 0]
    for rank in (0, 1):
        assert (tmp_path / f"kept-{rank}").read_text() == "12 12 12"  # of 8 × 3


def test_each_process_of_a_launch_has_its_own_gpu(monkeypatch):
    assert own_device() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device() is None, "without a launcher the choice is free"
    for rank, device in (("0", "cuda:0"), ("1", "cuda:1"), ("2", "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert own_device() == device


def test_what_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    assert children.together(2, children.trained, tmp_path, {"batch_size": 7}) == [2, 2]
    for changes in ({"optimiser": "adamw8bit"}, {"optimiser": "adafactor"}, {"precision": "fp16"}):
        with pytest.raises(HackamoreError, match=next(iter(changes.values()))):
            check_shards(RUN.model_copy(update=changes))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not Processes(RUN).shards, "one process has nobody to share with"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(HackamoreError, match="DeepSpeed"):
        Processes(RUN)


def test_only_the_first_process_says_that_it_is_done(tmp_path):
    worlds = write_worlds(tmp_path / "worlds", 4, 64, seed=100, workers=1)
    told = {"data": worlds, "output": tmp_path / "o", "size": "[64, 64]", "run.steps": 1, "run.batch_size": 2}
    words = [word for name, value in told.items() for word in ("--set", f"{name}={value}")]
    command = ("train", "configs/meadow/autoencoder.toml", *words, "--quiet")
    assert children.together(2, children.commanded, tmp_path, *command) == [0, 0]
    assert (tmp_path / "told-0").read_text() == f"done: {tmp_path / 'o'}\n"
    assert (tmp_path / "told-1").read_text() == ""
