"""Copy finished trainings into the package: python benchmarks/install_meadow.py runs/meadow."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hackamore.bases.catalog import MEADOW

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def main() -> None:
    runs = Path(sys.argv[1])
    for part in PARTS:
        shutil.rmtree(MEADOW / part, ignore_errors=True)
        shutil.copytree(runs / "base" / part, MEADOW / part)
    shutil.copy(runs / "base" / "model_index.json", MEADOW)
    for kind in ("canny", "seg"):
        target = MEADOW / "controls" / kind
        target.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "diffusion_pytorch_model.safetensors"):
            if (runs / kind / name).exists():
                shutil.copy(runs / kind / name, target)
    (MEADOW / "inspector").mkdir(exist_ok=True)
    shutil.copy(runs / "inspector" / "seg.safetensors", MEADOW / "inspector")
    total = sum(f.stat().st_size for f in MEADOW.rglob("*") if f.is_file())
    print(f"{MEADOW}: {total / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
