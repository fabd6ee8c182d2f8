"""What the options of a base do to its pictures, measured on Meadow: remakes the table in docs/bases.md.

python benchmarks/bases.py [--steps 8] [--out docs/bases.md] [--without-compile]
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from hackamore.bases.catalog import load_base
from hackamore.bases.view import view_of
from hackamore.generate import generate

PROMPT = "mountains with a lake at noon"
LONG = "mountains with a lake, a wide valley, far hills and meadows, pine trees at the left and the right of it, "
MARK = re.compile(r"(?<=<!-- figures -->\n).*(?=<!-- end -->)", re.DOTALL)
DOC = Path(__file__).parents[1] / "docs" / "bases.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=DOC)
    parser.add_argument("--without-compile", action="store_true")
    told = parser.parse_args()
    base = load_base("meadow", device="cpu")
    measured = Measured(base, told.steps)
    rows = [
        *lora(measured),
        *words(measured),
        *offloads(measured),
        *tiles(measured),
        *types(measured),
        *([] if told.without_compile else compiled(measured)),
    ]
    lines = ["| option | figure |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in rows)]
    machine = f"\nMeadow, {told.steps} steps, fp32, torch {torch.__version__}, {torch.get_num_threads()} threads, "
    table = "\n".join(lines) + "\n" + machine + f"{platform.machine()}.\n"
    print(table)
    told.out.write_text(MARK.sub(lambda _: table, told.out.read_text(encoding="utf-8")), encoding="utf-8")


class Measured:
    """The plain base's picture, and other bases' beside it."""

    def __init__(self, base, steps):
        self.base, self.steps = base, steps
        self.latents = self.make(base).latents

    def make(self, base, prompt=PROMPT, **more):
        return generate(base, prompt, seed=1, steps=self.steps, **more)

    def difference(self, base):
        return float((self.make(base).latents.float() - self.latents.float()).abs().max())

    def ratio(self, base, runs=3):
        """Seconds of ``base`` ÷ seconds of the plain base, medians, one after the other."""
        taken = {id(base): [], id(self.base): []}
        for _ in range(runs):
            for one in (base, self.base):
                start = time.perf_counter()
                self.make(one)
                taken[id(one)].append(time.perf_counter() - start)
        return statistics.median(taken[id(base)]) / statistics.median(taken[id(self.base)])


def lora(measured):
    """A LoRA beside the same base with the products added to its weights."""
    base, generator = measured.base, torch.Generator().manual_seed(0)
    fused = base.view()
    tensors, scale = {}, 0.7
    for name, layer in view_of(base.unet).named_modules():
        if not name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            continue
        down, up = (torch.randn(4, layer.in_features, generator=generator) * 0.02 for _ in range(2))
        up = torch.randn(layer.out_features, 4, generator=generator) * 0.5
        tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        target = fused.unet.get_submodule(name)
        target.weight = torch.nn.Parameter(target.weight + scale * (up @ down), requires_grad=False)
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "layers.safetensors")
        mine = load_base("meadow", device="cpu", loras=[(Path(folder) / "layers.safetensors", scale)])
    apart = float((measured.make(mine).latents - measured.make(fused).latents).abs().max())
    effect = measured.difference(mine)
    return [
        ("LoRA of rank 4 on every attention, scale 0.7", f"{apart:.1e} from the same products added to the weights "
         f"(the file changes the latents by {effect:.2f}); {measured.ratio(mine):.2f} × the time")
    ]  # fmt: skip


def words(measured):
    base = measured.base

    def light(prompt):
        return measured.make(base, prompt).images[0].pixels.mean()

    weights = [light(f"mountains with a lake, ({{}}:{weight}), sunrise".format("night")) for weight in (0.5, 1, 1.5)]
    noon, night = light(LONG + "at noon"), light(LONG + "at night")
    tokens = len(base.tokenizer(LONG + "at noon", verbose=False).input_ids)
    return [
        ("word weights: `…, (night:w), sunrise` with w = 0.5, 1, 1.5",
         "mean brightness " + ", ".join(f"{value:.0f}" for value in weights)),
        (f"long prompt: {tokens} tokens in chunks of {base.encoders()[0].length}, its end “at noon” or “at night”",
         f"mean brightness {noon:.0f} or {night:.0f}"),
    ]  # fmt: skip


def offloads(measured):
    rows = []
    for kind in ("model", "sequential"):
        mine = load_base("meadow", device="cpu", offload=kind)
        figure = f"latents differ by {measured.difference(mine):g}; {measured.ratio(mine):.2f} × the time (on a CPU)"
        rows.append((f"offload {kind}", figure))
    return rows


def tiles(measured):
    latents = measured.make(measured.base, size=(384, 256)).latents
    latents = torch.cat([latents, latents.flip(3)])
    whole = measured.base.decode(latents)
    rows = []
    for name in ("slicing", "tiling"):
        mine = load_base("meadow", device="cpu", **{name: True})
        apart = (mine.decode(latents) - whole).abs() * 127.5
        figure = f"mean {apart.mean():.2g}, largest {apart.max():.2g} of 255 levels"
        edge = mine.vae.tile_sample_min_size
        rows.append((f"{name}, two pictures of 384×256" + (f", tiles of {edge}" if name == "tiling" else ""), figure))
    return rows


def types(measured):
    whole = measured.make(measured.base).images[0].pixels.astype(float)
    rows = []
    for dtype in ("fp16", "bf16"):
        made = measured.make(load_base("meadow", device="cpu", dtype=dtype)).images[0].pixels
        error = ((made - whole) ** 2).mean()
        figure = (
            "the same picture" if error == 0 else f"{10 * torch.tensor(255**2 / error).log10():.1f} dB PSNR to fp32"
        )
        rows.append((dtype, figure))
    return rows


def compiled(measured):
    mine = load_base("meadow", device="cpu", compile=True)
    start = time.perf_counter()
    difference = measured.difference(mine)
    seconds = time.perf_counter() - start
    return [("compile", f"latents differ by {difference:.1e}; the first picture took {seconds:.0f} s, "
             f"further ones {measured.ratio(mine):.2f} × the time")]  # fmt: skip


if __name__ == "__main__":
    main()
