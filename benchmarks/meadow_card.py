"""The pictures of Meadow's model card: uncurated captions, and one hint under eight prompts.

python benchmarks/meadow_card.py
"""

from __future__ import annotations

from pathlib import Path

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core import palette
from hackamore.data.pairs import EVALUATION_SEED
from hackamore.evaluation.sheets import write_sheet
from hackamore.generate import generate
from hackamore.worlds import render

TIMES = ("at sunrise", "at noon", "at sunset", "at night")
SEASONS = ("summer", "winter")


def main() -> None:
    base = load_base("meadow")
    captions = [render(EVALUATION_SEED + 1000 + k, base.size).caption for k in range(16)]
    free = generate(base, captions, seed=0)
    write_sheet(Path("docs/meadow-samples.png"), [i.pixels for i in free.images], captions, columns=8)

    world = render(EVALUATION_SEED + 14, base.size)
    hints = {"canny": annotate("canny", world.picture), "seg": palette.paint(world.segmentation)}
    pictures, words = [], []
    prompts = [f"mountains with a lake {time}, {season}" for season in SEASONS for time in TIMES]
    for kind, hint in hints.items():
        unit = load_control(f"meadow/{kind}", base).unit(hint)
        made = generate(base, prompts, controls=[unit], seed=3)
        pictures += [hint, *(image.pixels for image in made.images)]
        words += [f"{kind} hint", *prompts]
    write_sheet(Path("docs/meadow-captions.png"), pictures, words, columns=9)


if __name__ == "__main__":
    main()
