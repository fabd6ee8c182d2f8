"""Copy finished trainings into the package: python benchmarks/install_meadow.py runs/meadow."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hackamore.annotators.inspector import WEIGHTS as INSPECTOR
from hackamore.bases.catalog import MEADOW

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
CONTROLS = ("canny", "seg", "union", "color", "sketch", "canny-xs")
LIVE = "live/pytorch_lora_weights.safetensors"
MOST = 46 * 2**20


def main() -> None:
    runs = Path(sys.argv[1])
    files = {runs / "base" / "model_index.json": MEADOW / "model_index.json"}
    files |= {runs / "inspector" / "inspector.safetensors": INSPECTOR}
    files |= {f: MEADOW / part / f.name for part in PARTS for f in sorted((runs / "base" / part).glob("*"))}
    files |= {runs / LIVE: MEADOW / LIVE}
    for kind in CONTROLS:
        own = [runs / kind / "config.json", *(runs / kind).glob("*.safetensors")]
        files |= {file: MEADOW / "controls" / kind / file.name for file in own}
    absent = [str(file) for file in files if not file.exists()]
    if absent:
        sys.exit(f"not finished: {', '.join(absent)}")
    for source, target in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    total = sum(target.stat().st_size for target in files.values())
    print(f"{MEADOW}: {len(files)} files, {total / 2**20:.1f} MiB")
    if total > MOST:
        sys.exit(f"more than {MOST / 2**20:.0f} MiB: store more of it in 8 bits, or narrower")


if __name__ == "__main__":
    main()
