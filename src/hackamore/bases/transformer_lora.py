"""LoRA files on SD3 and FLUX bases, by diffusers' loaders and peft."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hackamore.bases.exchange import put, remember
from hackamore.bases.lora_checks import check_scale, first_line, misfit, open_lora
from hackamore.bases.transformer import TransformerBase
from hackamore.bases.view import view_of
from hackamore.core.errors import HackamoreError


def with_transformer_loras(base: TransformerBase, loras: Sequence[tuple[Path | str, float]]) -> TransformerBase:
    """The same base with LoRA files at their scales, in the transformer and the CLIP encoders; ``base`` is unchanged.

    The memory of all weights is shared with ``base``. Where it has LoRA files already, these come on top. Raises
    :class:`HackamoreError` for a file that is no LoRA, is damaged, has layers that are not the base's, or has the name
    of another.
    """
    mine = copy.copy(base)
    own: dict[int, nn.Parameter] = {}  # so that moving it does not move ``base``
    for name, part in base.parts().items():
        put(mine, name, view_of(part, own))
    mine.bare = view_of(base.bare, own)
    mine.sha256, mine.loras = dict(base.sha256), dict(base.loras)
    for number, (file, scale) in enumerate(loras, len(base.loras)):
        file = Path(file)
        mine.loras[f"lora{number}"] = check_scale(file, scale)
        _add(mine, file, f"lora{number}")
        remember(mine.sha256, "lora", file)
    for part in mine.parts().values():
        held = [name for name in mine.loras if name in getattr(part, "peft_config", {})]
        if held:
            _set(part, held, [mine.loras[name] for name in held])
    return mine


def _set(part: Any, adapters: list[str], scales: list[float]) -> None:
    from diffusers.loaders.lora_base import set_adapters_for_text_encoder

    if hasattr(part, "set_adapters"):
        part.set_adapters(adapters, scales)
    else:
        set_adapters_for_text_encoder(adapters, part, scales)


def _add(base: TransformerBase, file: Path, adapter: str) -> None:
    """Put one file's layers into the networks of ``base``, which must be views."""
    from diffusers.loaders import FluxLoraLoaderMixin, SD3LoraLoaderMixin

    open_lora(file)
    flux = base.family == "flux"
    loader: Any = FluxLoraLoaderMixin if flux else SD3LoraLoaderMixin
    try:
        asked = {"local_files_only": True, "return_lora_metadata": True} | ({"return_alphas": True} if flux else {})
        read = loader.lora_state_dict(str(file), **asked)
        state, alphas, metadata = read if flux else (read[0], None, read[1])
        if wrong := misfit(state, {name: part for name, part in base.parts().items() if name != "vae"}):
            raise _unfit(file, base, wrong)
        told = {"network_alphas": alphas, "adapter_name": adapter, "metadata": metadata}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several files are meant
            for name, part in base.parts().items():
                held = any(key.startswith(f"{name}.") for key in state)
                if held and name == "transformer":
                    part.load_lora_adapter(state, **told)
                elif held:
                    loader.load_lora_into_text_encoder(state, text_encoder=part, prefix=name, **told)
    except (HackamoreError, MemoryError):
        raise
    except Exception as error:
        raise _unfit(file, base, first_line(error)) from error
    for part in base.parts().values():
        part.requires_grad_(False).eval()


def _unfit(file: Path, base: TransformerBase, received: str) -> HackamoreError:
    expected = f"a LoRA of family {base.family} (width {base.sites.width})"
    return HackamoreError(
        f"the LoRA {file.name} does not fit the base {base.name}", received=received, expected=expected
    )
