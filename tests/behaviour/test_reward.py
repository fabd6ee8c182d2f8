"""The consistency reward: readings that are the annotators', a gradient that teaches, and refusals with figures."""

import dataclasses

import numpy as np
import pytest
import torch

from hackamore.annotators.catalog import make_annotator
from hackamore.annotators.inspector import WEIGHTS, Inspector
from hackamore.bases.decoding import decoded
from hackamore.core import palette
from hackamore.core.errors import HackamoreError
from hackamore.core.image import to_hint
from hackamore.data.truth import read_truths
from hackamore.data.worlds import write_worlds
from hackamore.metrics.edges import edge_f1
from hackamore.training.contours import line_art, soft_edges
from hackamore.training.draws import Draws
from hackamore.training.edges import canny
from hackamore.training.objective import Objective
from hackamore.training.reader_network import Reader, inner_size, load_reader
from hackamore.training.reader_task import ReaderTask
from hackamore.training.readers import classes_of, make_reading
from hackamore.training.reward import Reward, Sanity, counts
from hackamore.training.settings import ObjectiveSettings, RewardSettings, RunSettings
from hackamore.training.trainer import train

PLAIN = ("canny", "softedge", "lineart", "scribble", "color", "blur", "tile", "recolor")


@pytest.fixture(scope="module")
def truths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return read_truths([write_worlds(folder, 6, 128, seed=40, hints=("seg", "depth", "normal"), workers=1)], (128, 128))


@pytest.fixture(scope="module")
def pictures(truths):
    return [np.array(picture) for picture in truths.pictures[0]]


def hints_of(kind, pictures, **parameters):
    return to_hint([make_annotator(kind, **parameters)(picture) for picture in pictures])


@pytest.mark.parametrize("density", [0.04, 0.08, 0.15])
def test_soft_canny_is_opencvs(pictures, density):
    hints = hints_of("canny", pictures, density=density)[:, 0]
    found = canny(to_hint(pictures), hints.mean((1, 2)))
    agree = [edge_f1(a.numpy() > 0.5, b.numpy() > 0.5, 1) for a, b in zip(found, hints, strict=True)]
    assert min(agree) > 0.9
    assert np.mean(agree) > 0.95


@pytest.mark.parametrize(("kind", "read"), [("softedge", soft_edges), ("lineart", line_art)])
def test_soft_drawings_are_the_annotators(pictures, kind, read):
    pictures = [*pictures[:3], pictures[3][:, 20:100], pictures[4][30:110]]
    for picture in pictures:
        wanted = hints_of(kind, [picture])[:, 0]
        assert float((read(to_hint([picture])) - wanted).abs().mean()) < 0.003


@pytest.mark.parametrize("kind", PLAIN)
def test_true_pictures_agree_with_their_hints_and_can_be_taught(pictures, kind):
    x, hints = to_hint(pictures), hints_of(kind, pictures)
    read = make_reading(kind)
    own, shuffled = read(x, hints), read(x, hints.roll(1, 0))
    assert own.shape == (len(pictures),)
    assert float(own.mean()) < 0.35 * float(shuffled.mean())
    assert 0.3 < float(shuffled.mean()) < 3
    wrong = x.roll(1, 0).requires_grad_(True)
    (gradient,) = torch.autograd.grad(read(wrong, hints).sum(), wrong)
    assert torch.isfinite(gradient).all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("kind", PLAIN)
def test_flat_pictures_do_not_break_the_gradient(kind):
    flat = torch.full((2, 3, 64, 48), 0.5).requires_grad_(True)
    hint = torch.zeros(2, 3, 64, 48)
    hint[:, :, 20:24] = 1
    (gradient,) = torch.autograd.grad(make_reading(kind)(flat, hint).sum(), flat)
    assert torch.isfinite(gradient).all()


def test_parameters_of_the_annotator_reach_the_reading(pictures):
    x = to_hint(pictures)
    for kind, told in (
        ("color", {"cell": 16}),
        ("blur", {"sigma": 2.0}),
        ("tile", {"factor": 16}),
        ("recolor", {"gamma": 3.0}),
    ):
        hints = hints_of(kind, pictures, **told)
        fitting, usual = (float(make_reading(kind, None, p)(x, hints).mean()) for p in (told, {}))
        assert fitting < 0.1
        assert fitting < 0.6 * usual or kind in ("color", "tile")  # coarser cells of finer ones are the same means
    wide = make_reading("blur", None, {"sigma": (1.0, 3.0)})
    assert torch.equal(wide(x, x), make_reading("blur", None, {"sigma": 2.0})(x, x))


