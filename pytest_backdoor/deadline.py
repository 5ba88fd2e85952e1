"""Until when work may go on: its loops ask, so that a budget ends a long search, prediction or training too."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pytest_backdoor.errors import BudgetSpentError

_END: ContextVar[tuple[float, float]] = ContextVar("end and budget", default=(math.inf, math.inf))


@contextmanager
def time_limit(budget: float | None, begun: float) -> Iterator[None]:
    """What runs in here raises BudgetSpentError once so many seconds have gone since ``begun``; None: never.

    ``begun`` is a value of ``time.perf_counter``. A limit inside of another one is no later than that.
    """
    seconds = math.inf if budget is None else budget
    token = _END.set(min(_END.get(), (begun + seconds, seconds)))
    try:
        ask()
        yield
    finally:
        _END.reset(token)


def in_time(steps: int) -> Iterator[int]:
    """Counts so many steps, from 0; raises BudgetSpentError where the time is up before one."""
    for step in range(steps):
        ask()
        yield step


def ask() -> None:
    """Raises BudgetSpentError where the time is up."""
    end, budget = _END.get()
    if time.perf_counter() > end:
        raise BudgetSpentError(
            f"the budget of {budget:g} s was spent before all searches were done. Raise --backdoor-budget."
        )
