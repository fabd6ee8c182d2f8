"""Training of Meadow's inspector: everything that is known of a world, read from its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hackamore.annotators.inspector import ATTRIBUTES, REACH, Inspected, Inspector
from hackamore.core import palette
from hackamore.core.skeleton import JOINTS, MIRRORED
from hackamore.core.weights import save_tensors
from hackamore.data.truth import Truths
from hackamore.evaluation.sheets import write_sheet
from hackamore.training.draws import Draws
from hackamore.training.trainer import Task

SPREAD = 1.4
"""Width of a joint's bump in the heat maps, in cells of two pixels."""
ABSENT = -100
"""The target of an attribute that a world does not have."""
WEIGHTS = {"depth": 3.0, "normals": 0.7, "heat": 0.15, "reach": 0.15, "words": 0.25}


class InspectorTask(Task):
    """Classes, depth, normals, people and attributes at once.

    Pictures are seen as they are, through an autoencoder where ``seen`` gives their reconstructions, or softened as
    small autoencoders soften them; flipped, with other gains and some noise.
    """

    def __init__(
        self, truths: Truths, seen: list[NDArray[np.uint8]] | None = None, start: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.truths, self.seen = truths, seen
        self.starts = np.cumsum([0, *(len(part) for part in truths.pictures)])
        self.words = np.array(
            [
                [words.index(row[name]) if row.get(name) in words else ABSENT for name, words in ATTRIBUTES.items()]
                for row in truths.attributes
            ]
        )
        counts = [np.bincount(part[::7].ravel(), minlength=len(palette.CLASSES)) for part in truths.classes]
        share = np.sum(counts, axis=0)
        rare = (share.sum() / np.maximum(share, 1) / len(palette.CLASSES)) ** 0.25
        self.rarity: Tensor
        self.register_buffer("rarity", torch.from_numpy(np.clip(rare, 0.5, 3.0)).float(), persistent=False)
        self.inspector = Inspector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.nn.init.constant_(self.inspector.heat.bias, -4.0)
        if start is not None:
            known = self.inspector.state_dict()
            fitting = {name: weight for name, weight in start.items() if known[name].shape == weight.shape}
            self.inspector.load_state_dict({**known, **fitting})

    def groups(self) -> list[dict[str, Any]]:
        """All weights, one rate."""
        return [{"params": list(self.inspector.parameters())}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Pictures N×3×H×W in [0, 1], varied, and their truths."""
        places = draws.indices(len(self.truths)).numpy()
        u = draws.uniform(8)
        x = torch.from_numpy(np.stack([self._picture(p, float(v)) for p, v in zip(places, u[:, 7], strict=True)]))
        x = _varied(x.permute(0, 3, 1, 2).float() / 255, u, draws)
        classes, depth, normals = (
            torch.from_numpy(np.stack([self._part(part, p) for p in places]))
            for part in (self.truths.classes, self.truths.depth, self.truths.normals)
        )
        people = torch.from_numpy(self.truths.people[places])
        batch = {
            "x": x,
            "classes": classes.long(),
            "depth": depth.float() / 255,
            "normals": normals.permute(0, 3, 1, 2).float() / 127.5 - 1,
            "words": torch.from_numpy(self.words[places]),
        }
        flip = u[:, 6] < 0.5
        for name, value in batch.items():
            if name != "words":
                batch[name] = torch.where(flip.view(-1, *[1] * (value.ndim - 1)), value.flip(-1), value)
        batch["normals"][flip, 0] *= -1
        people[flip] = _mirrored(people[flip], x.shape[-1])
        return batch | dict(zip(("heat", "reach", "near"), people_maps(people, x.shape[-2:]), strict=True))

    def _part(self, arrays: list[NDArray[np.uint8]], place: int) -> NDArray[np.uint8]:
        part = int(np.searchsorted(self.starts, place, side="right")) - 1
        return np.array(arrays[part][place - self.starts[part]])

    def _picture(self, place: int, chance: float) -> NDArray[np.uint8]:
        through = self.seen is not None and chance < 0.4
        return self._part(self.seen if through and self.seen is not None else self.truths.pictures, place)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted sum of all losses as ``loss``, and each of them."""
        reading = self.inspector(batch["x"].contiguous(memory_format=torch.channels_last))
        known = batch["normals"].square().sum(1) > 0.25
        cosine = F.cosine_similarity(reading.normals.float(), batch["normals"], dim=1)
        near = batch["near"]
        losses = {
            "classes": F.cross_entropy(reading.classes.float(), batch["classes"], weight=self.rarity),
            "depth": (reading.depth.float() - batch["depth"]).abs().mean(),
            "normals": ((1 - cosine) * known).sum() / known.sum().clamp(min=1),
            "heat": focal(reading.heat.float(), batch["heat"]),
            "reach": ((reading.reach.float() - batch["reach"]).abs() * near).sum() / near.sum().clamp(min=1),
        }
        words = [
            F.cross_entropy(logits.float(), batch["words"][:, k], ignore_index=ABSENT, reduction="sum")
            for k, logits in enumerate(reading.attributes.values())
        ]
        losses["words"] = torch.stack(words).sum() / (batch["words"] != ABSENT).sum().clamp(min=1) * len(words)
        loss = torch.stack([value * WEIGHTS.get(name, 1.0) for name, value in losses.items()]).sum()
        right = [
            (logits.argmax(1) == batch["words"][:, k]).sum() for k, logits in enumerate(reading.attributes.values())
        ]
        told = {
            "agreement": (reading.classes.argmax(1) == batch["classes"]).float().mean(),
            "words right": torch.stack(right).sum() / (batch["words"] != ABSENT).sum().clamp(min=1),
        }
        return {"loss": loss, **losses, **told}

    def sample(self, path: Path) -> None:
        """Pictures, and what is read from them: classes, depth, normals."""
        eye = Inspected(self.inspector)
        chosen = [self._part(self.truths.pictures, p) for p in np.linspace(0, len(self.truths) - 1, 8).astype(int)]
        grey = [np.repeat((eye.depth(p) * 255).astype(np.uint8)[..., None], 3, axis=2) for p in chosen]
        normals = [((eye.normals(p) + 1) * 127.5).astype(np.uint8) for p in chosen]
        write_sheet(path, chosen + [palette.paint(eye.read(p)) for p in chosen] + grey + normals, columns=8)
        self.inspector.requires_grad_(True)

    def export(self, folder: Path) -> None:
        """``inspector.safetensors``: convolutions in fp8 (what it reads does not change), the rest fp16."""
        weights = {
            name: p.detach().to(torch.float8_e4m3fn if p.numel() > 2000 else torch.float16).contiguous()
            for name, p in self.inspector.state_dict().items()
        }
        save_tensors(weights, folder / "inspector.safetensors")


def _varied(x: Tensor, u: Tensor, draws: Draws) -> Tensor:
    """Pictures softened (a fifth of them), with other gains, and noisy."""
    v = u[..., None, None]
    soft = u[:, 7] > 0.8
    if soft.any():
        coarse = F.interpolate(x[soft], scale_factor=1 / 4, mode="area")
        x[soft] += (v[soft, 4:5] + 0.2).clamp(max=1) * (
            F.interpolate(coarse, size=x.shape[-2:], mode="bicubic") - x[soft]
        )
    x = x * (0.92 + 0.16 * v[:, :3]) + 0.06 * (v[:, 3:4] - 0.5)
    return (x + 0.05 * v[:, 5:6].square() * draws.normal(*x.shape[1:])).clamp(0, 1)


def _mirrored(people: Tensor, width: int) -> Tensor:
    turned = people[:, :, list(MIRRORED)].clone()
    turned[..., 0] = torch.where(turned[..., 2] > 0, width - turned[..., 0], 0)
    return turned


def people_maps(people: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """People N×P×18×3 in pixels of H×W → heat N×19×H/2×W/2, reach N×36×H/4×W/4, and where reach is known, as 0 and 1.

    A person's centre is the mean of the joints that can be seen.
    """
    seen = (people[..., 2] > 0).float()
    count = seen.sum(-1)
    centre = (people[..., :2] * seen[..., None]).sum(-2) / count.clamp(min=1)[..., None]
    spots = torch.cat([people[..., :2], centre[..., None, :]], dim=2)
    there = torch.cat([seen, (count >= 3).float()[..., None]], dim=2)
    heat = (_bumps(spots, (size[0] // 2, size[1] // 2), 2, SPREAD) * there[..., None, None]).amax(1)
    cells = size[0] // 4, size[1] // 4
    near = _bumps(centre[:, :, None], cells, 4, 1.0)[:, :, 0] * (count >= 3).float()[..., None, None]
    owner = near.argmax(1)
    spot = (torch.arange(cells[1]) * 4 + 2.0, torch.arange(cells[0])[:, None] * 4 + 2.0)
    reach, known = [], []
    for axis in (0, 1):
        mine = people[..., axis].gather(1, owner.flatten(1)[..., None].expand(-1, -1, len(JOINTS)))
        there_mine = seen.gather(1, owner.flatten(1)[..., None].expand(-1, -1, len(JOINTS)))
        grid = (len(people), *cells, len(JOINTS))
        reach.append((mine.view(grid).permute(0, 3, 1, 2) - spot[axis]) / REACH)
        known.append(there_mine.view(grid).permute(0, 3, 1, 2) * (near.amax(1) > 0.3)[:, None])
    return heat, torch.stack(reach, 2).flatten(1, 2), torch.stack(known, 2).flatten(1, 2)


def _bumps(spots: Tensor, cells: tuple[int, int], pitch: int, spread: float) -> Tensor:
    """Gaussian bumps of height 1 at ``spots`` …×2 (pixels) on a grid of ``cells`` (rows, columns), ``pitch`` wide."""
    x, y = (
        torch.exp(-((spots[..., axis : axis + 1] - pitch * (torch.arange(n) + 0.5)) ** 2) / (2 * (pitch * spread) ** 2))
        for axis, n in ((0, cells[1]), (1, cells[0]))
    )
    return y[..., :, None] * x[..., None, :]


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss of heat maps (CornerNet, Law & Deng 2018, eq. 1), with soft targets at the peaks."""
    p = torch.sigmoid(logits)
    peak = (target > 0.8).float()
    right = peak * (1 - p).square() * F.logsigmoid(logits)
    wrong = (1 - peak) * (1 - target) ** 4 * p.square() * F.logsigmoid(-logits)
    return -(right + wrong).sum() / peak.sum().clamp(min=1)
