"""Every way of a generation on Meadow: the pictures of docs/generation.md, and how visible the seams of tiles are.

python benchmarks/ways.py [--seeds 3] [--out docs]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from hackamore.annotators.catalog import annotate
from hackamore.bases.catalog import load_base
from hackamore.controls.catalog import load_control
from hackamore.core.image import load_picture, resize
from hackamore.evaluation.sheets import write_sheet
from hackamore.generate import Tile, Upscale, generate

SUMMER = "mountains with a lake at noon, clear sky, summer"
SUNSET = "snowy mountains with a lake, winter, sunset"
LARGE = (256, 256)


class Ways:
    """Meadow, its canny control and a photograph."""

    def __init__(self, out: Path) -> None:
        self.base, self.out = load_base("meadow"), out
        self.canny = load_control("meadow/canny", self.base)
        self.photo = load_picture(np.asarray(load_sample_image("china.jpg")))

    def units(self, size):
        return [self.canny.unit(annotate("canny", self.photo, size=size))]

    def made(self, prompt=SUMMER, seed=7, **told):
        return generate(self.base, prompt, seed=seed, **told).images[0].pixels

    def sheet(self, name, told, columns):
        """A contact sheet of pictures by their captions, in 256 colours."""
        path = self.out / f"generation-{name}.png"
        side = max(picture.shape[0] for picture in told.values())
        write_sheet(
            path, [resize(p, (side, side), "stretch", categorical=True) for p in told.values()], [*told], columns
        )
        sheet = Image.open(path)
        colours = sheet.quantize(256, kmeans=5)
        sheet.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
        print(path, path.stat().st_size)

    def img2img(self):
        start = self.made()
        edges = annotate("canny", start, size=self.base.size)
        told = {"the start picture": start}
        told |= {f"strength {s}": self.made(SUNSET, 3, init=start, strength=s) for s in (0.5, 0.7, 0.9)}
        unit = self.canny.unit(edges)
        told["strength 0.9, its edges kept"] = self.made(SUNSET, 3, init=start, strength=0.9, controls=[unit])
        self.sheet("img2img", told, 5)

    def inpainting(self):
        start, mask = self.made(), np.zeros((128, 128, 3), np.uint8)
        cv2.ellipse(mask, (58, 74), (46, 30), 0, 0, 360, (255, 255, 255), -1)
        told = {"the start picture": start, "the mask": mask}
        told["painted anew"] = self.made("mountains with snow, clear sky, noon", 4, init=start, mask=mask)
        told["with the edges of a photograph"] = self.made(
            SUMMER, 4, init=start, mask=mask, controls=self.units((128, 128))
        )
        outside = mask[..., 0] == 0
        assert all((picture[outside] == start[outside]).all() for name, picture in told.items() if "mask" not in name)
        self.sheet("inpainting", told, 4)

    def upscale(self):
        told = {"first pass, 128 x 128": self.made(controls=self.units(self.base.size))}
        told["second pass, 256 x 256, strength 0.5"] = self.made(
            controls=self.units, upscale=Upscale(LARGE, strength=0.5)
        )
        self.sheet("upscale", told, 2)

    def tiles(self, seeds):
        told = {}
        for overlap in (0, 32, 64, None):
            tile = None if overlap is None else Tile(128, overlap)
            ratios = []
            for seed in range(7, 7 + seeds):
                picture = self.made(seed=seed, size=LARGE, tile=tile, controls=self.units(LARGE))
                ratios.append(seam(picture))
                if seed == 7 and overlap in (0, 64):
                    told[f"tiles of 128, overlap {overlap}"] = picture
            print(f"overlap {overlap}: seam {statistics.mean(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})")
        self.sheet("tiles", told, 2)


def seam(picture):
    """How much more neighbours differ across the middle, where two of the tiles end, than across lines near it."""
    pixels = picture.astype(float)
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis)).mean(axis=(1 - axis, 2))
        edges = np.isin(np.arange(1, 256), (128,))
        near = np.isin(np.arange(1, 256), [place for place in range(96, 161) if place != 128])
        found.append(steps[edges].mean() / steps[near].mean())
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    told = parser.parse_args()
    ways = Ways(told.out)
    ways.img2img()
    ways.inpainting()
    ways.upscale()
    ways.tiles(told.seeds)


if __name__ == "__main__":
    main()
