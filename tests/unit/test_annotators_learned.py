"""Depth, normals and classes by networks in transformers' layout: small real ones with random weights."""

import json

import numpy as np
import pytest
import torch
import transformers
from sklearn.datasets import load_sample_image
from torch.nn import functional as F
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.zoedepth.image_processing_pil_zoedepth import ZoeDepthImageProcessorPil

from hackamore.annotators import hub, inspector
from hackamore.annotators.catalog import annotate, make_annotator
from hackamore.annotators.depth import Depth, predict, spread
from hackamore.annotators.normal import Normal
from hackamore.annotators.normal_depth import normals_of, paint_normals
from hackamore.annotators.semantic import SegAde20k
from hackamore.core.errors import HackamoreError
from hackamore.core.palette import ADE20K, WORLDS
from hackamore.training.tokenizer import learn_tokenizer

PHOTOGRAPH = load_sample_image("china.jpg")[40:200, 60:301]
STAGES = ["stage1", "stage2", "stage3", "stage4"]
HEADS = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}


def dpt():
    config = transformers.DPTConfig(
        **VIT, **HEADS, image_size=64, patch_size=16, backbone_out_indices=[0, 1, 2, 3], initializer_range=0.5
    )
    return transformers.DPTForDepthEstimation(config), DPTImageProcessorPil(size={"height": 64, "width": 64})


def depth_anything(kind):
    backbone = transformers.Dinov2Config(**VIT, image_size=56, patch_size=14, out_indices=[1, 2, 3, 4])
    backbone.reshape_hidden_states = False
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, **HEADS, head_hidden_size=4,
        depth_estimation_type=kind, max_depth=20, initializer_range=0.5,
    )  # fmt: skip
    size = {"height": 56, "width": 56}
    prepare = DPTImageProcessorPil(size=size, keep_aspect_ratio=True, ensure_multiple_of=14)
    return transformers.DepthAnythingForDepthEstimation(config), prepare


def zoedepth():
    backbone = transformers.BeitConfig(**VIT, image_size=64, out_features=STAGES, use_relative_position_bias=True)
    backbone.reshape_hidden_states = False
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone, **HEADS, bottleneck_features=8, num_relative_features=8, bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
    )  # fmt: skip
    return transformers.ZoeDepthForDepthEstimation(config), ZoeDepthImageProcessorPil(size={"height": 64, "width": 64})


def segformer(labels=150):
    config = transformers.SegformerConfig(
        num_labels=labels, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16, initializer_range=0.5,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config), SegformerImageProcessorPil(
        size={"height": 64, "width": 64}
    )


def upernet():
    backbone = transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=STAGES)
    config = transformers.UperNetConfig(
        num_labels=150, backbone_config=backbone, hidden_size=16, use_auxiliary_head=False
    )
    return transformers.UperNetForSemanticSegmentation(config), segformer()[1]


def mask2former():
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, out_features=STAGES
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, num_labels=150, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16,
        num_queries=10,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(
        size={"height": 64, "width": 64}, num_labels=150
    )


