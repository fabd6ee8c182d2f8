"""Trained forms: what each setting reaches, files to go on from, other bases, threads, and what is refused."""

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open

from hackamore.bases.catalog import load_base
from hackamore.controls.blocks import new_blocks
from hackamore.controls.branch import new_control
from hackamore.controls.catalog import load_control
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.transfer import transfer
from hackamore.controls.lora import ControlLora, new_control_lora
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.generate import generate
from hackamore.training.forms.given import form_of
from hackamore.training.settings import ControlSettings
from tests.conftest import write_small_base
from tests.form_models import HINT, KINDS, Asked, new_form, train
from tests.format_models import cldm, difference, net_for, save
from tests.transformer_models import SD3, load, write_sd3


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return load(write_sd3(tmp_path_factory.mktemp("sd3"), SD3))


@pytest.fixture(scope="module")
def meadow_in_bf16():
    return load_base("meadow", device="cpu", dtype="bf16")


def tells_hints_apart(form, asked):
    """Whether two hints make two predictions."""
    with torch.no_grad():
        other = form.predict(asked.x, asked.t, asked.text, 1 - asked.hint, asked.kind)
        return not torch.equal(asked.of(form), other)


@pytest.mark.parametrize(("name", "form"), [("meadow", "controlnet"), ("meadow", "xs"), ("sd3", "controlnet")])
def test_a_loud_start_hears_the_hint_after_one_step_and_a_silent_one_not_yet(request, name, form):
    base = request.getfixturevalue(name)
    asked = Asked(base, form)
    loud, silent = (new_form(base, form, hint_start=start) for start in (1.0, 0.0))
    with torch.no_grad():
        assert torch.equal(asked.of(loud), asked.plain(loud))
    for one in (loud, silent):
        train(one, asked, steps=1)
    assert tells_hints_apart(loud, asked)
    assert not tells_hints_apart(silent, asked)


@pytest.mark.parametrize("form", ["controlnet", "union", "xs"])
def test_hint_start_is_how_loud_the_hint_is(meadow, form):
    asked = Asked(meadow, form)
    made = [new_form(meadow, form, seed=3, hint_start=0.5) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(made[0].parameters(), made[1].parameters(), strict=True))
    made[0].calibrate(asked.hint, asked.x)
    network = getattr(made[0].network, "branch", made[0].network)
    with torch.no_grad():
        said = network.prepare(asked.hint).std()
        heard = getattr(network, "trunk", network).conv_in(asked.x).std()
    assert float(said / heard) == pytest.approx(0.5, rel=1e-3)
    assert not all(torch.equal(a, b) for a, b in zip(made[0].parameters(), made[1].parameters(), strict=True))


@pytest.mark.parametrize("form", ["controlnet", "union"])
def test_only_mid_leaves_the_skips_silent_for_good(meadow, tmp_path, form):
    asked, made = Asked(meadow, form), new_form(meadow, form, only_mid=True)
    losses = train(made, asked, steps=2)
    branch = getattr(made.network, "branch", made.network)
    assert not any(p.requires_grad or p.any() for p in branch.zero_skips.parameters())
    assert losses[1] < losses[0]
    assert any(p.any() for p in branch.zero_mid.parameters())
    made.write(tmp_path)
    control = load_control(tmp_path, meadow)
    assert not any(p.any() for p in getattr(control, "branch", control).zero_skips.parameters())


def test_only_mid_silences_the_skips_of_a_file(meadow):
    made = new_form(meadow, init="meadow/canny", only_mid=True)
    assert not any(p.any() for p in made.network.zero_skips.parameters())
    assert made.network.zero_mid.weight.any()


