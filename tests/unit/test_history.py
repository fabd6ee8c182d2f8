"""What a log tells: best probe, patience, sudden convergence, where it is going, and advice in words."""

import math

import pytest

from hackamore.training import advice, history
from hackamore.training.advice import advise


def rows(figures, every=250, name="normalised", losses=0.45, **more):
    """A log: a loss row and a probe row at each place; ``more`` are further findings by name, a list each."""
    made = []
    for k, figure in enumerate(figures):
        step = (k + 1) * every
        loss = losses[k] if isinstance(losses, list) else losses
        made.append({"step": step, "loss": loss, "norm": 0.1, "lr": 1e-3})
        found = {"normalised": None, "gain": None, name: figure}
        made.append({"step": step, "probe": found | {key: values[k] for key, values in more.items()}})
    return made


SUDDEN = [0.01, 0.02, 0.0, 0.03, 0.55, 0.6, 0.62, 0.61]
SMOOTH = [1 - math.exp(-(k + 1) / 3) for k in range(8)]
LINE = [0.1 * k for k in range(8)]


def test_the_best_probe_is_the_earliest_of_equals():
    assert history.best([]) is None
    assert history.best(rows([0.1, 0.5, 0.502, 0.3])).step == 500
    assert history.best(rows([0.1, 0.5, 0.52, 0.3])).step == 750


def test_a_probe_without_a_normalised_figure_is_judged_by_its_gain():
    log = rows([0.01, 0.05, 0.04], name="gain")
    assert history.best(log).figure == 0.05
    mixed = [*rows([0.3]), {"step": 900, "probe": {"normalised": None, "gain": 7.0}}]
    assert [point.figure for point in history.probes(mixed)] == [0.3]
    broken = {"step": 1, "probe": {"normalised": float("nan"), "gain": None}}
    assert history.probes([broken]) == []


def test_patience_counts_probes_since_the_best_once_it_learns():
    assert history.waited(rows([0.0, 0.01, 0.0, 0.02])) == 0  # it may still wait for its sudden convergence
    log = rows([0.2, 0.5, 0.49, 0.501, 0.3])
    assert history.waited(log) == 3
    assert history.exhausted(log, 3)
    assert not history.exhausted(log, 4)
    assert not history.exhausted(log, None)


def test_what_captions_alone_bring_is_not_learned():
    assert not history.probes(rows([0.3], idle=[0.28]))[0].begun
    assert history.probes(rows([0.4], idle=[0.28]))[0].begun


def test_sudden_convergence_is_the_rise_that_stands_out():
    found = history.sudden(rows(SUDDEN))
    assert (found.before, found.step) == (1000, 1250)
    assert str(found) == "sudden convergence at about step 1,250 (0.03 → 0.55)"
    assert history.sudden(rows(LINE)) is None
    assert history.sudden(rows([0.3, 0.31, 0.3, 0.32])) is None
    assert history.sudden(rows([0.0, 0.6])) is None


def test_sudden_convergence_in_hint_gain():
    assert history.sudden(rows([0, 0, 0.001, 0.09, 0.1, 0.1], name="gain")).step == 1000
    assert history.sudden(rows([0, 0.001, 0, 0.001], name="gain")) is None


def test_smoothing_begins_with_plain_means_and_keeps_a_level():
    assert history.smoothed([4.0] * 5) == pytest.approx([4.0] * 5)
    assert history.smoothed([1, 3, 5], 0.9) == pytest.approx([1, 2, 3])
    assert history.smoothed([]) == []


def test_the_plateau_of_a_rise_is_foreseen():
    seen = history.plateau(rows(SMOOTH))
    assert seen.figure == pytest.approx(1.0, abs=0.02)
    assert 250 + 3 * 750 <= seen.step < 500 + 3.5 * 750
    assert history.plateau(rows(LINE)) is None  # its end is not in sight
    assert history.plateau(rows([0.5, 0.5, 0.5, 0.5])) is None
    assert history.plateau(rows(SMOOTH[:3])) is None


def test_noise_of_probes_is_found_beside_a_rise():
    assert history.noise(history.probes(rows(LINE))) == pytest.approx(0, abs=1e-9)
    shaken = [0.1 * k + (0.05 if k % 2 else -0.05) for k in range(12)]
    assert 0.05 < history.noise(history.probes(rows(shaken))) < 0.2
    assert history.noise(history.probes(rows([0.1, 0.9, 0.1]))) == 0


