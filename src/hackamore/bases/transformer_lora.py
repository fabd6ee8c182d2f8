"""LoRA files on SD3 and FLUX bases, by diffusers' loaders and peft."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hackamore.bases.lora_checks import first_line, misfit, open_lora
from hackamore.bases.transformer import TransformerBase
from hackamore.core.errors import HackamoreError


def add_to_transformer(base: TransformerBase, file: Path, adapter: str) -> None:
    """Put one file's layers into the transformer and the CLIP encoders of ``base``, which must be views.

    Raises :class:`HackamoreError` for a file that is no LoRA, is damaged, or has layers that are not the base's.
    """
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