@pytest.mark.parametrize("form", ["xs", "control-lora"])
def test_unlocked_trains_a_decoder_of_its_own(sd1, tmp_path, form):
    locked = {key: value.clone() for key, value in sd1.unet.state_dict().items()}
    asked, made = Asked(sd1, form), new_form(sd1, form, unlocked=True, unlocked_lr=1e-4)
    with torch.no_grad():
        before = asked.plain(made)
        assert torch.equal(before, asked.of(made))
        torch.testing.assert_close(before, sd1.predict(asked.x, asked.t, asked.text))
    assert [group["scale"] for group in made.groups(1e-3)] == [1.0, 3.0, pytest.approx(0.1)]
    train(made, asked, steps=1)
    assert all(torch.equal(value, locked[key]) for key, value in sd1.unet.state_dict().items())
    with torch.no_grad():
        after = asked.plain(made)
    assert not torch.equal(after, before)
    assert "unet/" in made.notes[0]
    *_, unet = made.write(tmp_path)
    theirs = UNet2DConditionModel.from_pretrained(unet.parent, torch_dtype=torch.float32)
    with torch.no_grad():
        again = theirs(asked.x, asked.t, encoder_hidden_states=asked.text.tokens).sample
    assert float((again - after).abs().max()) < 0.05 * float((before - after).abs().max())
    assert load_control(tmp_path, sd1).condition == "canny"


@pytest.mark.parametrize("form", ["controlnet", "t2i-adapter", "xs", "control-lora"])
def test_beside_a_base_in_bf16_it_is_trained_in_fp32(meadow_in_bf16, form):
    asked, made = Asked(meadow_in_bf16, form), new_form(meadow_in_bf16, form, hint_start=0.5)
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    with torch.no_grad():
        assert torch.equal(asked.of(made), asked.plain(made))
    train(made, asked, steps=2)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters() if p.requires_grad)
    told = {"size": (64, 64), "steps": 1, "seed": 0}
    on, off = (generate(made.base, "a lake", controls=c, **told).latents for c in ([made.unit(HINT[:1])], []))
    assert on.isfinite().all()
    assert not torch.equal(on, off)


def test_a_control_lora_has_the_bases_own_tensors_and_cannot_change_them(meadow):
    made = new_form(meadow, "control-lora", rank=3)
    theirs = {p.data_ptr() for p in meadow.unet.parameters()}
    assert {p.data_ptr() for p in made.network.trunk.parameters()} < theirs
    made.requires_grad_(True)
    assert not any(p.requires_grad for p in meadow.unet.parameters())
    assert {layer.down.weight.shape[0] for layer in made.network.factors} == {3}
    whole = new_form(meadow)
    assert sum(p.numel() for p in made.parameters()) < 0.3 * sum(p.numel() for p in whole.parameters())
    assert repr(meadow.unet) == repr(load_base("meadow", device="cpu").unet)


def test_several_threads_each_hear_their_own_hint(meadow):
    asked, made = Asked(meadow, "xs"), new_form(meadow, "xs", hint_start=1.0)
    train(made, asked, steps=1, lr=1e-2)
    hints = [torch.full((2, 3, 64, 64), share / 4) for share in range(5)] * 2

    @torch.no_grad()
    def ask(hint):
        return made.predict(asked.x, asked.t, asked.text, hint)

    alone = [ask(hint) for hint in hints]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, hints))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, together, strict=True))
    assert not torch.allclose(alone[0], alone[4], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "form"), [("meadow", "controlnet"), ("meadow", "control-lora"), ("sd3", "controlnet")]
)
def test_recomputed_gradients_are_the_same(request, name, form):
    base = request.getfixturevalue(name)
    asked, grads = Asked(base, form), []
    for recomputes in (False, True):
        made = new_form(base, form, hint_start=1.0)
        train(made, asked, steps=1)
        if recomputes:
            made.recompute()
        asked.loss(made).backward()
        grads.append([p.grad for p in made.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))
    assert not base.network.is_gradient_checkpointing


def test_rows_of_a_union_are_of_the_kinds_that_are_told(sd1):
    asked, made = Asked(sd1, "union"), new_form(sd1, "union", hint_start=1.0)
    train(made, asked, steps=3, lr=1e-2)
    with torch.no_grad():
        both = asked.of(made)
        asked.kind = torch.tensor([0, 0])
        first = asked.of(made)
        asked.kind = torch.tensor([1, 1])
        second = asked.of(made)
    assert torch.allclose(both[0], first[0], atol=1e-5)
    assert torch.allclose(both[1], second[1], atol=1e-5)
    assert float((first - second).abs().max()) > 1e-4
    asked.kind = None
    with pytest.raises(HackamoreError, match="which kind"):
        asked.of(made)


