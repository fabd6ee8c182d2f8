import pytest
from hypothesis import given
from hypothesis import strategies as st

from hackamore.controls.schedule import Schedule, Window, parse_schedule, window
from hackamore.core.errors import HackamoreError

shares = st.floats(0, 1)


@given(st.integers(1, 200), shares, shares)
def test_window_is_the_stated_rule(total, a, b):
    start, end = sorted((a, b))
    active = [i for i in range(total) if Window(1.0, start, end).at(i, total)]
    assert active == [i for i in range(total) if i / total >= start and (i + 1) / total <= end]


def test_end_at_half_of_ten_steps_is_five():
    assert [Window(1.0, 0.0, 0.5).at(i, 10) for i in range(10)] == [1.0] * 5 + [0.0] * 5


def test_schedule_is_linear_between_points_and_holds_its_ends():
    schedule = parse_schedule("0.2@0.1/0.5@0.3/0@0.7")
    assert [round(schedule.at(i, 10), 6) for i in range(10)] == [0.2, 0.2, 0.35, 0.5, 0.375, 0.25, 0.125, 0, 0, 0]


@given(st.lists(st.tuples(shares, st.floats(-100, 100)), min_size=1, max_size=6, unique_by=lambda p: p[0]))
def test_schedule_text_round_trip_is_exact(points):
    schedule = Schedule(tuple(sorted(points)))
    assert parse_schedule(str(schedule)) == schedule


@pytest.mark.parametrize(
    "text", ["", "0.5", "a@b", "0.5@2", "0.5@0.4/1@0.2", "0.5@0.4/1@0.4", "nan@0.1", "0.5@", "1e9@0"]
)
def test_malformed_schedules_are_refused(text):
    with pytest.raises(HackamoreError):
        parse_schedule(text)


@pytest.mark.parametrize("told", [{"scale": float("nan")}, {"scale": 1e9}, {"start": 0.6, "end": 0.5}, {"end": 1.1}])
def test_windows_out_of_range_are_refused(told):
    with pytest.raises(HackamoreError):
        window(**told)
