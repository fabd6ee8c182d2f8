"""Files of controls inside the base: there and back, told by their keys, and refused in a sentence."""

from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetXSAdapter
from safetensors.torch import load_file, save_file

from hackamore.controls.catalog import load_control
from hackamore.controls.formats.file import open_control
from hackamore.controls.formats.ip_adapter import read_ip_adapter
from hackamore.controls.formats.lllite import read_lllite, write_lllite
from hackamore.controls.formats.xs import read_xs, write_xs
from hackamore.controls.lllite import new_lllite
from hackamore.controls.reference import reference_control
from hackamore.controls.xs import new_xs
from hackamore.core.errors import HackamoreError
from tests.attached_models import HINT, ip_adapter_weights, made, stirred, write_image_encoder, write_ip_adapter
from tests.format_models import save

FILE = "model.safetensors"


@pytest.mark.parametrize("family", ["sd1", "meadow"])
def test_an_xs_goes_there_and_back(request, tmp_path, family):
    base = request.getfixturevalue(family)
    control = stirred(new_xs(base, "canny", size_ratio=0.5, own_time=True))
    write_xs(control, base, tmp_path / "xs")
    back = read_xs(open_control(tmp_path / "xs"), base)
    assert (back.shape, back.condition) == (control.shape, "canny")
    assert all(torch.equal(a, b) for a, b in zip(control.parameters(), back.parameters(), strict=True))
    if family == "sd1":
        theirs = ControlNetXSAdapter.from_pretrained(tmp_path / "xs")
        assert all(torch.equal(theirs.state_dict()[key], value) for key, value in control.state_dict().items())


def test_an_xs_without_configuration_is_told_by_its_keys(sd1, tmp_path):
    control = stirred(new_xs(sd1, size_ratio=0.5))
    file = write_xs(control, sd1, tmp_path).rename(tmp_path / "single.safetensors")
    back = read_xs(open_control(file), sd1)
    assert back.shape == control.shape
    assert torch.equal(made(sd1, back.unit(HINT)), made(sd1, control.unit(HINT)))


def test_a_hint_in_another_colour_order(sd1):
    control = stirred(new_xs(sd1, size_ratio=0.5))
    rgb = control.prepare(HINT)
    control.shape = replace(control.shape, order="bgr")
    assert torch.equal(control.prepare(HINT.flip(1)), rgb)


def test_wrong_files_and_values_are_refused_in_a_sentence(sd1, sd2, tmp_path):
    def refused(words, read, path, base, **told):
        with pytest.raises(HackamoreError, match=words):
            read(open_control(path), base, **told)

    write_xs(new_xs(sd1, size_ratio=0.5), sd1, tmp_path / "xs")
    refused("does not fit the base .*\n.*family sd1", read_xs, tmp_path / "xs", sd2)
    lllite = write_lllite(new_lllite(sd1), tmp_path / "lllite.safetensors", "sd1")
    refused("does not fit the base .*\n.*family sd1", read_ip_adapter, write_ip_adapter(sd1, tmp_path), sd2)
    weights = load_file(lllite)
    save_file({key.replace("input_blocks_4", "input_blocks_99"): w for key, w in weights.items()}, lllite)
    refused("does not fit the base", read_lllite, lllite, sd1)
    save_file({key: w for key, w in weights.items() if not key.endswith("mid.0.bias")}, lllite)
    refused("lacks .* tensors", read_lllite, lllite, sd1)
    save_file(dict(list(weights.items())) | {"lllite_dit_blocks.down.0.weight": torch.zeros(1)}, lllite)
    refused("not an LLLite of a U-Net", read_lllite, lllite, sd1)
    with pytest.raises(HackamoreError, match="widths of the ControlNet-XS"):
        new_xs(sd1, size_ratio=0.01)
    with pytest.raises(HackamoreError, match="style fidelity"):
        reference_control(sd1).unit(HINT, fidelity=2)
    small = new_lllite(sd1)
    with pytest.raises(HackamoreError, match="hint of this size"):
        small.prepare(torch.zeros(1, 3, 64, 72))


@pytest.mark.parametrize(
    "header", [{"modelspec.architecture": "stable-diffusion-v2/control-net-lllite"}, {"hackamore.family": "sd2"}]
)
def test_an_lllite_whose_header_tells_another_family_is_refused(sd1, tmp_path, header):
    path = write_lllite(new_lllite(sd1), tmp_path / "lllite.safetensors", "sd1")
    assert open_control(path).metadata["hackamore.family"] == "sd1"
    weights = load_file(path)
    save_file(weights, path, metadata={"modelspec.architecture": "unheard-of/control-net-lllite"})
    load_control(path, sd1)
    save_file(weights, path, metadata=header)
    with pytest.raises(HackamoreError, match="of family sd2, as its header says"):
        load_control(path, sd1)


