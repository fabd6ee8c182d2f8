"""The learning rate of a control where none is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hackamore.training.control_stage import ControlStage, usual_lr


def stage(tmp_path: Path, **run: Any) -> ControlStage:
    return ControlStage(kind="canny", data={"path": "worlds"}, output=tmp_path, run=run)


def test_it_falls_with_the_width_of_the_base(meadow: Any, sd1: Any) -> None:
    assert usual_lr(meadow) == pytest.approx(5e-4)
    assert usual_lr(sd1) * sd1.sites.skips[0] == pytest.approx(usual_lr(meadow) * 64, rel=1e-2)


def test_it_is_taken_where_none_is_told(meadow: Any, tmp_path: Path) -> None:
    assert stage(tmp_path).settled(meadow).run.lr == usual_lr(meadow)
    assert stage(tmp_path, lr=2e-5).settled(meadow).run.lr == 2e-5
