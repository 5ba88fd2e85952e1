"""What a run found so far, gathered by the process that prints: from its own tests or from xdist's workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_backdoor.collect import ITEM, ModelItem, model_of
from pytest_backdoor.results import ScanResult

PHASES = {"setup", "call", "teardown"}


@dataclass(slots=True, eq=False)  # pytest keeps plugins in sets
class Gathered:
    """A pytest plugin that keeps every result, and what was found but not scanned."""

    config: pytest.Config
    results: list[ScanResult] = field(default_factory=list)
    tool: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, None] = field(default_factory=dict)  # node ids, in order
    deselected: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # node id -> first line of a failure
    notes: list[str] = field(default_factory=list)  # what was left out on purpose
    problems: list[str] = field(default_factory=list)  # what could not be read or written

    @property
    def missing(self) -> tuple[str, ...]:
        """The models that were found and not scanned."""
        return tuple(model_of(node_id, self.config) for node_id in self.waiting)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the results of a test once it is over, those of a model once it was scanned."""
        over = report.when == "teardown"
        if report.nodeid.endswith(f"::{ITEM}"):
            over = report.when == "call" or (report.when == "setup" and report.failed)
            if report.failed:
                self.failed.setdefault(report.nodeid, _first_line(report))
        # A worker that died, for lack of memory perhaps, leaves one report that belongs to no phase.
        if over or report.when not in PHASES:
            self._take(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes the models to be scanned."""
        self.waiting |= {item.nodeid: None for item in session.items if isinstance(item, ModelItem)}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Notes the models to be scanned by xdist's workers, which all collect the same."""
        self.waiting |= {node_id: None for node_id in ids if node_id.endswith(f"::{ITEM}")}

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Counts the models that -k, -m or --lf left out."""
        self.deselected += sum(isinstance(item, ModelItem) for item in items)

    def _take(self, report: pytest.TestReport) -> None:
        from pytest_backdoor.report.junit import results_in, tool_in

        results = results_in(report.user_properties)
        failure = self.failed.pop(report.nodeid, None)
        if failure and not results:
            path = model_of(report.nodeid, self.config)
            results = [ScanResult(path, "", "error", error=f"the scan itself failed: {failure}")]
        if results:
            self.waiting.pop(report.nodeid, None)
        self.results += results
        self.tool |= tool_in(report.user_properties)


def _first_line(report: pytest.TestReport) -> str:
    """What was raised, or how a worker died."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).partition("\n")[0]