def test_image_encoders_are_found_or_asked_for(sd1, tmp_path):
    weights, path = ip_adapter_weights(sd1, "plus"), tmp_path / "models" / "ip.safetensors"
    path.parent.mkdir()
    save_file(weights, path)
    control = read_ip_adapter(open_control(path), sd1)
    with pytest.raises(HackamoreError, match="has no image encoder"):
        control.prepare(HINT)
    with pytest.raises(HackamoreError, match="cannot be loaded"):
        control.prepare(HINT, encoder=tmp_path)
    write_image_encoder(tmp_path / "image_encoder")
    assert control.prepare(HINT)["picture keys"][0].shape[:2] == (1, 16)
    assert "image_encoder/model.safetensors" in control.sha256
    assert control.encoder("elsewhere/image_encoder") is control.encoder()
    told = read_ip_adapter(open_control(path), sd1, encoder=tmp_path / "image_encoder")
    assert torch.equal(told.prepare(HINT)["nothing values"][1], control.prepare(HINT)["nothing values"][1])
    save_file(weights | {"image_proj.proj_in.weight": torch.zeros(64, 48)}, path)
    with pytest.raises(HackamoreError, match="does not fit the IP-Adapter"):
        read_ip_adapter(open_control(path), sd1).prepare(HINT)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder, weights: (folder / "pytorch_model.bin").write_bytes(b"hello"), "a pickle that is cut"),
        (lambda folder, weights: save(dict(list(weights.items())[:-3]), folder / FILE), "lacks 3 tensors"),
        (
            lambda folder, weights: save({key: torch.zeros(3) for key in weights}, folder / FILE),
            "weights of other shapes than its config.json tells",
        ),
        (lambda folder, weights: None, "no weights in it"),
    ],
)
def test_a_damaged_image_encoder_is_told_in_words(sd1, tmp_path, damage, words):
    path = write_ip_adapter(sd1, tmp_path)
    folder = tmp_path / "image_encoder"
    weights = load_file(folder / FILE)
    (folder / FILE).unlink()
    damage(folder, weights)
    control = load_control(path, sd1)
    with pytest.raises(HackamoreError) as error:
        control.prepare(HINT)
    assert words in str(error.value)
    with pytest.raises(HackamoreError, match="no such folder"):
        control.prepare(HINT, encoder=tmp_path / "none")


def test_faces_and_damaged_projections_are_refused(sd1, tmp_path):
    path = tmp_path / "ip.safetensors"
    plain = ip_adapter_weights(sd1)
    face = {key: value for key, value in plain.items() if not key.startswith("image_proj.proj.")}
    save_file(face | {"image_proj.proj.0.weight": torch.zeros(8, 512)}, path)
    with pytest.raises(HackamoreError, match="FaceID, which is not supported"):
        read_ip_adapter(open_control(path), sd1)
    save_file({key: value for key, value in plain.items() if key != "image_proj.norm.bias"}, path)
    with pytest.raises(HackamoreError, match="projection that cannot be read"):
        read_ip_adapter(open_control(path), sd1)
    for number in (1, 3):
        save_file({key: value for key, value in plain.items() if key != f"ip_adapter.{number}.to_k_ip.weight"}, path)
        with pytest.raises(HackamoreError, match=rf"lacks 1 tensors: ip_adapter\.{number}\.to_k_ip"):
            read_ip_adapter(open_control(path), sd1)
    nothing = {key: value for key, value in plain.items() if not key.startswith("ip_adapter.")}
    save_file(nothing | {"ip_adapter.1.scale": torch.ones(1)}, path)
    with pytest.raises(HackamoreError, match=r"lacks 1 tensors: ip_adapter\.1\.to_k_ip"):
        read_ip_adapter(open_control(path), sd1)


def test_an_image_encoder_beside_the_base_is_found(sd1, sd1_folder, tmp_path):
    save_file(ip_adapter_weights(sd1), tmp_path / "ip.safetensors")
    control = read_ip_adapter(open_control(tmp_path / "ip.safetensors"), sd1)
    assert control.folders[-1] == sd1_folder / "image_encoder"


@pytest.mark.parametrize("kind", ["plain", "full", "plus"])
def test_the_name_that_the_training_script_gives_the_projection_is_read_too(sd1, tmp_path, kind):
    weights = ip_adapter_weights(sd1, kind)
    save_file(weights, tmp_path / "ip.safetensors")
    renamed = {key.replace("image_proj.", "image_proj_model."): value for key, value in weights.items()}
    save_file(renamed, tmp_path / "trained.safetensors")
    one, other = (load_control(tmp_path / f"{name}.safetensors", sd1) for name in ("ip", "trained"))
    mine = other.state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in one.state_dict().items())


def test_only_a_face_id_is_called_one(sd1, tmp_path):
    path, plain = tmp_path / "ip.safetensors", ip_adapter_weights(sd1)
    layers = {key: value for key, value in plain.items() if not key.startswith("image_proj.")}
    save_file(layers | {"image_proj.strange.weight": torch.zeros(8, 8)}, path)
    with pytest.raises(HackamoreError, match=r"of an unknown kind, which is not .*\n.*a projection of strange\.weight"):
        load_control(path, sd1)
    save_file(plain | {"ip_adapter.0.to_k_lora.down.weight": torch.zeros(8, 8)}, path)
    with pytest.raises(HackamoreError, match="FaceID, which is not supported"):
        load_control(path, sd1)
