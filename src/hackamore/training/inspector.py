"""Training of Meadow's inspector: pixel-wise classes of worlds, seen as they are, blurred, noisy and recoloured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hackamore.core import palette
from hackamore.core.files import written_whole
from hackamore.evaluation.inspector import Inspector
from hackamore.evaluation.sheets import write_sheet
from hackamore.training.draws import Draws
from hackamore.training.trainer import Task


class InspectorTask(Task):
    """Cross-entropy of the class of each pixel; half of the pictures are softened as an autoencoder softens them."""

    def __init__(self, pictures: NDArray[np.uint8], palettes: NDArray[np.uint8]) -> None:
        super().__init__()
        self.pictures = pictures
        self.classes = np.stack([palette.read(np.asarray(picture)) for picture in palettes])
        self.inspector = Inspector()

    def groups(self) -> list[dict[str, Any]]:
        """All weights, one rate."""
        return [{"params": list(self.inspector.parameters())}]

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        """Pictures N×3×H×W in [0, 1], varied, and their classes N×H×W."""
        places = draws.indices(len(self.pictures)).numpy()
        x = torch.from_numpy(np.array(self.pictures[places])).permute(0, 3, 1, 2).float() / 255
        u = draws.uniform(6)[..., None, None]
        half = len(x) // 2
        coarse = F.interpolate(x[:half], scale_factor=1 / 4, mode="area")
        soft = F.interpolate(coarse, size=x.shape[-2:], mode="bicubic")
        x[:half] += (u[:half, 4:5] + 0.2).clamp(max=1) * (soft - x[:half])
        x = x * (0.8 + 0.4 * u[:, :3]) + 0.1 * (u[:, 3:4] - 0.5)
        x = x + 0.05 * u[:, 5:6] * draws.normal(*x.shape[1:])
        return {"x": x.clamp(0, 1), "classes": torch.from_numpy(self.classes[places].astype(np.int64))}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy, and the share of pixels that are right."""
        logits = self.inspector(batch["x"])
        right = (logits.argmax(1) == batch["classes"]).float().mean()
        return {"loss": F.cross_entropy(logits.float(), batch["classes"]), "agreement": right}

    def sample(self, path: Path) -> None:
        """Pictures, true classes, classes read."""
        chosen = [np.asarray(p) for p in self.pictures[:6]]
        true = [palette.paint(c) for c in self.classes[:6]]
        read = [palette.paint(self.inspector.read(picture)) for picture in chosen]
        write_sheet(path, chosen + true + read, columns=6)

    def export(self, folder: Path) -> None:
        """``seg.safetensors``: convolutions in fp8 (its reading does not change), the rest fp16."""
        from safetensors.torch import save_file

        weights = {
            name: p.detach().to(torch.float8_e4m3fn if p.numel() > 2000 else torch.float16).contiguous()
            for name, p in self.inspector.state_dict().items()
        }
        with written_whole(folder / "seg.safetensors") as path:
            save_file(weights, path)