def test_descending_the_reward_draws_the_hint(meadow, pictures):
    """From another picture's latents, the decoder between: after some steps the edges are those of the hint."""
    reward = Reward(meadow, RewardSettings(weight=1), "canny")
    hint = hints_of("canny", pictures[:1])
    latents = meadow.encode(to_hint(pictures[1:2]) * 2 - 1).float().requires_grad_(True)
    optimiser = torch.optim.Adam([latents], lr=0.1)
    losses = []
    for _ in range(6):
        loss = reward.losses(latents, hint).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_decoding_with_a_gradient_is_the_bases_decoding(meadow, sd1):
    for base in (meadow, sd1):
        latents = torch.randn(1, 4, 8, 8, requires_grad=True)
        pictures = decoded(base.vae, latents)
        assert torch.equal(pictures.detach(), base.decode(latents.detach()))
        (gradient,) = torch.autograd.grad(pictures.sum(), latents)
        assert float(gradient.norm()) > 0


@pytest.fixture
def batch(meadow, pictures):
    objective = Objective(meadow.scheduler_config, ObjectiveSettings())
    latents = meadow.encode(to_hint(pictures[:4]) * 2 - 1).float()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([50, 900, 100, 150])
    x, made = objective.noisy(latents, noise, t), objective.target(latents, noise, t)
    return objective, x, made.requires_grad_(True), t, hints_of("canny", pictures[:4])


def test_only_small_timesteps_and_given_hints_are_rewarded(meadow, batch):
    objective, x, made, t, hints = batch
    hints[2] = 0  # a dropped hint
    settings = RewardSettings(weight=1, below=0.4)
    told = counts(settings, objective.share(t), torch.zeros(4, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(Reward(meadow, settings, "canny")(x, made, t, hints, objective, told), made)
    assert (gradient.flatten(1).norm(dim=1) > 0).tolist() == [True, False, False, True]
    assert all(p.grad is None and not p.requires_grad for p in meadow.vae.parameters())


def test_share_and_below_choose_the_rows(meadow, batch):
    objective, x, made, t, hints = batch

    def rows(lost=(), **told):
        which = torch.tensor([k in lost for k in range(4)])
        made = counts(RewardSettings(weight=1, **told), objective.share(t), which)
        assert float(made.mean()) in (0, 1)
        return made.nonzero()[:, 0].tolist()

    assert rows() == [0, 2, 3]
    assert rows(share=0.5) == [0, 2]
    assert rows(share=0.01) == [0]
    assert rows(below=0.12) == [0, 2]
    assert rows(below=1.0) == [0, 1, 2, 3]
    assert rows((0, 3)) == [2]
    assert rows(below=0.01) == []
    assert float(Reward(meadow, RewardSettings(weight=1), "canny")(x, made, t, hints, objective, torch.zeros(4))) == 0


def test_the_parts_of_a_batch_have_the_reward_of_the_whole(meadow, batch):
    objective, x, made, t, hints = batch
    reward = Reward(meadow, RewardSettings(weight=1), "canny")
    told = counts(reward.settings, objective.share(t), torch.zeros(4, dtype=torch.bool))
    with torch.no_grad():
        whole = reward(x, made, t, hints, objective, told)
        parts = [reward(*(v[k : k + 1] for v in (x, made, t, hints)), objective, told[k : k + 1]) for k in range(4)]
    assert sum(map(float, parts)) / 4 == pytest.approx(float(whole), rel=1e-4)
    assert float(whole) > 0


def test_the_right_prediction_is_rewarded_most(meadow, batch):
    """True noise gives the true picture; noise that belongs to another picture does not."""
    objective, x, made, t, hints = batch
    reward = Reward(meadow, RewardSettings(weight=1), "canny")
    with torch.no_grad():
        every = torch.tensor([1.0, 0.0, 1.0, 1.0])
        right = reward(x, made, t, hints, objective, every)
        wrong = reward(x, made + 0.5 * torch.randn_like(made), t, hints, objective, every)
        other = reward(x, made, t, hints.roll(1, 0), objective, every)
    assert float(right) < 0.85 * float(other)
    assert float(right) < float(wrong)


def test_checkpointing_gives_the_same_gradient(meadow, batch):
    objective, x, made, t, hints = batch
    gradients = []
    for checkpointing in (False, True):
        reward = Reward(meadow, RewardSettings(weight=1), "canny", checkpointing=checkpointing)
        loss = reward(x, made, t, hints, objective, torch.ones(4))
        gradients.append(torch.autograd.grad(loss, made)[0])
    assert torch.allclose(*gradients)


def test_sanity_passes_true_hints_and_refuses_others(meadow, pictures):
    x, hints = to_hint(pictures[:3]), hints_of("softedge", pictures[:3])
    reward = Reward(meadow, RewardSettings(weight=1), "softedge")
    found = reward.sanity(x, hints)
    found.check()
    assert found.own < 0.01 < found.seen < found.shuffled
    mixed = reward.sanity(x, hints.roll(1, 0))
    with pytest.raises(HackamoreError, match="does not know") as refused:
        mixed.check()
    assert f"{mixed.own:.3g}" in str(refused.value)
    with pytest.raises(HackamoreError, match="several"):
        reward.sanity(x[:1], hints[:1])


@pytest.mark.parametrize("wrong", [{"gradient": 0.0}, {"gradient": float("nan")}, {"own": float("nan")}, {"seen": 0.7}])
def test_a_reward_that_cannot_teach_is_refused(wrong):
    good = Sanity("canny", own=0.05, shuffled=0.7, seen=0.4, gradient=0.1)
    assert good.good
    assert not dataclasses.replace(good, **wrong).good


def test_an_autoencoder_that_loses_the_hint_is_refused(sd1, pictures):
    x, hints = to_hint(pictures[:2]), hints_of("softedge", pictures[:2])
    assert not Reward(sd1, RewardSettings(weight=1), "softedge").sanity(x, hints).good


@pytest.mark.parametrize("kind", ["pose", "mlsd", "inpaint", "shuffle"])
def test_a_kind_without_a_reading_is_refused_at_once(meadow, kind):
    with pytest.raises(HackamoreError, match="no reward for"):
        Reward(meadow, RewardSettings(weight=1), kind)


@pytest.mark.parametrize("kind", ["seg", "depth", "normal_bae"])
def test_a_missing_reader_is_named(meadow, kind, tmp_path):
    with pytest.raises(HackamoreError, match="needs a reader"):
        Reward(meadow, RewardSettings(weight=1), kind)
    with pytest.raises(HackamoreError):
        Reward(meadow, RewardSettings(weight=1, reader=tmp_path), kind)


def test_the_reader_is_small_and_is_not_the_judge():
    assert sum(weight.numel() for weight in Reader().parameters()) <= 600_000
    assert not set(Reader().state_dict()) & set(Inspector().state_dict()) - {"stem.weight", "stem.bias"}
    with pytest.raises(HackamoreError, match="holds no reader"):
        load_reader(WEIGHTS)


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (256, 256), (40, 56)])
def test_the_reader_reads_pictures_of_any_size(size):
    read = Reader()(torch.rand(2, 3, *size))
    assert read.classes.shape == (2, len(palette.CLASSES), *size)
    assert read.depth.shape == (2, *size)
    assert read.normals.shape == (2, 3, *size)
    assert all(side % 32 == 0 for side in inner_size(*size))


