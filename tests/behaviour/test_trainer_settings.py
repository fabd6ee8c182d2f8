"""Every field of the run's settings reaches what it names."""

import threading
import time

import pytest
import torch
from torch import nn

from hackamore.core.errors import Cancelled, HackamoreError, WorkFailed
from hackamore.training.adamw8bit import AdamW8bit
from hackamore.training.draws import Draws
from hackamore.training.processes import Processes
from hackamore.training.settings import RunSettings
from hackamore.training.state import checkpoints, load_checkpoint
from hackamore.training.step import Stepper
from hackamore.training.trainer import read_log, train
from tests.line import RUN, Line, exported


def told(**changes):
    return RUN.model_copy(update=changes)


def stepped(task, run, steps=1, weights=None):
    """A stepper after ``steps`` steps."""
    stepper = Stepper(task, run, Processes(run), weights)
    for step in range(steps):
        stepper.step(step, task.batch(Draws(run.seed, step, run.batch_size)), None)
    return stepper


def gradient(run, task=None):
    """What reaches the optimiser in the first step, before clipping."""
    task = task or Line()
    stepper = Stepper(task, run, Processes(run), None)
    losses = stepper._gradients(task.batch(Draws(0, 0, run.batch_size)))
    return torch.cat([weight.grad.flatten() for weight in stepper.trained]), losses


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_accumulated_parts_give_the_whole_batchs_gradient(parts):
    whole, losses = gradient(told())
    split, others = gradient(told(accumulate=parts))
    assert torch.allclose(whole, split, rtol=1e-5, atol=1e-7)
    assert float(others["loss"]) == pytest.approx(float(losses["loss"]), rel=1e-6)


def test_a_part_is_all_that_is_computed_at_a_time():
    class Counts(Line):
        def forward(self, batch):
            rows.append(len(batch["x"]))
            return super().forward(batch)

    rows = []
    gradient(told(accumulate=3), Counts())
    assert sorted(rows) == [2, 3, 3]
    with pytest.raises(HackamoreError, match="more parts than examples"):
        Processes(told(accumulate=9))


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_batches_prepared_in_the_background_are_the_same_to_the_bit(tmp_path, ahead):
    class Where(Line):
        def batch(self, draws):
            threads.add(threading.current_thread().name)
            time.sleep(0.002 * (draws.step % 3))
            return super().batch(draws)

    threads = set()
    run = told(prefetch=ahead)
    train(Where(), told(prefetch=0), tmp_path / "plain")
    assert threads == {threading.current_thread().name}
    threads.clear()
    train(Where(), run, tmp_path / "ahead")
    assert threading.current_thread().name not in threads
    assert len(threads) == min(ahead, 4)
    assert torch.equal(exported(tmp_path / "plain")["weight"], exported(tmp_path / "ahead")["weight"])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_in_the_background_stops_the_run(tmp_path):
    class Broken(Line):
        def batch(self, draws):
            if draws.step == 4:
                raise HackamoreError("picture 17 is damaged")
            return super().batch(draws)

    task = Broken()
    with pytest.raises(HackamoreError, match="picture 17"):
        train(task, told(prefetch=3), tmp_path)
    assert task.steps == [0, 1, 2, 3]


def test_keep_says_how_many_checkpoints_stay(tmp_path):
    for keep, left in ((1, [24]), (3, [15, 20, 24])):
        train(Line(), told(keep=keep), tmp_path / str(keep))
        assert [int(path.stem[5:]) for path in checkpoints(tmp_path / str(keep) / "checkpoints")] == left


def test_clip_bounds_the_gradient():
    loose, tight = (stepped(Line(), told(optimiser="sgd", warmup=0, weight_decay=0, clip=clip)) for clip in (1e9, 1e-3))
    before = Line().line.weight
    far, near = (float((s.task.line.weight - before).detach().norm()) for s in (loose, tight))
    assert near <= 0.05 * 3 * 1e-3 < far


