"""The deadline: who asks, and that it holds no longer than its block."""

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_backdoor import deadline
from pytest_backdoor.deadline import ask, in_time, time_limit
from pytest_backdoor.errors import BudgetSpentError
from pytest_backdoor.subject import BATCH
from tests.tiny import subject_of, two_pixels


@pytest.fixture
def clock(monkeypatch):
    """The time that loops see, to be set."""
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr(deadline, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


def taking_a_second(clock, steps):
    """The steps, each of which takes a second."""
    for step in steps:
        clock.now += 1
        yield step


def test_time_counts_from_the_beginning_and_is_up_behind_the_budget_only(clock):
    clock.now = 15.0
    with time_limit(5.0, begun=10.0):
        ask()
        clock.now = 15.1
        with pytest.raises(BudgetSpentError, match="the budget of 5 s was spent"):
            ask()
    ask()


def test_what_begins_too_late_is_not_done(clock):
    clock.now, done = 3.0, []
    with pytest.raises(BudgetSpentError), time_limit(2.0, begun=0.0):
        done.append("something")
    assert done == []


def test_without_a_budget_there_is_no_end(clock):
    clock.now = 1e12
    with time_limit(None, begun=0.0):
        assert list(in_time(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("outer", "inner", "spent"), [(2.0, 9.0, "2 s"), (9.0, 2.0, "2 s"), (None, 2.0, "2 s"), (2.0, None, "2 s")]
)
def test_of_two_limits_the_earlier_one_holds(clock, outer, inner, spent):
    with time_limit(outer, begun=0.0), time_limit(inner, begun=0.0):
        clock.now = 2.0
        ask()
        clock.now = 2.1
        with pytest.raises(BudgetSpentError, match=f"the budget of {spent} was spent"):
            ask()


def test_behind_the_inner_limit_the_outer_one_holds_again(clock):
    with time_limit(5.0, begun=0.0):
        with time_limit(1.0, begun=0.0):
            clock.now = 2.0
        ask()
        clock.now = 6.0
        with pytest.raises(BudgetSpentError, match="the budget of 5 s was spent"):
            ask()


def test_a_loop_ends_before_the_step_that_would_be_late(clock):
    steps = []
    with pytest.raises(BudgetSpentError), time_limit(2.5, begun=0.0):
        steps.extend(taking_a_second(clock, in_time(9)))
    assert steps == [0, 1, 2]


def test_a_prediction_ends_between_two_batches(clock):
    subject, images, sizes = subject_of(two_pixels(), (1, 2, 1)), np.zeros((2 * BATCH + 1, 1, 2, 1), "float32"), []
    with pytest.raises(BudgetSpentError), time_limit(1.5, begun=0.0):
        sizes.extend(map(len, taking_a_second(clock, subject._answers(images))))
    assert sizes == [BATCH, BATCH]
    with time_limit(9.0, begun=0.0):
        assert len(subject.predict(images)) == len(images)
