"""The order of waiting jobs."""

from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hackamore.serving.queue import AGE, CLASSES, Pace, Queue, Waiting

CLASS = st.sampled_from(sorted(CLASSES))
ENTRIES = st.lists(
    st.builds(
        Waiting,
        id=st.uuids().map(str),
        created=st.floats(0, 100),
        priority=CLASS,
        live=st.sampled_from([None, None, "a", "b"]),
        attempts=st.sampled_from([0, 0, 0, 1, 2]),
        returned=st.sampled_from([False, False, True]),
        keys=st.sampled_from([{}, {"w": None}, {"w": "x"}, {"w": "y"}]),
    ),
    max_size=16,
    unique_by=(lambda one: one.id, lambda one: one.created),
)


def filled(entries, bound=100):
    queue = Queue(bound)
    for one in entries:
        queue.put(one)
    return queue


def drained(queue, now, **how):
    while taken := queue.take(now, "w", **how):
        yield taken


@given(ENTRIES, st.integers(1, 8), st.floats(0, 300))
def test_every_job_is_taken_once(entries, size, now):
    batches = list(drained(filled(entries), now, size=size))
    taken = [one.id for batch in batches for one in batch]
    assert sorted(taken) == sorted(one.id for one in entries)
    assert all(len(batch) <= size for batch in batches)


@given(ENTRIES, st.integers(2, 8))
def test_only_jobs_with_one_key_are_taken_together(entries, size):
    queue = filled(entries)
    for batch in drained(queue, 0.0, size=size):
        if len(batch) > 1:
            (key,) = {one.keys.get("w") for one in batch}
            assert key is not None
            assert not any(one.attempts for one in batch), "one that was begun before is worked on alone"
        elif batch[0].keys.get("w") is not None and not batch[0].attempts:
            alike = [one for one in queue.order(0.0) if one.keys.get("w") == batch[0].keys["w"] and not one.attempts]
            assert not alike, "what fits is taken along"


@given(ENTRIES, st.floats(0, 300))
def test_class_then_arrival_decides(entries, now):
    order = [one.id for (one,) in drained(filled(entries), now)]
    place = {job: k for k, job in enumerate(order)}
    for early in entries:
        for late in entries:
            if early.created < late.created and early.returned >= late.returned:
                better = CLASSES[early.priority] <= CLASSES[late.priority]
                if better or (now - early.created >= 2 * AGE and not late.returned):
                    assert place[early.id] < place[late.id]
            if early.returned > late.returned:
                assert place[early.id] < place[late.id]


@settings(max_examples=25)
@given(CLASS, st.lists(CLASS, min_size=60, max_size=60))
def test_nothing_starves(priority, others):
    """A job each second comes and a job each second is taken: the first is taken within two ages and a bit."""
    queue = filled([Waiting("it", 0.0, priority)] + [Waiting(f"before {k}", 0.001 * k + 0.001) for k in range(5)])
    for second, other in enumerate(others, 1):
        queue.put(Waiting(str(second), float(second), other))
        if any(one.id == "it" for one in queue.take(float(second), "w")):
            return
    raise AssertionError("it starved")


@given(ENTRIES, st.floats(0, 300))
def test_the_order_is_what_is_taken(entries, now):
    queue = filled(entries)
    order = [one.id for one in queue.order(now)]
    assert order == [one.id for (one,) in drained(queue, now)]


@given(ENTRIES, st.integers(0, 30), st.sampled_from([None, "a", "b"]))
def test_the_bound_does_not_count_what_is_replaced(entries, bound, live):
    queue = filled(entries, bound)
    replaced = [one for one in entries if live is not None and one.live == live]
    assert queue.of(live) == replaced
    assert queue.room(live) == (len(entries) - len(replaced) < bound)


@given(ENTRIES)
def test_suspects_wait_while_one_is_worked_on(entries):
    queue = filled(entries)
    taken = [one for batch in drained(queue, 0.0, size=4, careful=True) for one in batch]
    assert all(one.attempts < 2 for one in taken)
    assert all(one.attempts >= 2 for one in queue.order(0.0))
    assert len(taken) + len(queue) == len(entries)


def test_deadlines():
    queue = filled([Waiting("a", 1.0, deadline=5.0), Waiting("b", 2.0, deadline=4.0), Waiting("c", 3.0)])
    assert queue.next_deadline() == 4.0
    assert [one.id for one in queue.expired(4.0)] == ["b"]
    queue.remove("b")
    assert "b" not in queue
    assert queue.next_deadline() == 5.0


def test_a_clock_that_goes_back_harms_nobody():
    queue = filled([Waiting("late", 100.0, "low"), Waiting("live", 101.0, "live")])
    assert [one.id for one in queue.order(0.0)] == ["live", "late"]


@pytest.mark.parametrize(("workers", "expected"), [(1, 4), (2, 2), (100, 1)])
def test_room_is_told_from_the_pace_of_late(workers, expected):
    pace = Pace(workers)
    assert pace.room_in() >= 1
    for _ in range(40):
        pace.add(16.0, jobs=4)
    assert pace.room_in() == expected


def test_a_pace_is_never_without_a_number():
    class Asked(deque):
        def clear(self):
            super().clear()
            pace.room_in()  # as another thread may at this very moment

    pace = Pace(1)
    pace._seconds = Asked([2.0])
    pace.add(1.0)
    assert pace.room_in() == 1