def test_betas_weight_decay_and_lr_reach_the_optimisers():
    for name, betas in (("adamw", "betas"), ("adamw8bit", "betas"), ("sgd", "momentum")):
        run = told(optimiser=name, betas=(0.7, 0.8), weight_decay=0.3, lr=0.5, warmup=0)
        for group, scale in zip(stepped(Line(), run).optimiser.param_groups, (1, 3), strict=True):
            assert group[betas] == ((0.7, 0.8) if betas == "betas" else 0.7)
            assert group["weight_decay"] == 0.3
            assert group["lr"] == 0.5 * scale
    assert stepped(Line(), told()).optimiser.param_groups[0]["fused"]


def test_weights_move_as_torchs_adamw_moves_them(tmp_path):
    run = told(warmup=0, flat=1, clip=1e9)
    task, mirror = Line(), Line()
    stepped(task, run, 5)
    groups = [{"params": g["params"], "lr": run.lr * g.get("scale", 1)} for g in mirror.groups()]
    optimiser = torch.optim.AdamW(groups, betas=run.betas, weight_decay=run.weight_decay)
    for step in range(5):
        mirror(mirror.batch(Draws(0, step, 8)))["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
    assert torch.allclose(task.line.weight, mirror.line.weight, rtol=1e-5)


def test_the_average_decays_as_told():
    fast, slow = (stepped(Line(), told(ema=ema, warmup=0), 60) for ema in (0.5, 0.999))
    assert stepped(Line(), told(ema=None)).average is None
    apart = [float((s.average.weights[0] - s.task.line.weight).detach().norm()) for s in (fast, slow)]
    assert apart[0] < apart[1] / 3


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "adafactor", "sgd"])
def test_every_optimiser_learns_and_goes_on_to_the_last_digit(tmp_path, name):
    wide = {"steps": 40, "optimiser": name, "log_every": 1, "lr": 0.1}
    train(Wide(), told(**wide), tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(Wide(stop_at=17), told(**wide), tmp_path / "halves")
    train(Wide(), told(**wide), tmp_path / "halves")
    whole, halves = exported(tmp_path / "whole"), exported(tmp_path / "halves")
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    losses = [row["loss"] for row in read_log(tmp_path / "whole" / "log.jsonl")]
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])


class Wide(Line):
    """With a layer that is large enough for moments in bytes."""

    def __init__(self, stop_at=None):
        super().__init__(stop_at)
        self.wide = nn.Linear(3, 1500)
        self.line = nn.Linear(1500, 1)

    def groups(self):
        return [{"params": list(self.parameters())}]

    def forward(self, batch):
        return super().forward(batch | {"x": self.wide(batch["x"]) / 40})


def test_an_optimiser_that_changes_begins_anew_and_says_so(tmp_path):
    with pytest.raises(Cancelled):
        train(Line(stop_at=7), RUN, tmp_path)
    train(Line(), told(optimiser="sgd", lr=0.01), tmp_path)
    warned = " ".join(row["warning"] for row in read_log(tmp_path / "log.jsonl") if "warning" in row)
    assert "lr 0.05 → 0.01" in warned
    assert "adamw → sgd" in warned


