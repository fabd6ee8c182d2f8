"""Networks in transformers' layout, from a folder or by their hub name; nothing is downloaded without being asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hackamore.core.errors import HackamoreError, WorkFailed

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

PREPARING = ("preprocessor_config.json", "processor_config.json")
"""What tells how pictures are prepared, by its older and its newer name."""


@dataclass(frozen=True)
class Loaded:
    """A network ready to run, what prepares pictures for it, and its ``model_type``."""

    network: Any
    prepare: Any
    family: str


@lru_cache(maxsize=1)
def load(weights: str, does: str, download: bool = False) -> Loaded:
    """The network in the folder ``weights``, or called so on the hub, that ``does`` ``"depth"`` or ``"segmentation"``.

    A hub name is looked for on this machine; only with ``download`` is it fetched. Pictures are prepared without
    torchvision. Raises :class:`HackamoreError` for a name that is not here, a folder that holds something else, and
    weights that do not fill the network.
    """
    import transformers
    from transformers import AutoConfig, AutoImageProcessor

    _check(weights)
    options = {"local_files_only": not download, "trust_remote_code": False}
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(weights, **options)
            family = str(config.model_type)
            maker = getattr(transformers, _auto_class(weights, config, does))
            if family == "oneformer":  # it is told its task in words, so it has a tokenizer too
                more = _class_file(weights)
                prepare = transformers.AutoProcessor.from_pretrained(weights, backend="pil", **more, **options)
            else:
                prepare = AutoImageProcessor.from_pretrained(weights, backend="pil", **options)
            network, told = maker.from_pretrained(weights, config=config, output_loading_info=True, **options)
        except HackamoreError:
            raise
        except Exception as error:  # of whichever library reads the damaged part
            raise _not_loaded(weights, does, download, error) from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise HackamoreError(
            f"{weights} lacks weights of its network", received=f"{len(missing)} missing, such as {missing[0]}"
        )
    return Loaded(network.eval().requires_grad_(False), prepare, family)


def _check(weights: str) -> None:
    folder = Path(weights)
    if folder.is_dir():
        wanted = {"config.json": ("config.json",), "preprocessor_config.json": PREPARING}
        absent = [name for name, forms in wanted.items() if not any((folder / form).exists() for form in forms)]
        if absent:
            raise HackamoreError(
                f"{weights} holds no network in transformers' layout",
                received="no " + ", no ".join(absent),
                expected="config.json, preprocessor_config.json and model.safetensors",
            )
    elif folder.exists() or not HUB_NAME.fullmatch(weights):
        raise HackamoreError(
            f"no such folder: {weights}", expected="a folder in transformers' layout, or a hub name such as OWNER/NAME"
        )


def _class_file(weights: str) -> dict[str, str]:
    """OneFormer keeps the names of its classes in another repository: in a folder they must lie beside the rest."""
    settings = Path(weights) / PREPARING[0]
    if not settings.exists():
        return {}
    name = json.loads(settings.read_text(encoding="utf-8")).get("class_info_file", "ade20k_panoptic.json")
    if not (Path(weights) / name).exists():
        raise HackamoreError(
            f"{weights} lacks {name}, OneFormer's classes",
            remedy=f"hf download shi-labs/oneformer_demo {name} --repo-type dataset --local-dir {weights}",
        )
    return {"repo_path": weights}


def _auto_class(weights: str, config: Any, does: str) -> str:
    """The name of transformers' class for what ``config`` describes."""
    from transformers.models.auto import modeling_auto as known

    classes = {
        "depth": {"AutoModelForDepthEstimation": known.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES},
        "segmentation": {
            "AutoModelForSemanticSegmentation": known.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
            "AutoModelForUniversalSegmentation": known.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        },
    }[does]
    for name, families in classes.items():
        if config.model_type in families:
            return name
    raise HackamoreError(f"{weights} is no network for {does}", received=f"a {config.model_type} network")


def _not_loaded(weights: str, does: str, download: bool, error: Exception) -> HackamoreError:
    if "torchvision" in str(error).lower():
        return HackamoreError(
            f"{weights} prepares its pictures with torchvision, which does not work here",
            expected=f"a network for {does} that can do without",
            remedy="install the torchvision that belongs to the installed torch",
        )
    if Path(weights).is_dir():
        other = "ignore_mismatched_sizes" in str(error)
        received = "weights of other shapes than its configuration tells" if other else error
        return HackamoreError(f"{weights} does not load", received=received, expected=f"a network for {does}")
    if download:
        return WorkFailed(f"{weights} could not be downloaded", received=error)
    return HackamoreError(
        f"the network {weights} is not on this machine",
        expected="its files in a folder, named by weights=FOLDER",
        remedy=f"hf download {weights} --local-dir FOLDER, or download=true",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and reports, which come back afterwards if they were on."""
    from transformers.utils import logging as their

    shown, level = their.is_progress_bar_enabled(), their.get_verbosity()
    their.disable_progress_bar()
    their.set_verbosity_error()
    try:
        yield
    finally:
        their.set_verbosity(level)
        if shown:
            their.enable_progress_bar()
