"""What is out of memory is out of memory, comes back the same, and is missed by nobody."""

import tempfile
import weakref

import pytest
import torch

from hackamore.bases.catalog import load_base
from hackamore.controls.branch import new_control
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.training.forms import make_form
from hackamore.training.memory import Parts
from hackamore.training.settings import ControlSettings
from tests import children
from tests.conftest import randomise


@pytest.fixture
def mine(sd1_folder):
    """A base of one's own, whose parts may go."""
    return load_base(sd1_folder, device="cpu")


def test_parts_go_and_come_back_the_same_to_the_bit(mine):
    picture, prompts = torch.rand(1, 3, 64, 64) * 2 - 1, ["a red circle"]
    latents, text = mine.encode(picture), mine.encode_text(prompts).tokens
    view, seen = mine.view(), mine.decode(latents)
    stored = [weakref.ref(p.untyped_storage()) for part in (mine.vae, mine.text_encoder) for p in part.parameters()]
    parts = Parts(mine)
    size = parts.bytes
    parts.release()
    parts.release()
    assert parts.bytes == 0 < size
    assert all(storage() is None or storage().nbytes() == 0 for storage in stored)
    for ask in (lambda: mine.encode(picture), lambda: view.decode(latents), lambda: mine.encode_text(prompts)):
        with pytest.raises(HackamoreError, match="laid aside"):
            ask()
    for _ in range(2):
        with parts.back(), parts.back():
            assert parts.bytes == size
            assert torch.equal(mine.encode(picture), latents)
            assert torch.equal(view.decode(latents), seen)
            assert torch.equal(mine.encode_text(prompts).tokens, text)
        assert parts.bytes == 0
    parts.restore()
    parts.restore()
    assert torch.equal(mine.decode(latents), seen)
    parts.release()
    assert parts.bytes == 0
    parts.restore()
    assert torch.equal(mine.decode(latents), seen)


def test_parts_that_stay_are_left_alone(mine):
    parts = Parts(mine)
    before = mine.vae.encoder.conv_in.weight.data_ptr()
    with parts.back():
        pass
    assert mine.vae.encoder.conv_in.weight.data_ptr() == before


def test_a_step_needs_no_part_that_is_away_and_a_base_may_move_meanwhile(mine):
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor([5]), mine.encode_text(["a red circle"])
    before = mine.predict(x, t, text)
    parts = Parts(mine)
    parts.release()
    mine.to(torch.device("cpu"))
    assert torch.equal(mine.predict(x, t, text), before)
    with parts.back():
        assert torch.isfinite(mine.decode(x)).all()


def test_an_error_inside_leaves_them_away(mine):
    parts = Parts(mine)
    parts.release()
    with pytest.raises(ZeroDivisionError), parts.back():
        raise ZeroDivisionError
    assert parts.bytes == 0


def test_a_disk_without_room_is_said_and_the_parts_stay(mine, monkeypatch):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    parts = Parts(mine)
    size = parts.bytes
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(WorkFailed, match="could not be laid aside"):
        parts.release()
    assert parts.bytes == size
    assert torch.isfinite(mine.decode(torch.randn(1, 4, 8, 8))).all()


def grad_of_base(base, branch, steered=True):
    """Which blocks of the base's U-Net made something that a gradient goes through."""
    heard = {}

    def note(name):
        def hook(module, _, made):
            made = made[0] if isinstance(made, tuple) else getattr(made, "sample", made)
            heard[name] = made.requires_grad

        return hook

    view = base.view()
    for name in ("conv_in", "mid_block", "conv_out"):
        getattr(view.unet, name).register_forward_hook(note(name))
    for name in ("down_blocks", "up_blocks"):
        for number, block in enumerate(getattr(view.unet, name)):
            block.register_forward_hook(note(f"{name}.{number}"))
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor([5]), base.encode_text(["a red circle"])
    view.predict(x, t, text, branch(x, t, text, torch.rand(1, 3, 64, 64)) if steered else None)
    return heard


def test_the_bases_encoder_has_no_graph_and_its_decoder_has(sd1):
    heard = grad_of_base(sd1, new_control(sd1, "canny"))
    assert [name for name, graph in heard.items() if graph] == [
        "up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3", "conv_out",
    ]  # fmt: skip


def kept_bytes(form, base, steps=1):
    """How much a forward pass keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in (*form.network.parameters(), *base.network.parameters())}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # no two of them may share an address
        return tensor

    alive = []
    x, t, text = torch.randn(2, 4, 16, 16), torch.tensor([5, 600]), base.encode_text(["a red circle", "a blue square"])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        form.predict(x, t, text, torch.rand(2, 3, 128, 128)).float().square().mean()
    return sum(found.values())


@pytest.mark.parametrize("form", ["controlnet", "control-lora"])
def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients(mine, form):
    gradients, kept = [], []
    for again in (False, True):
        torch.manual_seed(0)
        made = make_form(mine, ControlSettings(form=form), ["canny"])
        weights = [weight for weight in made.network.parameters() if weight.requires_grad]
        randomise(made.network)
        for weight in weights:
            weight.requires_grad_(True)
        if again:
            made.recompute()
        torch.manual_seed(1)
        kept.append(kept_bytes(made, mine))
        torch.manual_seed(1)
        x, t, text = torch.randn(1, 4, 8, 8), torch.tensor([5]), mine.encode_text(["a red circle"])
        made.predict(x, t, text, torch.rand(1, 3, 64, 64)).square().mean().backward()
        gradients.append([weight.grad for weight in weights if weight.grad is not None])
    assert kept[1] < 0.75 * kept[0]
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def test_a_half_precision_base_under_a_control_in_full_takes_half(sd1_folder):
    base = load_base(sd1_folder, device="cpu", dtype="bf16")
    form = make_form(base, ControlSettings(), ["canny"])
    assert {weight.dtype for weight in form.network.parameters()} == {torch.float32}
    assert {weight.dtype for weight in base.unet.parameters()} == {torch.bfloat16}
    text = base.encode_text(["a red circle"])
    made = form.predict(torch.randn(1, 4, 8, 8), torch.tensor([5]), text, torch.rand(1, 3, 64, 64))
    made.float().square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in form.network.parameters() if weight.grad is not None)
    assert form.network.zero_mid.weight.grad.dtype == torch.float32


def resident() -> float:
    """Mebibytes of this process that are in memory now, files' pages left out."""
    with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123
        told = dict(line.split(":", 1) for line in file)
    return int(told["RssAnon"].split()[0]) / 1024


class Large:
    """A base whose parts are large enough for the operating system to notice."""

    device = torch.device("cpu")

    def __init__(self):
        self.vae = torch.nn.Linear(4000, 4000)

    def parts(self):
        return {"unet": torch.nn.Linear(1, 1), "vae": self.vae}


def _aside(folder):
    parts = Parts(Large())
    there = resident()
    parts.release()
    away = resident()
    with parts.back():
        back = resident()
    (folder / "resident").write_text(f"{there} {away} {back} {resident()}")


def test_the_operating_system_gets_the_memory(tmp_path):
    assert children.run(_aside, tmp_path) == 0
    there, away, back, again = map(float, (tmp_path / "resident").read_text().split())
    assert there - away == pytest.approx(61, abs=3)
    assert back - away == pytest.approx(61, abs=3)
    assert again == pytest.approx(away, abs=3)


def test_parts_come_back_to_where_the_base_is_by_then(mine):
    parts = Parts(mine)
    parts.release()
    mine.to(torch.device("meta"))  # any other place
    parts.restore()
    assert all(p.is_meta for part in (mine.vae, mine.text_encoder) for p in part.parameters())
