"""How much of held-out worlds Meadow's autoencoder keeps, beside principal components: writes docs/autoencoder.json.

python benchmarks/autoencoder.py [--vae FOLDER] [--count 256] [--out docs]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hackamore.annotators.inspector import load_inspector
from hackamore.bases.catalog import MEADOW
from hackamore.core.image import from_hint
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.evaluation.features import deep_features
from hackamore.evaluation.quality import standardised
from hackamore.evaluation.sheets import write_sheet
from hackamore.metrics.distribution import frechet_distance, kernel_distance
from hackamore.training.autoencoder import Codec, gradients
from hackamore.training.patches import Patches
from hackamore.worlds import render

FIRST = EVALUATION_SEED + 60_000
FITTED = 2_000_000
"""First seed of the worlds that the principal components are fitted to."""
MANNERS = {"photo": {}, "people": {"people": 1.0}, "sights": {"sights": 1.0}, "styles": {"styles": 1.0}}


def tensor(pictures: np.ndarray) -> Tensor:
    """N×H×W×3 uint8 → N×3×H×W in [−1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def figures(made: Tensor, x: Tensor) -> dict[str, float]:
    """PSNR (mean over pictures, dB), and energy and mean magnitude of the gradients as shares of the true ones'."""
    made = made.clamp(-1, 1)
    error = (made - x).square().flatten(1).mean(1)
    smooth, rough = gradients(made), gradients(x)
    eye = load_inspector()
    true, found = (deep_features(eye, list(from_hint(p / 2 + 0.5))) for p in (x, made))
    true, found = standardised(true, true), standardised(found, true)
    return {
        "PSNR": float((10 * torch.log10(4 / error)).mean()),
        "gradient energy": float(sum(a.square().mean() for a in smooth) / sum(b.square().mean() for b in rough)),
        "gradient magnitude": float(sum(a.abs().mean() for a in smooth) / sum(b.abs().mean() for b in rough)),
        "FID": frechet_distance(found, true),
        "KID": kernel_distance(found, true),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--vae", type=Path, default=MEADOW / "vae")
    options.add_argument("--count", type=int, default=256)
    options.add_argument("--out", type=Path, default=Path("docs"))
    told = options.parse_args()
    patches = Patches().fit(
        np.stack([render(FITTED + k, people=0.25, sights=0.3, styles=0.2).picture for k in range(600)])
    )
    codec, rows, shown = Codec(told.vae), {}, []
    for name, chances in MANNERS.items():
        x = tensor(np.stack([render(FIRST + k, **chances).picture for k in range(told.count)]))
        with torch.inference_mode():
            z = torch.cat([codec.encode(part) for part in x.split(32)])
            made = torch.cat([codec.decode(part) for part in z.split(32)])
            linear = patches.decode(patches.encode(x))
        rows[name] = {"autoencoder": figures(made, x), "principal components": figures(linear, x)}
        values = torch.linalg.eigvalsh(torch.cov(z.permute(1, 0, 2, 3).flatten(1)))
        rows[name]["eigenvalues of the latents' covariance"] = values.tolist()
        shown += [torch.cat([x[:8], made[:8]])]
        print(name, json.dumps(rows[name]))
    write_sheet(told.out / "autoencoder.png", list(from_hint(torch.cat(shown).clamp(-1, 1) / 2 + 0.5)), columns=8)
    (told.out / "autoencoder.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
