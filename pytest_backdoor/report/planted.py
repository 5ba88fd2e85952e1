"""The self-test's report: a table of the planted backdoors and what came of them, and the same as a JSON document."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_backdoor.report import text, words
from pytest_backdoor.report.json import SCHEMA
from pytest_backdoor.results import Planted, SelfTest, self_test_to_dict

HEADINGS = ("outcome", "family", "kind", "size", "success", "accuracy", "p-value", "seconds")
STYLES = {"found": "green", "found, wrongly named": "yellow", "missed": "bold red", "not planted": "dim"}


def render(test: SelfTest, colour: bool) -> str:
    """The table and what it comes to, as text for a terminal; without colour it is plain ASCII."""
    sink = io.StringIO()
    console = text.console(sink, colour)
    if test.plants:
        console.print(_table(test, colour), "")
    console.print(Text(f"{words.visible(test.path)}: {words.visible(_summary(test))}"))
    return text.stripped(sink)


def document(test: SelfTest, tool: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """The self-test as a JSON document, schema 1."""
    entry = {"schema": SCHEMA, "tool": dict(tool), "options": dict(options), "self_test": self_test_to_dict(test)}
    return json.dumps(entry, indent=2, allow_nan=False) + "\n"


def line(planted: Planted) -> str:
    """One backdoor in one line, to be printed when its copy was scanned."""
    return f"{words.visible(planted.name)}: {outcome(planted)} ({planted.seconds:.0f} s)"


def outcome(planted: Planted) -> str:
    """What came of one planted backdoor."""
    if not planted.planted:
        return "not planted"
    if not planted.found:
        return "missed"
    return "found" if planted.right else "found, wrongly named"


def _summary(test: SelfTest) -> str:
    said = words.power(test)
    if test.found is None:
        return said
    estimate, low, high = test.found
    return f"found {words.percent(estimate)} (99 % interval {100 * low:.3g} to {words.percent(high)}); {said}"


def _table(test: SelfTest, colour: bool) -> Table:
    table = text.empty_table(HEADINGS, colour)
    for each in test.plants:
        before, after = each.accuracy
        cells = (
            each.family,
            each.kind,
            words.extent_of(each),
            words.percent(each.success),
            f"{words.percent(before)} -> {words.percent(after)}",
            "" if each.p_value is None else f"{each.p_value:.2g}",
            f"{each.seconds:.1f}",
        )
        table.add_row(Text(outcome(each), STYLES[outcome(each)]), *map(Text, cells))
    return table
