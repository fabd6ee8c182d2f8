"""The policies of the fast mode, each by itself: what is computed at which step."""

import pytest
import torch
from pydantic import ValidationError

from hackamore.controls.memory import Course
from hackamore.core.effort import EXACT, LEVELS, Fast, fast_of
from hackamore.core.errors import HackamoreError
from hackamore.core.residuals import Residuals


def steps_with(fast, total, of):
    return [index for index in range(total) if of(fast.at(index, total))]


def test_nothing_is_spared_unless_it_is_told():
    assert all(Fast().at(index, 20) == EXACT for index in range(20))


@pytest.mark.parametrize(
    ("fast", "guided"),
    [
        (Fast(guidance_end=0.5), [0, 1, 2, 3, 4]),
        (Fast(guidance_start=0.2), [2, 3, 4, 5, 6, 7, 8, 9]),
        (Fast(guidance_start=0.25, guidance_end=0.75), [3, 4, 5, 6, 7]),
        (Fast(guidance_end=0), []),
    ],
)
def test_guidance_has_an_interval(fast, guided):
    assert steps_with(fast, 10, lambda effort: effort.guided) == guided


def test_controls_run_at_every_kth_step():
    fast = Fast(control_every=3)
    assert steps_with(fast, 10, lambda effort: effort.controls == "run") == [0, 3, 6, 9]
    assert steps_with(fast, 10, lambda effort: effort.controls == "carry") == [1, 2, 4, 5, 7, 8]


def test_controls_end_as_a_window_does():
    assert steps_with(Fast(control_end=0.6), 10, lambda effort: effort.controls == "none") == [6, 7, 8, 9]


def test_the_whole_base_runs_at_every_kth_step_and_controls_only_then():
    fast = Fast(deep_every=2)
    assert steps_with(fast, 6, lambda effort: effort.deep) == [0, 2, 4]
    assert steps_with(fast, 6, lambda effort: effort.controls == "run") == [0, 2, 4]


def test_a_level_is_told_by_its_number():
    assert [fast_of(level) for level in (1, 2, 3)] == list(LEVELS.values())
    assert fast_of(None) is None
    assert fast_of(Fast(steps=3)) == Fast(steps=3)
    with pytest.raises(HackamoreError, match="no such level"):
        fast_of(4)


@pytest.mark.parametrize(
    "told", [{"control_every": 0}, {"guidance_end": 1.5}, {"steps": 0}, {"deep_layers": 0}, {"x": 1}]
)
def test_what_is_out_of_range_is_refused(told):
    with pytest.raises(ValidationError):
        Fast(**told)


def said(value, rows=2):
    return Residuals((torch.full((rows, 1, 1, 1), value),), torch.full((rows, 1, 1, 1), 10 * value))


def test_what_is_carried_on_lies_on_the_line_through_the_last_two():
    course = Course()
    for index, value in ((0, 7.0), (2, 1.0), (4, 2.0)):
        course.keep(index, 2, said(value))
    line, held = course.at(5, 2, "line"), course.at(5, 2, "hold")
    assert line.skips[0].flatten().tolist() == [2.5, 2.5]
    assert line.mid.flatten().tolist() == [25.0, 25.0]
    assert held.skips[0].flatten().tolist() == [2.0, 2.0]


def test_of_one_step_it_is_what_was_said_there():
    course = Course()
    course.keep(3, 2, said(1.5))
    assert course.at(4, 2, "line").skips[0].flatten().tolist() == [1.5, 1.5]


def test_the_prompts_half_is_the_last_and_more_rows_than_were_kept_are_unknown():
    course = Course()
    course.keep(0, 2, Residuals((torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1),)))
    assert course.at(1, 1, "line").skips[0].item() == 2.0
    course.keep(1, 1, Residuals((torch.tensor([5.0]).reshape(1, 1, 1, 1),)))
    assert course.at(2, 1, "line").skips[0].item() == 5.0  # no line through steps of other rows
    assert course.at(2, 2, "line") is None
