"""The model card: ``README.md`` beside a finished control, in the hub's format, and its curves as a picture."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData

from hackamore.core.files import written_whole
from hackamore.training import history
from hackamore.training.advice import advise
from hackamore.training.samples import sample_files
from hackamore.training.watch import words
from hackamore.training.watch.curves import curves_of, write_png
from hackamore.training.watch.private import hub_name, openly, public, without_paths
from hackamore.training.watch.push import chosen_files
from hackamore.training.watch.record import Record, flat, form_words
from hackamore.training.watch.usage import config_of, pipeline_of, with_diffusers, with_hackamore
from hackamore.training.watcher import Outcome

MARK = "<!-- written by hackamore train -->"
"""A README.md without it is somebody's own and is left alone."""
KEPT = ("license", "license_name", "license_link", "language", "datasets")
"""What a user added to the front matter of an earlier card stays."""
TAGS = {
    "controlnet": ("controlnet",),
    "union": ("controlnet", "controlnet-union"),
    "xs": ("controlnet", "controlnet-xs"),
    "control-lora": ("controlnet", "control-lora"),
    "t2i-adapter": ("t2iadapter",),
    "t2i-adapter-light": ("t2iadapter",),
}
"""By which words the hub's searches find a form."""
COLUMNS = ("figure", "floor", "ceiling", "normalised", "gain", "captions")
HEADS = ("figure", "floor", "ceiling", "learned", "hint gain", "captions")


class Card(Record):
    """Writes ``README.md`` and ``curves.png`` when the control is finished; ``repo`` is where it will be pushed to.

    The settings' ``facts`` (names → values: how many pairs, their hash, their layout) are told of the data.
    A README.md that this did not write is kept, and the card becomes ``MODEL_CARD.md``.
    """

    def __init__(self, repo: str | None = None) -> None:
        super().__init__()
        self.repo = repo

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Write both, unless the run was stopped or failed."""
        super().ends(done, outcome, words)
        if outcome not in ("done", "early"):
            return
        output = self.started.output
        drawn = curves_of(self.rows)
        if drawn:
            write_png(output / "curves.png", drawn)
        path, kept = _place(output)
        with written_whole(path) as temporary:
            temporary.write_text(card(self, self.repo, bool(drawn), kept), encoding="utf-8")


def _place(output: Path) -> tuple[Path, dict[str, Any]]:
    """Where the card goes, and what of an earlier one's front matter is kept."""
    path = output / "README.md"
    if not path.exists():
        return path, {}
    text = path.read_text(encoding="utf-8", errors="replace")
    if MARK not in text:
        return output / "MODEL_CARD.md", {}
    try:
        earlier = ModelCard(text, ignore_metadata_errors=True).data.to_dict()  # type: ignore[no-untyped-call]
    except ValueError:  # the front matter was edited to something that is no YAML
        return path, {}
    return path, {name: earlier[name] for name in KEPT if name in earlier}