class TestMomentsInBytes:
    def problem(self, kind, steps, **settings):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(32, 256), nn.Tanh(), nn.Linear(256, 32))
        optimiser = kind(net.parameters(), lr=3e-3, **settings)
        generator = torch.Generator().manual_seed(1)
        mix = torch.randn(32, 32, generator=generator) / 6
        losses = []
        for _ in range(steps):
            x = torch.randn(32, 32, generator=generator)
            loss = (net(x) - torch.sin(x @ mix)).square().mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss.detach()))
        return sum(losses[-30:]) / 30, net, optimiser

    @pytest.mark.parametrize("betas", [(0.9, 0.99), (0.9, 0.999)])
    def test_learn_as_well_as_whole_ones(self, betas):
        whole, net, _ = self.problem(torch.optim.AdamW, 250, betas=betas)
        small, other, _ = self.problem(AdamW8bit, 250, betas=betas)
        assert small == pytest.approx(whole, rel=0.02)
        moved = torch.cat([p.detach().flatten() for p in net.parameters()])
        mine = torch.cat([p.detach().flatten() for p in other.parameters()])
        assert float(torch.corrcoef(torch.stack([moved, mine]))[0, 1]) > 0.98

    def test_take_a_byte_each(self):
        _, net, optimiser = self.problem(AdamW8bit, 1)
        state = optimiser.state[net[0].weight]
        bits = sum(value.numel() * value.element_size() for name, value in state.items() if name != "step")
        assert bits <= net[0].weight.numel() * 2.04
        assert state["exp_avg"].element_size() == state["exp_avg_sq"].element_size() == 1

    def test_are_exact_where_tensors_are_small(self):
        runs = []
        for kind in (torch.optim.AdamW, AdamW8bit):
            torch.manual_seed(0)
            weight = nn.Parameter(torch.randn(50))
            optimiser = kind([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
            for step in range(20):
                weight.grad = torch.randn(50, generator=torch.Generator().manual_seed(step))
                optimiser.step()
            runs.append(weight.detach())
        assert torch.allclose(*runs, rtol=1e-5, atol=1e-6)

    def test_follow_averages_that_move_by_less_than_a_rounding_step(self):
        """A second moment that decays by 0.1 % a step, which rounding to the nearest would hold for ever."""
        weight = nn.Parameter(torch.zeros(8192))
        optimiser = AdamW8bit([weight], lr=0.0, betas=(0.9, 0.999))
        weight.grad = torch.ones(8192)
        optimiser.step()
        weight.grad = torch.zeros(8192)
        weight.grad[::256] = 1.0  # holds the scale of every block
        for _ in range(1000):
            optimiser.step()
        state = optimiser.state[weight]
        kept = (state["exp_avg_sq"].float() / 255) ** 4 * state["scale_sq"].repeat_interleave(256)
        rest = kept.view(-1, 256)[:, 1:].mean()
        assert float(rest) == pytest.approx(0.001 * 0.999**1000, rel=0.1)

    def test_any_memory_format_and_odd_sizes(self):
        moved = []
        for last in (False, True):
            weight = torch.randn(70, 7, 3, 3, generator=torch.Generator().manual_seed(0))
            weight = nn.Parameter(weight.to(memory_format=torch.channels_last) if last else weight)
            optimiser = AdamW8bit([weight], lr=0.1)
            for step in range(3):
                weight.grad = torch.randn(70, 7, 3, 3, generator=torch.Generator().manual_seed(step))
                optimiser.step()
            moved.append(weight.detach())
        assert torch.equal(*moved)


class Half(Line):
    """``wild``: steps whose loss is far beyond half precision."""

    def __init__(self, wild=(), **told):
        super().__init__(**told)
        self.wild = wild

    def forward(self, batch):
        made = self.line(batch["x"])
        self.dtype = made.dtype
        factor = 1e30 if int(batch["step"]) in self.wild else 1.0
        return {"loss": ((made * factor).square().mean() if factor > 1 else (made - batch["y"]).square().mean())}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.half)]
)
def test_precision_is_what_layers_compute_in(tmp_path, precision, dtype):
    task = Half()
    train(task, told(precision=precision), tmp_path)
    assert task.dtype == dtype
    assert task.line.weight.dtype == torch.float32
    plain = Half()
    train(plain, told(), tmp_path / "plain")
    # of the first steps, fp16 leaves out those in which it finds its scale
    assert torch.allclose(task.line.weight, plain.line.weight, atol=0.2 if precision == "fp16" else 0.02)


