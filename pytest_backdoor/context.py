"""What a scan should know of the test it runs in: the options in force, who keeps its result, how to repeat it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult


def _keep_nothing(result: ScanResult) -> None:
    """Outside pytest nobody waits for the result but the caller."""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one test; the defaults are those of a plain script."""

    options: Options = field(default_factory=Options)
    record: Callable[[ScanResult], None] = _keep_nothing
    command: str | None = None  # repeats the test
    start: Path | None = None  # the folder where the run began, which a test may leave


# A context variable and not a global: pytest may run inside pytest.
CURRENT: ContextVar[Context] = ContextVar("pytest_backdoor", default=Context())  # noqa: B039 - it is frozen
