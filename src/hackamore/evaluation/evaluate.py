"""Evaluate controls: control fidelity in every column, quality, and a report; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hackamore.annotators.inspector import load_inspector
from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require
from hackamore.core.files import written_whole
from hackamore.core.image import Picture
from hackamore.data.evaluation import Example, Source
from hackamore.evaluation.cells import Cell, Sampling, make_pictures, make_reconstructions, psnr
from hackamore.evaluation.features import clip_scorer, judge_hash
from hackamore.evaluation.fidelity import scores
from hackamore.evaluation.judge import Judged, Pictures, judge
from hackamore.evaluation.plan import Asked, Cells, Request, check_sampling, claim, labels, lay_out, settings
from hackamore.evaluation.quality import Critic
from hackamore.evaluation.report import strips, write_report
from hackamore.evaluation.results import Evaluation, Quality
from hackamore.evaluation.score import Score
from hackamore.metrics.distribution import require_inception

RESULTS, REPORT = "evaluation.json", "report.html"

Progress = Callable[[str, int, int], None]
"""Told the stage in words, how much of it is done, and how much it is."""


def evaluate(
    base: Any,
    asked: Sequence[Asked],
    source: Source,
    out: Path | str,
    request: Request,
    how: Sampling,
    *,
    clip: Path | None = None,
    inception: bool = False,
    progress: Progress = lambda stage, done, total: None,  # noqa: ARG005
) -> Evaluation:
    """Evaluate each of ``asked`` on the examples of ``source``; everything that is made goes to ``out``.

    Pictures that an earlier call with the same settings left in ``out`` are kept. ``clip`` is the folder of a CLIP
    model, ``inception`` adds the distances on Inception's features. Raises :class:`HackamoreError` for wrong input
    before anything is written.
    """
    out = Path(out)
    require("torchmetrics", "eval", "evaluation")
    if inception:
        require_inception()
    if not asked or {one.kind for one in asked} != set(source.kinds):
        kinds = ", ".join(one.kind for one in asked) or "no control"
        raise HackamoreError("controls and data do not fit", received=kinds, expected=", ".join(source.kinds))
    request.check()
    check_sampling(base, how)
    named = dict(zip(labels(asked), asked, strict=True))
    known = {label: scores(one.kind, **one.parameters) for label, one in named.items()}
    clip_score = None if clip is None else clip_scorer(clip)
    told = settings(base, asked, source, request, how)
    claim(out, told)

    groups = {label: source.group(one.kind) for label, one in named.items()}
    total = len(set(groups.values())) * source.count
    examples = source.read(base.size, lambda done: progress("reading the data", done, total))
    work = _Work(named, known, groups, examples, lay_out(out, asked, examples, source, request), progress)
    work.make(base, how)
    pictures = {label: work.pictures(label) for label in named}
    judged = work.judge(pictures)
    critics = {group: _critic(some, clip_score, inception) for group, some in examples.items()}
    result = Evaluation(
        settings=told,
        judge=judge_hash(),
        count=source.count,
        autoencoder_psnr={groups[label]: round(psnr(p.seen, p.true), 2) for label, p in pictures.items()},
        controls=tuple(one.result for one in judged.values()),
        quality=tuple(work.quality(critics, pictures, judged)),
    )
    with written_whole(out / RESULTS) as path:
        path.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    shown = {
        label: strips(examples[groups[label]], one, known[label][0], pictures[label], judged[label])
        for label, one in named.items()
    }
    write_report(out / REPORT, result, shown)
    return result


@dataclass(frozen=True)
class _Work:
    """An evaluation under way: controls, their scores and groups by label, examples by group, cells by label."""

    asked: Mapping[str, Asked]
    scores: Mapping[str, Sequence[Score]]
    groups: Mapping[str, str]
    examples: Mapping[str, Sequence[Example]]
    cells: Mapping[str, Cells]
    progress: Progress

    def make(self, base: Any, how: Sampling) -> None:
        """Make every picture that is missing."""
        seen = {self.groups[label]: cells.seen for label, cells in self.cells.items()}
        total = sum(len(cell.captions) for cell in seen.values())
        for place, (group, cell) in enumerate(seen.items()):
            true = [example.picture for example in self.examples[group]]
            make_reconstructions(base, cell, true, self.told("the autoencoder", place * len(true), total))
        unique: dict[Path, Cell] = {}
        for cells in self.cells.values():
            told = [cells.off] if cells.off is not None else []
            unique |= {cell.folder: cell for cell in (*told, *cells.on, *cells.candidates)}
        total = sum(len(cell.captions) for cell in unique.values())
        make_pictures(base, list(unique.values()), how, self.told("making pictures", 0, total))

    def told(self, stage: str, before: int, total: int) -> Callable[[int], None]:
        """Progress of a part of a stage, ``before`` of whose ``total`` is done already."""
        return lambda done: self.progress(stage, before + done, total)

    def pictures(self, label: str) -> Pictures:
        """All pictures of a control, from disk."""
        cells = self.cells[label]
        return Pictures(
            true=[example.picture for example in self.examples[self.groups[label]]],
            seen=cells.seen.pictures(),
            off=None if cells.off is None else cells.off.pictures(),
            on={cell.scale: cell.pictures() for cell in cells.on},
            candidates=[cell.pictures() for cell in cells.candidates],
        )

    def judge(self, pictures: Mapping[str, Pictures]) -> dict[str, Judged]:
        """The figures of every control."""
        total, before, judged = sum(p.count for p in pictures.values()), 0, {}
        for label, one in self.asked.items():
            hints = [example.truth(one.kind, one.parameters) for example in self.examples[self.groups[label]]]
            names = {"label": label, "kind": one.kind, "control": one.control.name, "data": self.groups[label]}
            told = self.told("reading pictures", before, total)
            judged[label] = judge(self.scores[label], hints, pictures[label], names, told)
            before += pictures[label].count
        return judged

    def quality(
        self, critics: Mapping[str, Critic], pictures: Mapping[str, Pictures], judged: Mapping[str, Judged]
    ) -> list[Quality]:
        """The figures of every set of pictures; sets that controls share are told once."""
        sets: dict[tuple[str, str], Sequence[Picture]] = {}
        for label, told in pictures.items():
            group = self.groups[label]
            sets[group, "true pictures"] = told.true
            sets[group, "through the autoencoder"] = told.seen
            if told.off is not None:
                sets[group, "off"] = told.off
        for label, told in pictures.items():
            sets |= {(self.groups[label], f"{label}, scale {scale:g}"): some for scale, some in told.on.items()}
            if judged[label].best is not None:
                sets[self.groups[label], f"{label}, best of {len(told.candidates) + 1}"] = judged[label].best or []
        rows = []
        for (group, name), some in sets.items():
            rows.append(Quality(pictures=name, data=group, figures=critics[group](some)))
            self.progress("quality", len(rows), len(sets))
        return rows


def _critic(examples: Sequence[Example], clip: Callable[[Picture, str], float] | None, inception: bool) -> Critic:
    known = [example.attributes for example in examples if example.attributes is not None]
    return Critic(
        load_inspector(),
        [example.picture for example in examples],
        [example.caption for example in examples],
        known or None,
        clip,
        inception,
    )