@pytest.fixture(scope="module")
def reader(truths, tmp_path_factory):
    """A reader that knows six worlds by heart."""
    folder = tmp_path_factory.mktemp("reader")
    torch.manual_seed(0)
    run = RunSettings(steps=45, batch_size=3, lr=6e-3, warmup=3, ema=None, log_every=45, sample_every=45)
    return train(ReaderTask(truths, truths.pictures), run, folder)


@pytest.mark.parametrize("kind", ["seg", "depth", "normal"])
def test_a_trained_reader_rewards_what_it_knows(truths, pictures, reader, kind):
    made = {
        "seg": [palette.paint(np.array(part)) for part in truths.classes[0]],
        "depth": [np.repeat(np.array(part)[..., None], 3, axis=2) for part in truths.depth[0]],
        "normal": [np.array(part) for part in truths.normals[0]],
    }
    hints, x = to_hint(made[kind]), to_hint(pictures).requires_grad_(True)
    read = make_reading(kind, reader)
    own, shuffled = read(x, hints), read(x.detach(), hints.roll(1, 0))
    assert float(own.detach().mean()) < 0.8 * float(shuffled.mean())
    (gradient,) = torch.autograd.grad(own.sum(), x)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert (reader / "samples" / "step-00000045.png").exists()


def test_seg_hints_are_read_as_classes(truths):
    classes = torch.from_numpy(np.array(truths.classes[0])).long()
    hint = to_hint([palette.paint(np.array(part)) for part in truths.classes[0]])
    assert torch.equal(classes_of(hint), classes)
    assert torch.equal(classes_of((hint + 0.02).clamp(0, 1)), classes)


def test_the_readers_batches_are_mirrored_alike_and_repeatable(truths):
    task = ReaderTask(truths)
    batch, again = (task.batch(Draws(0, 3, 6)) for _ in range(2))
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert batch["x"].min() >= 0
    assert batch["x"].max() <= 1
    places = Draws(0, 3, 6).indices(6)
    straight = torch.from_numpy(np.array(truths.classes[0]))[places].long()
    normals = torch.from_numpy(np.array(truths.normals[0]))[places].permute(0, 3, 1, 2).float() / 127.5 - 1
    turned = 0
    for k in range(6):
        if torch.equal(batch["classes"][k], straight[k]):
            assert torch.equal(batch["normals"][k], normals[k])
            continue
        turned += 1
        assert torch.equal(batch["classes"][k], straight[k].flip(-1))
        assert torch.equal(batch["normals"][k, 0], -normals[k, 0].flip(-1))
        assert torch.equal(batch["normals"][k, 1:], normals[k, 1:].flip(-1))
    assert 0 < turned < 6
