"""Model cards of Meadow, of each of its controls and of its live edition, from the figures that are measured:
python benchmarks/model_cards.py

Reads configs/meadow/history.json (what was trained where, and for how long) and docs/*.json; writes a README.md into
each folder of weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hackamore.bases.catalog import MEADOW
from hackamore.controls.catalog import embedded, own_controls

HISTORY, DOCS = Path("configs/meadow/history.json"), Path("docs")
WATTS = 12
"""Power of one busy thread of such a server with its share of the rest, an estimate."""
FAILURES = {
    "base": "Soft where a world has detail finer than eight pixels. Landscapes, and people in them, in the words of "
    "its captions; other words are noise to it. Hands and faces are a few pixels. Photographs are not what it saw.",
    "control": "What is finer than eight pixels of a hint is followed only roughly. Trained on worlds: hints of "
    "photographs and hands are followed less closely than those of worlds.",
    "live": "Fewer details and less variety than twenty guided steps; negative prompts do nothing without guidance.",
}


def cost(parts: tuple[str, ...]) -> list[str]:
    """A table of the stages of ``parts``, and their sum."""
    rows = [row for row in json.loads(HISTORY.read_text(encoding="utf-8")) if row["part"] in parts]
    hours = sum(row["minutes"] * row["threads"] for row in rows) / 60
    lines = ["| stage | samples | minutes | threads | machine | commit |", "| --- | --- | --- | --- | --- | --- |"]
    names = ("stage", "samples", "minutes", "threads", "machine", "commit")
    lines += ["| " + " | ".join(f"{row[name]:,}" if name == "samples" else str(row[name]) for name in names) + " |"
              for row in rows]  # fmt: skip
    return [*lines, "", f"Together {hours:.1f} hours of one thread, about {hours * WATTS / 1000:.2f} kWh at {WATTS} W."]


def figures(kinds: tuple[str, ...]) -> list[str]:
    """Control fidelity of ``kinds`` as docs/fidelity.json has it."""
    told = json.loads((DOCS / "fidelity.json").read_text(encoding="utf-8"))
    lines = ["| figure | off | on | shuffled | ceiling | normalised |", "| --- | --- | --- | --- | --- | --- |"]
    for control in told["controls"]:
        for row in control["rows"] if control["kind"] in kinds else ():
            on = row["on"][0]
            values = [row["off"], on["figure"], on["floor"], row["ceiling"], on["normalised"]]
            lines.append("| " + " | ".join([f"{control['kind']}: {row['name']}", *map(number, values)]) + " |")
    return lines if len(lines) > 2 else ["Not measured."]


def number(figure: dict[str, Any] | None) -> str:
    """A figure in three digits."""
    return "–" if figure is None or figure.get("value") is None else f"{figure['value']:.3f}"


def card(title: str, what: str, parts: tuple[str, ...], shown: list[str], picture: str, failures: str) -> str:
    """One page."""
    sections = {
        "Data": ["Rendered landscapes (`hackamore world`), nothing else: no photograph, no text of anybody's."],
        "Cost": cost(parts),
        "Figures": shown,
        "Samples": [picture],
        "Failures": [failures],
        "Licence": ["Apache-2.0, weights included."],
    }
    lines = [f"# {title}", "", what]
    for name, body in sections.items():
        lines += ["", f"## {name}", "", *body]
    return "\n".join(lines) + "\n"


def main() -> None:
    def write(folder: Path, text: str) -> None:
        (folder / "README.md").write_text(text, encoding="utf-8")
        print(folder / "README.md")

    pages = "docs/meadow.md, docs/autoencoder.json, docs/inspector.md and docs/fidelity.md of the repository"
    what = "A small text-to-image latent diffusion model in Stable Diffusion's layout (velocity, zero terminal SNR)."
    parts = ("worlds", "vae", "base", "inspector")
    write(MEADOW, card("Meadow", what, parts, [f"See {pages}."], "docs/meadow-samples.jpg", FAILURES["base"]))
    for name, folder in embedded().items():
        kind = name.partition("/")[2]
        types = tuple(one for one, owner in own_controls("meadow").items() if owner == name) or (kind,)
        what, picture = f"Steers Meadow by hints of {', '.join(types)}.", f"docs/meadow-{kind}-*.jpg"
        told = card(f"Meadow's control {kind}", what, (kind,), figures(types), picture, FAILURES["control"])
        write(folder, told)
    if (MEADOW / "live").is_dir():
        what = "A LoRA that makes Meadow's pictures in four steps without guidance."
        write(MEADOW / "live", card("Meadow, live", what, ("live",), figures(("live",)), "docs/meadow-live.jpg",
                                    FAILURES["live"]))  # fmt: skip


if __name__ == "__main__":
    main()