def test_a_file_is_gone_on_from(meadow):
    made, asked = new_form(meadow, init="meadow/canny"), Asked(meadow, "controlnet")
    published = load_control("meadow/canny", meadow)
    with torch.no_grad():
        assert torch.equal(
            asked.of(made), new_form(meadow, init="meadow/canny").predict(asked.x, asked.t, asked.text, asked.hint)
        )
        said = published.residuals(asked.x, asked.t, asked.text, published.prepare(asked.hint))
        assert torch.equal(asked.of(made), meadow.predict(asked.x, asked.t, asked.text, said))
    assert not made.fresh
    assert all(p.requires_grad for p in made.parameters())


@pytest.mark.parametrize("form", ["xs", "control-lora", "union"])
def test_each_form_goes_on_from_its_own_file(meadow, tmp_path, form):
    asked, made = Asked(meadow, form), new_form(meadow, form)
    train(made, asked, steps=3)
    made.write(tmp_path)
    again = new_form(meadow, form, init=str(tmp_path))
    assert type(again.network) is type(made.network)
    names = [{name for name, p in one.named_parameters() if p.requires_grad} for one in (made, again)]
    assert names[0] == names[1]
    with torch.no_grad():
        assert torch.allclose(asked.of(again), asked.of(made), atol=1e-3)
    before = train(again, asked, steps=2)
    assert before[1] < before[0]


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    """Another base of the family of sd1."""
    folder = write_small_base(tmp_path_factory.mktemp("other"), "sd1", "epsilon")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for p in unet.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.01)
    unet.save_pretrained(folder / "unet")
    return folder


def test_transfer_in_memory_is_transfer_on_disk(sd1, sd1_folder, other_folder, tmp_path):
    source = tmp_path / "control"
    net_for(sd1.unet).save_pretrained(source)
    moved = transfer(source, tmp_path / "moved", sd1_folder, other_folder).parent
    other = load_base(other_folder, device="cpu")
    made = new_form(other, init=str(source), transfer_from=str(sd1_folder))
    expected = load_control(moved, other)
    assert all(torch.equal(a, b) for a, b in zip(made.network.parameters(), expected.parameters(), strict=True))
    stayed = new_form(other, init=str(source))
    assert not torch.equal(stayed.network.trunk.conv_in.weight, made.network.trunk.conv_in.weight)


