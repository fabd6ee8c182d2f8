"""The field's learned detectors through controlnet-aux, each from a folder with its published files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from hackamore.annotators.annotator import Annotator
from hackamore.core.errors import HackamoreError
from hackamore.core.image import Picture, resize

HUB = "lllyasviel/Annotators"
"""Where most of the files are published."""


@dataclass(frozen=True)
class Detector:
    """A class of controlnet-aux, the files it reads, how it is made and called, and where its files are published."""

    name: str
    files: tuple[str, ...]
    made: dict[str, Any] = field(default_factory=dict)
    called: dict[str, Any] = field(default_factory=dict)
    hub: str = HUB


class Auxiliary(Annotator):
    """A detector of controlnet-aux; its hint has the picture's exact size, whatever size it works at."""

    detector: ClassVar[Detector]
    seeks: ClassVar[tuple[str, str] | None] = ("lines", "another resolution, or another picture")

    weights: str = Field(description="folder with the detector's files")
    resolution: int = Field(512, ge=64, le=4096, description="the shorter side in pixels at which the detector works")

    def __call__(self, picture: Picture) -> Picture:
        """The detector's hint H×W×3."""
        at = {"detect_resolution": self.resolution}
        if self.detector.name not in OWN_SIZE:
            at["image_resolution"] = self.resolution
        made = _load(self.detector.name, self.weights)(picture.copy(), output_type="np", **at, **self.detector.called)
        hint = np.asarray(made, np.uint8)
        hint = np.repeat(hint[..., None], 3, axis=2) if hint.ndim == 2 else hint
        return resize(hint, (picture.shape[1], picture.shape[0]), "stretch")


OWN_SIZE = ("TEEDdetector", "AnylineDetector")
"""Detectors that give the picture's size of themselves."""


class SoftEdgePidi(Auxiliary):
    """Soft edges by PiDiNet (Su et al. 2021)."""

    kind: ClassVar[str] = "softedge_pidi"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector("PidiNetDetector", ("table5_pidinet.pth",))


class SoftEdgeTeed(Auxiliary):
    """Soft edges by TEED (Soria et al. 2023)."""

    kind: ClassVar[str] = "softedge_teed"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector(
        "TEEDdetector", ("5_model.pth",), made={"filename": "5_model.pth"}, hub="fal-ai/teed"
    )


class ScribblePidi(Auxiliary):
    """Thick strokes from PiDiNet's edges."""

    kind: ClassVar[str] = "scribble_pidi"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector("PidiNetDetector", ("table5_pidinet.pth",), called={"scribble": True})


class LineArtReal(Auxiliary):
    """Line art by informative drawings (Chan et al. 2022)."""

    kind: ClassVar[str] = "lineart_real"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector("LineartDetector", ("sk_model.pth", "sk_model2.pth"))


class LineArtCoarse(Auxiliary):
    """Line art by informative drawings, coarse."""

    kind: ClassVar[str] = "lineart_coarse"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector(
        "LineartDetector", ("sk_model.pth", "sk_model2.pth"), called={"coarse": True}
    )


class LineArtAnime(Auxiliary):
    """Line art as of drawn films."""

    kind: ClassVar[str] = "lineart_anime"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector("LineartAnimeDetector", ("netG.pth",))


class MlsdNetwork(Auxiliary):
    """Straight lines by the network M-LSD (Gu et al. 2022)."""

    kind: ClassVar[str] = "mlsd_network"
    lines: ClassVar[bool] = True
    detector: ClassVar[Detector] = Detector("MLSDdetector", ("mlsd_large_512_fp32.pth",))


class DepthMidas(Auxiliary):
    """Depth by MiDaS (Ranftl et al. 2020): near is white."""

    kind: ClassVar[str] = "depth_midas"
    seeks: ClassVar[tuple[str, str] | None] = ("depth", "another picture")
    detector: ClassVar[Detector] = Detector("MidasDetector", ("dpt_hybrid-midas-501f0c75.pt",))


class DepthLeres(Auxiliary):
    """Depth by LeReS (Yin et al. 2021): near is white."""

    kind: ClassVar[str] = "depth_leres"
    seeks: ClassVar[tuple[str, str] | None] = ("depth", "another picture")
    detector: ClassVar[Detector] = Detector("LeresDetector", ("res101.pth", "latest_net_G.pth"))


class DepthZoe(Auxiliary):
    """Depth by ZoeDepth (Bhat et al. 2023): near is white."""

    kind: ClassVar[str] = "depth_zoe"
    seeks: ClassVar[tuple[str, str] | None] = ("depth", "another picture")
    detector: ClassVar[Detector] = Detector("ZoeDetector", ("ZoeD_M12_N.pt",))


class NormalBae(Auxiliary):
    """Surface normals by Bae et al. (2021)."""

    kind: ClassVar[str] = "normal_bae"
    seeks: ClassVar[tuple[str, str] | None] = ("surfaces", "another picture")
    detector: ClassVar[Detector] = Detector("NormalBaeDetector", ("scannet.pt",))


def package() -> Any:
    """The package controlnet-aux; that it is missing or does not work is an error which says why."""
    remedy = 'pip install "hackamore[annotators]"'
    try:
        return import_module("controlnet_aux")
    except ModuleNotFoundError as error:
        if error.name == "controlnet_aux":
            what = "this annotator needs the package controlnet-aux, which is not installed"
        else:
            what = f"controlnet-aux is installed, but the package {error.name}, which it needs, is not"
        raise HackamoreError(what, remedy=remedy) from error
    except Exception as error:
        raise HackamoreError(
            "controlnet-aux is installed, but it does not work here",
            received=error,
            expected="a torchvision that belongs to the installed torch",
            remedy="install torch and torchvision from the same place, as one pair",
        ) from error


def folder_with(weights: str, files: tuple[str, ...], hub: str) -> Path:
    """The folder ``weights`` when it holds ``files``; else an error that says what to get and where to put it."""
    folder = Path(weights)
    absent = [name for name in files if not (folder / name).exists()]
    if absent:
        raise HackamoreError(
            f"{weights} lacks {', '.join(absent)}" if folder.is_dir() else f"no such folder: {weights}",
            expected=f"a folder with {', '.join(files)}",
            remedy=f"hf download {hub} {' '.join(absent)} --local-dir {weights}",
        )
    return folder


def made(name: str, folder: Path, **settings: Any) -> Any:
    """The detector called ``name``, with the files in ``folder``."""
    maker = getattr(package(), name)
    try:
        return maker.from_pretrained(str(folder), **settings)
    except Exception as error:  # whatever a damaged file leads to
        raise HackamoreError(
            f"{name} cannot read its files in {folder}", received=error, expected="the files as published"
        ) from error


@lru_cache(maxsize=1)
def _load(name: str, weights: str) -> Any:
    detector = next(kind.detector for kind in Auxiliary.__subclasses__() if kind.detector.name == name)
    package()
    return made(name, folder_with(weights, detector.files, detector.hub), **detector.made)