def write_oneformer(folder):
    """OneFormer in its published form, but for the names of its classes, which lie in another repository."""
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, out_features=STAGES
    )
    config = transformers.OneFormerConfig(
        backbone_config=backbone, num_labels=150, hidden_dim=32, mask_dim=32, conv_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, num_attention_heads=2, encoder_layers=1, decoder_layers=2, query_dec_layers=1,
        num_queries=10, text_encoder_width=16, text_encoder_num_layers=1, text_encoder_vocab_size=1000,
    )  # fmt: skip
    transformers.OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    learn_tokenizer(["the task is semantic"], folder)
    settings = {
        "class_info_file": "ade20k_panoptic.json", "repo_path": "shi-labs/oneformer_demo", "num_labels": 150,
        "image_processor_type": "OneFormerImageProcessor", "processor_class": "OneFormerProcessor",
        "size": {"height": 64, "width": 64}, "max_seq_length": 77, "task_seq_length": 77,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


MADE = {
    "dpt": dpt,
    "relative": lambda: depth_anything("relative"),
    "metric": lambda: depth_anything("metric"),
    "zoedepth": zoedepth,
    "segformer": segformer,
    "cityscapes": lambda: segformer(19),
    "upernet": upernet,
    "mask2former": mask2former,
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for name, make in MADE.items():
        torch.manual_seed(0)
        for part in make():
            part.save_pretrained(folder / name)
    return folder


def by_hand(network, picture, side):
    """What a network tells of a picture prepared without any library: RGB, cubic to a square, mean and deviation."""
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    x = F.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.inference_mode():
        return network((x - 0.5) / 0.5)


def test_a_depth_network_sees_rgb_and_its_map_lies_over_the_picture(networks):
    network = transformers.DPTForDepthEstimation.from_pretrained(networks / "dpt").eval()
    told = by_hand(network, PHOTOGRAPH, 64).predicted_depth[None]
    expected = F.interpolate(told, PHOTOGRAPH.shape[:2], mode="bicubic")[0, 0].numpy()
    found = predict(hub.load(str(networks / "dpt"), "depth"), PHOTOGRAPH)
    other = predict(hub.load(str(networks / "dpt"), "depth"), np.ascontiguousarray(PHOTOGRAPH[..., ::-1]))
    range_ = np.ptp(expected)
    assert np.abs(found - expected).max() < 0.1 * range_  # Pillow's cubic filter is not torch's to the last digit
    assert np.abs(found - expected).mean() < 0.2 * np.abs(other - expected).mean()


@pytest.mark.parametrize("name", ["dpt", "relative", "metric"])
def test_depth_has_the_pictures_size_and_the_whole_range(networks, name):
    first, second = (annotate("depth", PHOTOGRAPH, weights=str(networks / name)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.shape == PHOTOGRAPH.shape
    assert first.dtype == np.uint8
    assert (first.min(), first.max()) == (0, 255)
    assert (first[..., :1] == first).all()
    sized = annotate("depth", PHOTOGRAPH, size=(96, 64), weights=str(networks / name))
    assert sized.shape == (64, 96, 3)


def test_distances_become_nearness_as_the_configuration_or_the_user_says(networks):
    metric, relative = (hub.load.__wrapped__(str(networks / name), "depth") for name in ("metric", "relative"))
    distance, near = predict(metric, PHOTOGRAPH, False), predict(metric, PHOTOGRAPH)
    assert np.corrcoef(distance.ravel(), near.ravel())[0, 1] < -0.5
    np.testing.assert_array_equal(predict(metric, PHOTOGRAPH, True), near)
    np.testing.assert_array_equal(predict(relative, PHOTOGRAPH), predict(relative, PHOTOGRAPH, False))
    for told, meant in (("auto", "auto"), ("true", True), ("false", False)):
        assert make_annotator("depth", weights="folder", metric=told).metric == meant
    with pytest.raises(HackamoreError, match="metric"):
        make_annotator("depth", metric="perhaps")


def test_zoedepth_sees_beyond_the_border_and_gives_the_picture_back(networks):
    loaded = hub.load(str(networks / "zoedepth"), "depth")
    near = predict(loaded, PHOTOGRAPH)
    assert near.shape == PHOTOGRAPH.shape[:2]
    assert (near > 0).all()  # distances, inverted
    wider = predict(loaded, np.pad(PHOTOGRAPH, ((9, 9), (9, 9), (0, 0)), mode="reflect"))
    assert wider.shape == (PHOTOGRAPH.shape[0] + 18, PHOTOGRAPH.shape[1] + 18)


def test_nearness_is_spread_between_percentiles():
    near = np.linspace(3, 7, 10_000, dtype=np.float32).reshape(100, 100)
    near[0, 0], near[-1, -1] = -1000, 1000
    found = spread(near, 1)
    assert (found.min(), found.max()) == (0, 1)
    assert found[50, 0] == pytest.approx(0.5, abs=0.01)
    assert not spread(np.full((9, 9), 4, np.float32)).any()


def test_normals_come_from_a_networks_depth(networks):
    weights = str(networks / "dpt")
    near = Depth(weights=weights).near(PHOTOGRAPH)
    everywhere = np.ones(near.shape, np.bool_)
    expected = paint_normals(normals_of(near, 2.0, 0.006, everywhere), everywhere)
    assert np.array_equal(Normal(weights=weights, strength=2.0)(PHOTOGRAPH), expected)
    known = annotate("normal", PHOTOGRAPH, weights=weights, background=0.3)
    assert (known[near <= 0.3] == 0).all()
    assert (known[near > 0.3][:, 2] >= 127).all()  # surfaces face the viewer


def test_classes_are_decided_at_the_pictures_size_from_rgb(networks):
    network = transformers.SegformerForSemanticSegmentation.from_pretrained(networks / "segformer").eval()
    mean, deviation = (np.array(value) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    plain = np.empty((80, 120, 3), np.uint8)
    plain[:, :60], plain[:, 60:] = (200, 40, 90), (20, 160, 220)
    x = torch.from_numpy((plain / 255 - mean) / deviation).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, (64, 64), mode="bilinear", antialias=True)
    with torch.inference_mode():
        logits = F.interpolate(network(x).logits, (80, 120), mode="bilinear")
    found = SegAde20k(weights=str(networks / "segformer")).read(plain)
    assert (found == logits[0].argmax(0).numpy()).mean() > 0.97
    swapped = SegAde20k(weights=str(networks / "segformer")).read(np.ascontiguousarray(plain[..., ::-1]))
    assert (found == swapped).mean() < 0.9


@pytest.mark.parametrize("name", ["segformer", "upernet", "mask2former"])
@pytest.mark.parametrize("size", [None, (70, 50)])
def test_classes_are_painted_in_ade20ks_colours(networks, name, size):
    hint = annotate("seg_ade20k", PHOTOGRAPH, size=size, weights=str(networks / name))
    assert hint.shape == (PHOTOGRAPH.shape if size is None else (50, 70, 3))
    assert np.array_equal(ADE20K.paint(ADE20K.read(hint)), hint)


def test_oneformer_is_told_its_task_and_finds_its_classes_beside_it(tmp_path):
    torch.manual_seed(0)
    write_oneformer(tmp_path)
    assert told("seg_ade20k", tmp_path) == (
        f"{tmp_path} lacks ade20k_panoptic.json, OneFormer's classes\n"
        "try: hf download shi-labs/oneformer_demo ade20k_panoptic.json --repo-type dataset --local-dir "
        f"{tmp_path}"
    )
    names = {str(number): {"name": name, "isthing": 0} for number, name in enumerate(ADE20K.names)}
    (tmp_path / "ade20k_panoptic.json").write_text(json.dumps(names))
    hint = annotate("seg_ade20k", PHOTOGRAPH, weights=str(tmp_path))
    assert np.array_equal(ADE20K.paint(ADE20K.read(hint)), hint)


def told(kind, weights, **parameters):
    with pytest.raises(HackamoreError) as error:
        make_annotator(kind, weights=str(weights), **parameters)(PHOTOGRAPH)
    return str(error.value)


def test_a_hub_name_is_not_fetched_without_being_asked():
    assert told("depth", "Intel/dpt-large") == (
        "the network Intel/dpt-large is not on this machine\n"
        "expected: its files in a folder, named by weights=FOLDER\n"
        "try: hf download Intel/dpt-large --local-dir FOLDER, or download=true"
    )
    assert told("depth", "Intel/dpt-large", download=True).startswith("Intel/dpt-large could not be downloaded")


def test_what_is_no_network_is_told(networks, tmp_path):
    assert told("depth", tmp_path / "no") == (
        f"no such folder: {tmp_path}/no\nexpected: a folder in transformers' layout, or a hub name such as OWNER/NAME"
    )
    assert told("depth", tmp_path) == (
        f"{tmp_path} holds no network in transformers' layout\n"
        "received: no config.json, no preprocessor_config.json\n"
        "expected: config.json, preprocessor_config.json and model.safetensors"
    )
    segmentation = networks / "segformer"
    assert told("depth", segmentation) == f"{segmentation} is no network for depth\nreceived: a segformer network"
    other = networks / "cityscapes"
    assert told("seg_ade20k", other) == (f"{other} knows other classes\nreceived: 19 classes\nexpected: ADE20K's 150")


def test_half_a_network_and_a_damaged_one_are_told(networks, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in (networks / "dpt").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["head.head.0.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert told("depth", tmp_path) == (
        f"{tmp_path} lacks weights of its network\nreceived: 1 missing, such as head.head.0.weight"
    )
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    assert told("depth", tmp_path).startswith(f"{tmp_path} does not load")
    weights["head.head.0.weight"] = torch.zeros(3, 3)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert "weights of other shapes than its configuration tells" in told("depth", tmp_path)


def test_a_network_that_needs_torchvision_is_told(networks, tmp_path):
    for file in (networks / "dpt").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = tmp_path / "preprocessor_config.json"
    settings.write_text(
        json.dumps(json.loads(settings.read_text()) | {"image_processor_type": "DepthProImageProcessor"})
    )
    assert told("depth", tmp_path) == (
        f"{tmp_path} prepares its pictures with torchvision, which does not work here\n"
        "expected: a network for depth that can do without\n"
        "try: install the torchvision that belongs to the installed torch"
    )


@pytest.fixture
def inspected(monkeypatch):
    """Meadow's inspector in its real form, with random weights."""
    torch.manual_seed(3)
    made = inspector.Inspected(inspector.Inspector((8, 8, 16, 16), 16))
    monkeypatch.setattr(inspector, "load_inspector", lambda: made)
    return made


def test_meadows_inspector_gives_depth_normals_and_classes(inspected):
    depth = annotate("depth", PHOTOGRAPH)
    assert np.abs(depth[..., 0] / 255 - inspected.depth(PHOTOGRAPH)).max() <= 0.5 / 255 + 1e-6
    normals = inspected.normals(PHOTOGRAPH)
    nowhere = ~normals.any(axis=2)
    expected = np.where(nowhere[..., None], 0, normals * 127.5 + 127.5).astype(np.uint8)
    assert np.array_equal(make_annotator("normal")(PHOTOGRAPH), expected)
    hint = annotate("seg_meadow", PHOTOGRAPH)
    assert np.array_equal(WORLDS.read(hint), inspected.read(PHOTOGRAPH))


def test_meadows_inspector_finds_people(inspected):
    found = inspected.people(PHOTOGRAPH)
    people = make_annotator("pose", engine="meadow", most=2).find(PHOTOGRAPH)
    assert people.size == found.size == (241, 160)
    assert len(people.people) == min(2, len(found.people))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("depth", {"percentile": 5}),
        ("normal", {"strength": 2, "smooth": 0.1}),
        ("pose", {"engine": "meadow", "confidence": 0.9}),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(kind, words):
    with pytest.raises(HackamoreError, match="Meadow's inspector has no such parameter"):
        make_annotator(kind, **words)
