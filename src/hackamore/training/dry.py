"""``hackamore train --check``: everything is looked at, and nothing is trained."""

from __future__ import annotations

from collections.abc import Callable

from hackamore.data.check import check_data
from hackamore.data.check_report import Report
from hackamore.training.build import encodes_ahead, open_data
from hackamore.training.control_stage import ControlStage
from hackamore.training.disk import disk_of
from hackamore.training.estimate import estimate
from hackamore.training.forms import make_form
from hackamore.training.forms.write import written_bytes
from hackamore.training.objective import Objective
from hackamore.training.unread import unread


def dry_run(stage: ControlStage, progress: Callable[[int, int], None] | None = None) -> Report:
    """Open every pair that ``stage`` would train on, on all cores, and estimate memory and disk.

    Raises :class:`HackamoreError` for settings that no training accepts, and for data that cannot be opened at all.
    ``progress`` gets (pairs opened, pairs in all).
    """
    from hackamore.bases.catalog import load_base

    stage.check()
    base = load_base(stage.base, dtype=stage.memory.base_dtype, backend="torch")
    form = make_form(base, stage.control, stage.kinds)
    Objective(base.scheduler_config, stage.objective)
    dataset = open_data(stage, stage.size or base.size, base, strict=False)
    need = stage.data.captions == "need"
    report = check_data(dataset, ends=unread(base), need_captions=need, progress=progress)
    found = estimate(
        base,
        form,
        stage.run,
        stage.memory,
        dataset.sizes,
        variants=dataset.variants,
        captions=len(set(dataset.texts)),
        ahead=encodes_ahead(stage, dataset, base),
        reward=stage.reward,
    )
    trained = [weight for weight in form.parameters() if weight.requires_grad]
    disk = disk_of(trained, stage.run, written_bytes(form), stage.output, probed=stage.probe.every > 0)
    return report.beside({**found.facts(), **disk.facts()}, [*found.findings(), *disk.findings()])
