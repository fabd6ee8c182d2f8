"""LoRA files on a base: kohya's, diffusers' and peft's layouts, by diffusers' loaders and peft."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hackamore.bases.exchange import put, remember
from hackamore.bases.lora_checks import check_scale, first_line, misfit, open_lora
from hackamore.bases.transformer import TransformerBase
from hackamore.bases.transformer_lora import add_to_transformer
from hackamore.bases.unet import FAMILIES, UNetBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError

_TEXT_KEY = re.compile(
    r"attn2[._](?:processor[._])?to_k(?:_lora)?[._](?:lora[._])?(?:lora_A|lora_down|down)\b.*weight$"
)


def with_loras(base: Any, loras: Sequence[tuple[Path | str, float]]) -> Any:
    """The same base with LoRA files at their scales, in the denoiser and the text encoders; ``base`` is unchanged.

    The memory of all weights is shared with ``base``. Where it has LoRA files already, these come on top. Raises
    :class:`HackamoreError` for a file that is no LoRA, is damaged, is of another family, or has the name of another.
    """
    add: Callable[[Any, Path, str], None] = add_to_transformer if isinstance(base, TransformerBase) else _add
    mine = copy.copy(base)
    own: dict[int, nn.Parameter] = {}  # so that moving it does not move ``base``
    for name, part in base.parts().items():
        put(mine, name, view_of(part, own))
    mine.bare = view_of(base.bare, own)
    mine.sha256, mine.loras = dict(base.sha256), dict(base.loras)
    for number, (file, scale) in enumerate(loras, len(base.loras)):
        file = Path(file)
        mine.loras[f"lora{number}"] = check_scale(file, scale)
        add(mine, file, f"lora{number}")
        remember(mine.sha256, "lora", file)
    _scale(mine, mine.loras)
    return mine


def _add(base: UNetBase, file: Path, adapter: str) -> None:
    """Put one file's layers into the networks of ``base``, which must be views."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin

    _check_family(open_lora(file).shapes, file, base)
    two = base.text_encoder_2 is not None
    loader = StableDiffusionXLLoraLoaderMixin if two else StableDiffusionLoraLoaderMixin
    told = {"unet_config": base.unet.config} if two else {}
    try:
        state, alphas, metadata = loader.lora_state_dict(
            str(file), local_files_only=True, return_lora_metadata=True, **told
        )
        if wrong := misfit(state, {name: part for name, part in base.parts().items() if name != "vae"}):
            raise _unfit(file, base, wrong)
        _inject(loader, state, base, network_alphas=alphas, adapter_name=adapter, metadata=metadata)
    except (HackamoreError, MemoryError):
        raise
    except Exception as error:
        raise _unfit(file, base, first_line(error)) from error
    for name, part in base.parts().items():
        if name != "vae":
            part.requires_grad_(False).eval()


def _inject(loader: Any, state: dict[str, Tensor], base: UNetBase, **told: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several files are meant
        loader.load_lora_into_unet(state, unet=base.unet, **told)
        for name in ("text_encoder", "text_encoder_2"):
            if any(key.startswith(f"{name}.") for key in state):
                encoder = getattr(base, name)
                loader.load_lora_into_text_encoder(state, text_encoder=encoder, prefix=name, **told)


def _scale(base: Any, scales: dict[str, float]) -> None:
    from diffusers.loaders.lora_base import set_adapters_for_text_encoder

    for part in base.parts().values():
        held = {adapter: scale for adapter, scale in scales.items() if adapter in getattr(part, "peft_config", {})}
        if held and part is base.network:
            part.set_adapters(list(held), list(held.values()))
        elif held:
            set_adapters_for_text_encoder(list(held), part, list(held.values()))


def _check_family(shapes: dict[str, tuple[int, ...]], file: Path, base: UNetBase) -> None:
    """Refuse by name what attends to text of another width."""
    width = next((shape[1] for key, shape in shapes.items() if _TEXT_KEY.search(key) and len(shape) > 1), None)
    if width is not None and width != base.sites.text_width:
        raise _unfit(file, base, f"a LoRA of family {FAMILIES.get(width, 'unknown')} (text width {width})")


def _unfit(file: Path, base: UNetBase, received: str) -> HackamoreError:
    expected = f"a LoRA of family {base.family} (text width {base.sites.text_width})"
    return HackamoreError(
        f"the LoRA {file.name} does not fit the base {base.name}", received=received, expected=expected
    )