def test_a_difference_is_the_other_bases_by_itself(sd1, sd1_folder, other_folder, tmp_path):
    source = save(difference(cldm(net_for(sd1.unet)), sd1.unet), tmp_path / "difference.safetensors")
    other = load_base(other_folder, device="cpu")
    made = new_form(other, init=str(source), transfer_from=str(sd1_folder))
    expected = load_control(source, other)
    assert all(torch.equal(a, b) for a, b in zip(made.network.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("form", ["union", "control-lora"])
def test_other_forms_move_what_they_copied(sd1, sd1_folder, other_folder, tmp_path, form):
    new_form(sd1, form).write(tmp_path)
    other = load_base(other_folder, device="cpu")
    made = new_form(other, form, init=str(tmp_path), transfer_from=str(sd1_folder))
    trunk = getattr(made.network, "branch", made.network).trunk
    assert torch.allclose(trunk.conv_in.weight, other.unet.conv_in.weight, atol=1e-3)


def test_settings_reach_the_networks(sd1, sd3, tmp_path):
    assert new_form(sd1, "xs", size_ratio=1.0).network.shape.widths == (16, 32, 32, 32)
    assert len(new_form(sd3, layers=3).network.net.transformer_blocks) == 3
    assert [group["scale"] for group in new_form(sd1, zero_scale=7.0).groups(1e-4)] == [1.0, 7.0]
    made = new_form(sd1, "control-lora", rank=2)
    assert isinstance(made.network, ControlLora)
    assert max(factor.up.weight.shape[1] for factor in made.network.factors) == 2
    assert not new_form(sd1).needs_autoencoder
    assert new_form(sd3).needs_autoencoder


@pytest.mark.parametrize("form", ["controlnet", "t2i-adapter", "xs"])
def test_eight_bits_reach_every_file(sd1, tmp_path, form):
    made = new_form(sd1, form)
    for path in made.write(tmp_path, eight_bits=True):
        types = open_control(path).dtypes
        assert "float8_e4m3fn" in types.values()
        assert "float16" in types.values()
    assert load_control(tmp_path, sd1).condition == made.network.condition


def test_a_broken_write_leaves_the_earlier_file(sd1, tmp_path, monkeypatch):
    import safetensors.torch

    made = new_form(sd1)
    path, *_ = made.write(tmp_path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(WorkFailed, match="No space"):
        made.write(tmp_path)
    assert path.read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_the_single_file_is_in_the_original_layout(meadow, tmp_path):
    folder, single = new_form(meadow).write(tmp_path)
    assert (folder.name, single.name) == ("diffusion_pytorch_model.safetensors", "canny.safetensors")
    with safe_open(single, "pt") as file:
        assert "control_model.input_hint_block.0.weight" in file.keys()  # noqa: SIM118


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("meadow", {"kinds": KINDS}, "one kind, or form union"),
        ("meadow", {"kinds": ("canny", "canny"), "form": "union"}, "each once"),
        ("sd3", {"form": "xs"}, "controlnet, for a base of family sd3"),
        ("meadow", {"form": "xs", "only_mid": True}, "only_mid"),
        ("sd3", {"only_mid": True}, "only_mid"),
        ("sd3", {"unlocked": True}, "unlocked"),
        ("meadow", {"layers": 2}, "layers"),
        ("meadow", {"transfer_from": "meadow"}, "no init"),
        ("meadow", {"init": "meadow/canny", "form": "union"}, "form controlnet"),
        ("meadow", {"init": "meadow/canny", "form": "t2i-adapter"}, "not the form"),
        ("meadow", {"init": "nowhere.safetensors"}, "no such file"),
        ("meadow_in_bf16", {"unlocked": True}, "in fp32"),
    ],
)
def test_what_contradicts_itself_is_refused(request, name, told, words):
    with pytest.raises(HackamoreError, match=words):
        new_form(request.getfixturevalue(name), **told)


@pytest.mark.parametrize(("form", "wrong"), [("t2i-adapter", "t2i-adapter-light"), ("control-lora", "controlnet")])
def test_form_and_file_must_agree(meadow, tmp_path, form, wrong):
    new_form(meadow, form).write(tmp_path)
    with pytest.raises(HackamoreError, match=f"form {form}"):
        new_form(meadow, wrong, init=str(tmp_path))


def test_what_has_no_copy_is_not_moved(meadow, tmp_path):
    new_form(meadow, "t2i-adapter").write(tmp_path)
    with pytest.raises(HackamoreError, match="no copy of its base"):
        new_form(meadow, "t2i-adapter", init=str(tmp_path), transfer_from="meadow")


def test_a_union_file_must_know_the_kinds(meadow, tmp_path):
    new_form(meadow, "union").write(tmp_path)
    with pytest.raises(HackamoreError, match="knows no hints of type 'pose'"):
        new_form(meadow, "union", kinds=("canny", "pose"), init=str(tmp_path))


def test_a_control_net_xs_is_not_recomputed(meadow):
    with pytest.raises(HackamoreError, match="gradient checkpointing"):
        new_form(meadow, "xs").recompute()


def test_a_disk_that_takes_no_more_is_a_sentence_and_leaves_what_was_there(sd1, tmp_path):
    form = new_form(sd1, "controlnet")
    written = form.write(tmp_path)
    before = [path.read_bytes() for path in written]
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, usual[1]))
    try:
        with pytest.raises(WorkFailed, match="could not be written") as failed:
            form.write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert "File too large" in str(failed.value)
    assert [path.read_bytes() for path in written] == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["controlnet", "xs", "control-lora", "sd3"])
def test_a_given_control_in_bf16_becomes_fp32(meadow_in_bf16, tmp_path, name):
    form = "controlnet" if name == "sd3" else name
    base = load(write_sd3(tmp_path, SD3), torch.bfloat16) if name == "sd3" else meadow_in_bf16
    new = {"controlnet": new_control, "xs": new_xs, "control-lora": new_control_lora, "sd3": new_blocks}[name]
    made = form_of(base, new(base), KINDS[:1], ControlSettings(form=form))
    asked = Asked(base, form)
    assert made.fresh
    assert {p.dtype for p in made.network.parameters()} == {torch.float32}
    with torch.no_grad():
        assert torch.equal(asked.of(made), asked.plain(made))
    train(made, asked, steps=2)
    assert all(p.isfinite().all() for p in made.parameters())