def test_fp16_leaves_out_a_step_that_overflows_and_goes_on_to_the_last_digit(tmp_path):
    run = told(precision="fp16", warmup=0)
    task = Half(wild=(14,))
    stepper = Stepper(task, run, Processes(run), None)
    stayed = []
    for step in range(17):
        before, scale = task.line.weight.detach().clone(), stepper.scaler.get_scale()
        stepper.step(step, task.batch(Draws(0, step, 8)), None)
        assert torch.equal(task.line.weight, before) == (stepper.scaler.get_scale() == scale / 2)
        stayed += [step] * torch.equal(task.line.weight, before)
    assert stayed[-1] == 14
    assert len(stayed) < 5, "a few of the first steps, until the scale fits"
    train(Half(wild=(14,)), run, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(Stops(wild=(14,), stop_at=16), run, tmp_path / "halves")
    train(Half(wild=(14,)), run, tmp_path / "halves")
    assert torch.equal(exported(tmp_path / "whole")["weight"], exported(tmp_path / "halves")["weight"])
    kept = load_checkpoint(checkpoints(tmp_path / "halves" / "checkpoints")[-1])["scaler"]
    assert kept["scale"] == stepper.scaler.get_scale()


class Stops(Half):
    def forward(self, batch):
        Line.forward(self, batch)
        return super().forward(batch)


def test_fp16_gives_up_when_no_scale_helps(tmp_path):
    with pytest.raises(WorkFailed, match="broke at step"):
        train(Half(wild=range(100)), told(precision="fp16", steps=100), tmp_path)


def test_channels_last_reaches_weights_of_convolutions_and_what_they_see():
    class Conv(Line):
        def __init__(self):
            super().__init__()
            self.conv, self.locked = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3).requires_grad_(False)
            self._hidden = (self.locked,)
            del self.locked

        def frozen(self):
            return list(self._hidden)

        def groups(self):
            return [{"params": list(self.parameters())}]

        def batch(self, draws):
            return super().batch(draws) | {"picture": draws.normal(3, 8, 8)}

        def forward(self, batch):
            self.seen = batch["picture"].is_contiguous(memory_format=torch.channels_last)
            return {"loss": self._hidden[0](self.conv(batch["picture"])).square().mean()}

    tasks = []
    for last in (True, False):
        torch.manual_seed(0)
        task = Conv()
        stepped(task, told(channels_last=last), 3)
        for layer in (task.conv, *task.frozen()):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last) == last
        assert task.seen == last
        tasks.append(task)
    assert torch.allclose(tasks[0].conv.weight, tasks[1].conv.weight, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_compile_compiles_the_step():
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    plain = stepped(Smooth(), told(), 2)
    assert not counters["stats"]["unique_graphs"]
    compiled = stepped(Smooth(), told(compile=True), 2)
    assert counters["stats"]["unique_graphs"] == 1
    assert torch.allclose(compiled.task.line.weight, plain.task.line.weight, rtol=1e-5)


class Smooth(Line):
    """Without a count of its steps, which a compiled graph would be bound to."""

    def forward(self, batch):
        return {"loss": (self.line(batch["x"]) - batch["y"]).square().mean()}


def test_places_and_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="steps"):
        RunSettings(steps=0)
    with pytest.raises(ValueError, match="optimiser"):
        RunSettings(steps=1, optimiser="lion")


def test_seed_steps_and_every_interval_reach_the_run(tmp_path):
    run = told(steps=12, log_every=3, sample_every=4, checkpoint_every=6, keep=9)
    train(Line(), run, tmp_path / "a")
    assert [row["step"] for row in read_log(tmp_path / "a" / "log.jsonl")] == [3, 6, 9, 12]
    assert sorted(path.name for path in (tmp_path / "a" / "samples").iterdir()) == [
        f"step-{step:08d}.png" for step in (4, 8, 12)
    ]
    assert [int(path.stem[5:]) for path in checkpoints(tmp_path / "a" / "checkpoints")] == [6, 12]
    train(Line(), run.model_copy(update={"seed": 1}), tmp_path / "b")
    assert not torch.equal(exported(tmp_path / "a")["weight"], exported(tmp_path / "b")["weight"])
