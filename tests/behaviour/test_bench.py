"""``hackamore bench``: both sides really run, make the same picture, and are told apart from what failed."""

from dataclasses import replace

import pytest
import torch

from hackamore.bench import shapes
from hackamore.bench.compare import Side, compare
from hackamore.bench.job import Job
from hackamore.bench.peaks import peak_bytes, peak_flops, step_work
from hackamore.bench.shapes import CONTROL, write_shape
from hackamore.bench.side import diffusers, ours
from hackamore.bench.table import sides
from hackamore.core.errors import WorkFailed

SMALL = {
    "sd1": {"sample_size": 8, "block_out_channels": (32, 32), "cross_attention_dim": 768, "attention_head_dim": 8,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "layers_per_block": 1},
    "sdxl": {"sample_size": 8, "block_out_channels": (32, 32), "cross_attention_dim": 2048, "attention_head_dim": 8,
             "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "layers_per_block": 1,
             "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True,
             "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
             "projection_class_embeddings_input_dim": 2816},
}  # fmt: skip


def nothing():
    """Heard after each step."""


def test_exact_ours_equals_diffusers_and_is_told_beside_it():
    job = Job(steps=2, threads=1, controls=("meadow/canny", "meadow/seg"), side="diffusers")
    found = compare(job, job.on("ours"), runs=1)
    assert found["difference"] < 1e-4
    assert found["ratio"] > 0
    assert found["other"]["seconds"] > 0
    assert len(found["other"]["all"]) == 2
    assert found["reference"]["peak"] > 100
    assert found["other"]["cold"] > found["other"]["load"] > 0


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_random_weights_of_a_shape_are_a_base_that_both_sides_read(family, tmp_path, monkeypatch):
    monkeypatch.setitem(shapes.UNETS, family, SMALL[family])
    folder = write_shape(tmp_path / family, family)
    job = Job(
        base=str(folder), controls=(str(folder / CONTROL),), side="diffusers", size=(64, 64), steps=2, threads=1,
        family=family,
    )  # fmt: skip
    torch.testing.assert_close(ours(job)(nothing), diffusers(job)(nothing), atol=1e-4, rtol=0)
    free = replace(job, controls=())
    torch.testing.assert_close(ours(free)(nothing), diffusers(free)(nothing), atol=1e-4, rtol=0)


def test_what_is_half_written_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setitem(shapes.UNETS, "sd1", SMALL["sd1"])
    folder = tmp_path / "sd1"
    (folder / "unet").mkdir(parents=True)
    write_shape(folder, "sd1")
    before = (folder / "unet" / "config.json").stat().st_mtime_ns
    write_shape(folder, "sd1")
    assert (folder / "unet" / "config.json").stat().st_mtime_ns == before


def test_a_side_that_fails_says_why():
    with pytest.raises(WorkFailed, match="ours on torch failed") as failed:
        Side(Job(base="nowhere", threads=1))
    assert "nowhere" in str(failed.value)


def test_fast_levels_have_their_own_steps_unless_some_are_told():
    usual = sides(Job(side="diffusers"))
    assert usual["fast 2"].steps is None
    assert usual["exact, PyTorch"].steps == 20
    assert sides(Job(side="diffusers", steps=4))["fast 2"].steps == 4


def test_what_a_step_asks_grows_with_the_controls():
    none, one, two = (step_work(Job(threads=1, controls=("meadow/canny",) * count)) for count in range(3))
    assert none["flops"] < one["flops"] < two["flops"]
    assert two["flops"] - one["flops"] == pytest.approx(one["flops"] - none["flops"], rel=0.01)
    assert one["bytes"] > none["bytes"] > 4e6
    assert peak_flops(1, side=256, rounds=2) > 1e8
    assert peak_bytes(1, mib=16, rounds=2) > 1e8


def test_the_command_prints_a_table(run):
    words = "--steps", "1", "--runs", "1", "--controls", "0", "--threads", "1", "--only", "exact, PyTorch"
    code, out, err = run("bench", *words)
    assert code == 0, err
    lines = out.splitlines()
    assert "1 steps, 0 controls" in lines[1]
    assert lines[3].startswith("diffusers")
    assert lines[4].startswith("exact, PyTorch")
    assert float(lines[4].split()[-1]) < 1e-4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--shape", "sd9"), "no such shape"),
        (("--controls", "99"), "number of controls"),
        (("--runs", "0"), "number of runs"),
        (("--steps", "0"), "number of steps"),
        (("--size", "100"), "size"),
        (("--only", "nobody"), "no such side"),
        (("--dtype", "fp8"), "no such precision"),
        (("--device", "moon"), "no such device"),
        (("--threads", "0"), "number of threads"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(run, words, told):
    code, _, err = run("bench", *words)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