FALLING = [0.9, 0.9, 0.85, 0.6, 0.55, 0.5, 0.5, 0.5]
ADVICE = {
    "nothing learned": ({"figures": [0.0, 0.01] * 4, "every": 500}, {}, "do not follow the hint. Raise lr, zero_scale"),
    "only the loss uses it": (
        {"figures": [0.0, 0.01] * 4, "every": 500, "gain": [0.01 * k for k in range(8)]}, {},
        "do not follow the hint yet, but the loss makes use of it (7.0 % smaller than with another's), so it is "
        "learning; go on",
    ),
    "ended before it converged": ({"figures": [0.0, 0.02, 0.04]}, {"ended": True}, "before its sudden convergence"),
    "not finished": ({"figures": SMOOTH[:6]}, {"steps": 1500}, "is not finished: it is going to about"),
    "on its way": ({"figures": SMOOTH[:6]}, {}, "and is going to about"),
    "ended while it rose": ({"figures": [0.1, 0.2, 0.3]}, {"ended": True}, "ended while the control still got better"),
    "finished high": ({"figures": [0.5, 0.9, 0.9, 0.89, 0.9]}, {}, "stop here: use it at scale 0.6 to 0.8"),
    "finished low": ({"figures": [0.1, 0.4, 0.4, 0.39, 0.4]}, {}, "more data or a larger form"),
    "past its best": ({"figures": [0.3, 0.7, 0.6, 0.4]}, {}, "was best at step 500 (0.70 of what is possible) and"),
    "the loss rises": (
        {"figures": [0.0] * 8, "losses": [0.3, 0.3, 0.5, 0.9, 1.2, 1.5, 1.8, 2.0], "every": 100}, {}, "run is unstable",
    ),
    "captions forgotten": ({"figures": [*LINE[1:], 0.7], "captions": FALLING}, {}, "Captions are heard less and less"),
    "learned by heart": (
        {"figures": [0.3, 0.4, 0.4, 0.4], "gain": [0.03, 0.05, 0.04, 0.02], "gain_training": [0.03, 0.08, 0.15, 0.25]},
        {}, "learns its training pairs by heart: their hints are worth 25.0 %",
    ),
    "few examples a step": (
        {"figures": [0.1 + 0.05 * k + 0.12 * (-1) ** k for k in range(10)]}, {"batch_size": 2},
        "2 examples a step are few",
    ),
    "sudden": ({"figures": SUDDEN}, {}, "Sudden convergence at about step 1,250"),
    "flat loss": ({"figures": LINE}, {}, "hardly moves, and that is normal"),
}  # fmt: skip


@pytest.mark.parametrize(("log", "run", "words"), ADVICE.values(), ids=ADVICE)
def test_each_piece_of_advice_is_given_where_it_is_due(log, run, words):
    log = log if "losses" in log else log | {"losses": [0.5, 0.47] + [0.45] * (len(log["figures"]) - 2)}
    told = advise(rows(**log), **{"steps": 20_000, "batch_size": 16} | run)
    assert [words in sentence for sentence in told].count(True) == 1, told


@pytest.mark.parametrize(("log", "run", "_"), ADVICE.values(), ids=ADVICE)
def test_a_run_that_was_all_warm_up_is_told_that_alone(log, run, _):
    made = rows(**log)
    done = made[-1]["step"]
    told = {"batch_size": 16} | run | {"steps": done, "ended": True}
    (alone,) = advise(made, **told, warmup=done)
    assert f"Of its {done:,} steps all were warm-up" in alone
    (most,) = advise(made, **told, warmup=done * 9 // 10)
    assert f"Of its {done:,} steps {done * 9 // 10:,} were warm-up" in most
    assert advise(made, **told, warmup=done // 2) == advise(made, **told)


def test_a_run_in_its_warm_up_is_let_be():
    early = rows([0.0, 0.01, 0.0, 0.01], losses=[0.3, 0.3, 0.9, 1.2])
    assert advise(early, steps=20_000, batch_size=16) != []
    assert advise(early, steps=20_000, batch_size=16, warmup=1000) == []
    (words,) = advise(early, steps=1200, batch_size=16, warmup=1000)
    assert words.startswith("Of its 1,200 steps 1,000 are warm-up")
    assert advise([], steps=10, batch_size=16, warmup=100, ended=True) == []


def test_a_reward_in_the_loss_is_no_unstable_run():
    log = rows([0.0, 0.01] * 4, every=100, losses=[0.3, 0.3, 0.3, 0.3, 0.9, 0.9, 0.9, 0.9])
    assert any("unstable" in words for words in advise(log, steps=4000, batch_size=16))
    told = [row | ({"denoising": 0.3} if row.get("loss") == 0.9 else {}) for row in log]
    assert not any("unstable" in words for words in advise(told, steps=4000, batch_size=16))


def test_a_good_run_under_way_needs_no_advice():
    good = rows([0.2, 0.35, 0.45], losses=[0.5, 0.46, 0.42], captions=[0.6, 0.62, 0.61], gain=[0.1, 0.2, 0.25])
    assert advise(good, steps=20_000, batch_size=16) == []
    assert advise([], steps=10, batch_size=16) == []
    assert advise(good[:1], steps=10, batch_size=16) == []


def test_what_stops_a_run_comes_before_what_is_good_to_know():
    told = advise(rows([0.02, 0.0, 0.0, 0.03], every=2000), steps=8000, batch_size=16, ended=True)
    assert told[0].startswith("After 128,000 samples")
    told = advise(rows([*SUDDEN, 0.62, 0.61]), steps=2500, batch_size=16, ended=True)
    assert "It has not risen for 3 probes" in told[0]
    assert "0.61 of what is possible" in told[-1]
    assert all(rule.__doc__ for rule in advice.RULES)
