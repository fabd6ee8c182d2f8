"""IP-Adapter: a picture as a prompt, through cross-attentions of its own (Ye et al. 2023, eq. 5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hackamore.bases.base import Sites
from hackamore.bases.folder import read_part, weights_of
from hackamore.bases.walk import attentions
from hackamore.controls.attention import Kept, add, attended, keep
from hackamore.controls.control import Voice
from hackamore.controls.unit import Unit
from hackamore.core.errors import HackamoreError
from hackamore.core.files import sha256
from hackamore.core.image import Size, from_hint, resize, to_hint

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP was trained on, RGB in [0, 1] (Radford et al. 2021)."""


class IPAdapter(nn.Module):
    """An IP-Adapter for a U-Net base.

    ``projection`` turns what an image encoder says (``width`` numbers a picture, or a token where ``deep``: of its
    layer before the last) into tokens. Each cross-attention of the base attends to them with keys and values of its
    own, and the results are added. ``folders``: where the image encoder may lie; the option ``encoder`` names another.
    ``spatial``: its hint has no place in the picture, and so a size of its own.
    """

    options = ("encoder",)
    spatial = False

    def __init__(self, base: Any, projection: nn.Module, width: int, deep: bool, folders: tuple[Path, ...]) -> None:
        super().__init__()
        self.name = "ip-adapter"
        self.condition: str | None = self.name
        self.sha256: dict[str, str] = {}
        self.sites: Sites = base.sites
        self.projection, self.width, self.deep, self.folders = projection, width, deep, folders
        self.places = [place for place in attentions(base.bare) if not place.own]
        inside = [base.bare.get_submodule(place.path).to_k.out_features for place in self.places]
        text = base.sites.text_width
        self.to_k = nn.ModuleList(nn.Linear(text, channels, bias=False) for channels in inside)
        self.to_v = nn.ModuleList(nn.Linear(text, channels, bias=False) for channels in inside)
        self._encoders: dict[Path, Any] = {}
        self.to(base.device, base.dtype)

    @property
    def outputs(self) -> int:
        """How many layer weights it has: as a ControlNet for the same base."""
        return len(self.sites.skips) + 1

    def check(self, size: Size, encoder: Path | str | None = None) -> None:
        """Raise :class:`HackamoreError` when there is no image encoder that fits."""
        self.encoder(encoder)

    @torch.no_grad()
    def prepare(self, hint: Tensor, encoder: Path | str | None = None) -> dict[str, list[Tensor]]:
        """Keys and values of the picture N×3×H×W in [0, 1] for each cross-attention, and those of no picture.

        The picture's middle square is what the image encoder sees.
        """
        network = self.encoder(encoder)
        seen = self.pixels(hint, network.config.image_size)
        if self.deep:
            picture, nothing = self._deep(network, seen), self._deep(network, torch.zeros_like(seen[:1]))
        else:
            picture = network(seen).image_embeds
            nothing = torch.zeros_like(picture[:1])
        told = {}
        for name, embedding in (("picture", picture), ("nothing", nothing)):
            tokens = self.projection(embedding)
            told[f"{name} keys"] = [layer(tokens) for layer in self.to_k]
            told[f"{name} values"] = [layer(tokens) for layer in self.to_v]
        return told

    def _deep(self, network: Any, seen: Tensor) -> Tensor:
        hidden: Tensor = network(seen, output_hidden_states=True).hidden_states[-2]
        return hidden

    def pixels(self, hint: Tensor, size: int) -> Tensor:
        """The picture as an image encoder takes it: the middle square at ``size``, in units of CLIP's pictures."""
        square = to_hint([resize(picture, (size, size), "crop") for picture in from_hint(hint)])
        mean, spread = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, SPREAD))
        weight = next(self.parameters())
        return ((square - mean) / spread).to(weight.device, weight.dtype)

    def encoder(self, folder: Path | str | None = None) -> Any:
        """The image encoder, loaded once; raises :class:`HackamoreError` when there is none, or none that fits."""
        known = [path for path in self.folders if (path / "config.json").is_file()]
        named = None if folder is None else Path(folder)
        if named is not None and not named.exists():  # as a Recipe has it: the name alone
            named = next((path for path in known if path.name == named.name), named)
        path = named or next(iter(known), None)
        if path is None:
            raise HackamoreError(
                f"the IP-Adapter {self.name} has no image encoder",
                received="no folder image_encoder beside it or beside its base, no option encoder",
                expected="a folder of CLIPVisionModelWithProjection (config.json and model.safetensors)",
                remedy="encoder=FOLDER, on the command line --control …,encoder=FOLDER",
            )
        if path not in self._encoders:
            self._encoders[path] = self._load(path)
        return self._encoders[path]

    def _load(self, folder: Path) -> Any:
        from transformers import CLIPVisionModelWithProjection

        weight, folder = next(self.parameters()), folder.resolve()
        if not folder.is_dir():
            raise HackamoreError(f"no such folder: {folder}", expected="a folder of CLIPVisionModelWithProjection")
        network = read_part(folder.parent, folder.name, CLIPVisionModelWithProjection, weight.dtype)
        wide = network.config.hidden_size if self.deep else network.config.projection_dim
        if wide != self.width:
            raise HackamoreError(
                f"the image encoder in {folder} does not fit the IP-Adapter {self.name}",
                received=f"width {wide}",
                expected=f"width {self.width}",
            )
        for file in weights_of(folder)[0]:
            self.sha256 |= {f"image_encoder/{file.name}": sha256(file)}
        return network.to(weight.device).requires_grad_(False).eval()

    def attach(self, base: Any, voice: Voice) -> Any:
        """A view of ``base`` whose cross-attentions read the picture whenever ``voice`` is not silent."""
        base = base.view()
        for number, place in enumerate(self.places):
            attention, kept = base.unet.get_submodule(place.path), Kept()
            keep(attention, ("to_q",), kept, voice)
            reading = _Reading(voice, kept, number, attention.heads, place.site, len(base.sites.skips) + 1)
            add(attention, reading, voice)
        return base

    def unit(self, hint: Any, **settings: Any) -> Unit:
        """Bind it to a picture; scale, window, schedule and mask as in :class:`Unit`, ``encoder`` the folder of one."""
        if settings.get("encoder") is not None:
            settings["encoder"] = Path(settings["encoder"])
        return Unit(self, hint, **settings)


@dataclass(frozen=True)
class _Reading:
    """What one cross-attention reads in the picture."""

    voice: Voice
    kept: Kept
    number: int
    heads: int
    site: int
    outputs: int

    def __call__(self, result: Tensor) -> Tensor:
        key, value = self._told("keys"), self._told("values")
        read = attended(self.kept.pop("to_q"), key, value, self.heads)
        return self.voice.say(read, self.site, self.outputs)

    def _told(self, name: str) -> Tensor:
        """Row by row: of no picture for guidance's first half, then of the picture."""
        unconditional = self.voice.unconditional
        nothing, picture = (self.voice.prepared[f"{kind} {name}"][self.number] for kind in ("nothing", "picture"))
        return torch.cat([nothing[:unconditional], picture[unconditional:]])