def card(record: Record, repo: str | None, curves: bool, kept: Mapping[str, Any]) -> str:
    """The card as text: front matter and Markdown, without a path of this machine."""
    settings = record.started.settings
    told = _told(settings)
    parts = [
        f"---\n{_front(record, told, kept)}\n---",
        MARK,
        f"# {_title(told)}",
        _what(record, told),
        "## How to use it",
        *_usage(record, told, repo),
        *_files(record.started.output),
        *_fidelity(record),
        *(["![curves of the run](curves.png)"] if curves else []),
        *_samples(record),
        "## Data",
        _list(_data(settings)),
        "## Cost",
        _list(_cost(record)),
        *_warnings(record),
        "## Limits",
        _list(_limits(record, told)),
        "## Settings",
        _settings(settings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Base, kinds and form by their public names."""
    kind = settings.get("kind") or ()
    control = settings.get("control")
    return {
        "base": str(public(str(settings.get("base") or ""))),
        "kinds": [kind] if isinstance(kind, str) else list(kind),
        "form": control.get("form", "control") if isinstance(control, Mapping) else "control",
    }


def _front(record: Record, told: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    config = config_of(record.started.output)
    fits = pipeline_of(config) is not None
    base = told["base"] if hub_name(told["base"]) else None
    tags = ["hackamore", *(["diffusers"] if fits else []), "text-to-image", *TAGS.get(told["form"], ()), *told["kinds"]]
    data = ModelCardData(
        base_model=base, library_name="diffusers" if fits else "hackamore", tags=list(dict.fromkeys(tags)), **kept
    )
    return str(data.to_yaml()).strip()


def _title(told: Mapping[str, Any]) -> str:
    form = form_words(told["form"])
    what = f"{form} for {', '.join(told['kinds'])}" if told["kinds"] else form
    return what[0].upper() + what[1:] + (f" on {told['base']}" if told["base"] else "")


def _what(record: Record, told: Mapping[str, Any]) -> str:
    kinds = " and ".join(told["kinds"]) or "hints"
    base = f"`{told['base']}`" if told["base"] else "its base"
    last = record.last()
    found = "" if last is None else f" After {last[0]:,} steps: {words.learned(last[1])}."
    return (
        f"A control ({form_words(told['form'])}) that steers {base} by {kinds}: the base's weights stay as they are. "
        f"It was trained with Hackamore for {record.done:,} steps.{found}"
    )


def _usage(record: Record, told: Mapping[str, Any], repo: str | None) -> Iterator[str]:
    """Both snippets, run where the folder of the control is, or from the hub."""
    name = repo or record.started.output.resolve().name
    yield "With Hackamore" + ("" if repo else f", where the folder `{name}` is") + ":"
    yield f"```python\n{with_hackamore(name, told['base'], told['kinds'])}\n```"
    theirs = with_diffusers(name, told["base"], record.started.output)
    if theirs is not None:
        yield "With diffusers, the hint drawn as a picture:"
        yield f"```python\n{theirs}\n```"


def _files(output: Path) -> Iterator[str]:
    """The files of weights: every layout that the form is known in."""
    found = [path for path in chosen_files(output) if path.suffix == ".safetensors"]
    if found:
        yield "Files:"
        yield _list((f"`{path.relative_to(output).as_posix()}`", _layout(path)) for path in found)


def _layout(path: Path) -> str:
    size = f"{path.stat().st_size / 1e6:,.1f} MB"
    if path.parent.name == "unet":
        return f"the base's own network, trained along; it takes the place of the base's, {size}"
    theirs = (path.parent / "config.json").exists() and path.name == "diffusion_pytorch_model.safetensors"
    return f"{'in the layout of diffusers' if theirs else 'one file, in the original layout'}, {size}"


def _fidelity(record: Record) -> Iterator[str]:
    last, best = record.last(), history.best(record.rows)
    if last is None or best is None:
        return
    yield "## Control fidelity"
    whose = _on(record.started.settings.get("facts"))
    yield (
        f"How well the hint read back from a made picture agrees with the hint that was given{whose}. Floor: the "
        "same pictures against the hints of others. Ceiling: the true pictures through the base's autoencoder. "
        "Learned: 0 is the floor, 1 the ceiling. Hint gain: the share by which the loss grows with another's hint."
    )
    lines = [("at the end", last[0], last[1])]
    lines += [("at its best", best.step, best.found)] if best.step != last[0] else []
    head = ["probe", "step", *HEADS]
    body = [[name, f"{step:,}", *_cells(found, "")] for name, step, found in lines]
    body += [[kind, f"{last[0]:,}", *_cells(last[1], f"{kind}.")] for kind in _kinds(last[1])]
    yield _table(head, body)
    jump = history.sudden(record.rows)
    if jump is not None:
        yield f"{str(jump)[0].upper()}{str(jump)[1:]}."


def _on(facts: Any) -> str:
    facts = facts if isinstance(facts, Mapping) else {}
    count = facts.get("probed on")
    whose = "that were held back" if facts.get("held back") else "of other data"
    return f", on {count} examples {whose}" if count else ""


def _kinds(found: Mapping[str, Any]) -> list[str]:
    """The kinds of a union's probe."""
    return [name.removesuffix(".figure") for name in found if name.endswith(".figure")]


def _cells(found: Mapping[str, Any], prefix: str) -> list[str]:
    values = [history.known(found, prefix + name) for name in COLUMNS]
    return ["–" if value is None else words.number(value) for value in values]


def _samples(record: Record) -> Iterator[str]:
    newest = sample_files(record.started.output / "samples")[-1:]
    for step, path in newest:
        yield "## Samples"
        yield f"Step {step:,}; the same examples with the control and without it."
        yield f"![samples of step {step}](samples/{path.name})"


def _data(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the settings and their ``facts`` tell of the data."""
    data, facts = settings.get("data"), settings.get("facts")
    yield from flat(openly(facts)).items() if isinstance(facts, Mapping) else ()
    told = openly(data) if isinstance(data, Mapping) else {"path": public(data)} if data else {}
    told.pop("cache", None)
    yield from flat(told).items()


def _cost(record: Record) -> Iterator[tuple[str, str]]:
    run = record.started.run
    yield "training time", f"about {words.duration(record.seconds())}"
    yield "steps", f"{record.done:,}"
    yield "samples seen", f"{record.done * run.batch_size:,} ({run.batch_size} a step)"
    peak = max((value for _, value in words.points(record.rows, "memory_mib")), default=None)
    if peak is not None:
        yield "memory at most", words.memory(peak)
    yield "machine", machine()


def machine() -> str:
    """Processor or graphics card, and PyTorch's version."""
    if torch.cuda.is_available():
        place = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}"
    else:
        info = Path("/proc/cpuinfo")
        found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
        place = f"{found[1].strip() if found else platform.machine()}, {os.cpu_count()} cores"
    return f"{place}; PyTorch {torch.__version__}"


def _warnings(record: Record) -> Iterator[str]:
    """Warnings of the run, and what its course advises."""
    run = record.started.run
    told = [f"{text} (step {step:,})" for step, text in words.warnings(record.rows)]
    told += advise(record.rows, steps=run.steps, batch_size=run.batch_size, ended=True, warmup=run.warmup)
    if told:
        yield "## Warnings and advice"
        yield "\n".join(f"- {without_paths(text)}" for text in told)


def _limits(record: Record, told: Mapping[str, Any]) -> Iterator[str]:
    base = f"`{told['base']}`" if told["base"] else "its base"
    yield f"It was made for {base}; on other bases of the same shape it works as far as they resemble it."
    yield "Hints are RGB in [0, 1]; hints of another polarity, line width or palette than the training's weaken it."
    if record.last() is None:
        yield "No control fidelity was measured while it trained."
    else:
        yield "Its figures are of few examples and carry their noise; `hackamore evaluate` gives intervals."
    yield "What the base cannot paint, and what its data shows one-sidedly, the control does not mend."
    yield "The licence is for its maker to choose: add `license:` to the front matter."


def _settings(settings: Mapping[str, Any]) -> str:
    told = {name: value for name, value in settings.items() if name not in ("facts", "output", "track", "data")}
    return _table(["setting", "value"], [[f"`{name}`", value] for name, value in flat(openly(told)).items()])


def _list(told: Iterable[tuple[str, str] | str]) -> str:
    return "\n".join(f"- {one}" if isinstance(one, str) else f"- {one[0]}: {one[1]}" for one in told)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if body else ""
