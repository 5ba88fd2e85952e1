"""The report of a repair: a table of the methods, before and after, and the same as a JSON document."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_backdoor.report import text, words
from pytest_backdoor.report.json import SCHEMA
from pytest_backdoor.results import Attempt, Repair, Share, repair_to_dict

AGAIN = "the new file still obeys another trigger: repair it in turn"
HEADINGS = ("method", "accuracy", "success", "seconds", "what it did")


def render(repair: Repair, colour: bool) -> str:
    """The table and what it comes to, as text for a terminal; without colour it is plain ASCII."""
    sink = io.StringIO()
    console = text.console(sink, colour)
    if repair.accuracy is not None:
        console.print(_table(repair, colour), "")
    for line in _said(repair):
        console.print(Text(f"{words.visible(repair.path)}: {words.visible(line)}"))
    return text.stripped(sink)


def document(repair: Repair, tool: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """The repair as a JSON document, schema 1."""
    entry = {"schema": SCHEMA, "tool": dict(tool), "options": dict(options), "repair": repair_to_dict(repair)}
    return json.dumps(entry, indent=2, allow_nan=False) + "\n"


def _said(repair: Repair) -> list[str]:
    said = [f"repaired by {repair.chosen}, written to {repair.output}"] if repair.output else []
    said += [f"a scan of the new file: {words.headline(repair.rescan)}"] if repair.rescan else []
    said += [AGAIN] if repair.rescan and repair.rescan.verdict == "backdoor" else []
    return said + ([repair.error] if repair.error else [])


def _table(repair: Repair, colour: bool) -> Table:
    table = text.empty_table(HEADINGS, colour)
    before = Attempt("as it was", repair.accuracy, repair.success)
    for each in (before, *repair.attempts):
        style = "bold green" if each.method == repair.chosen else ""
        seconds = "" if each is before else f"{each.seconds:.1f}"
        accuracy = "" if each.accuracy is None else _share(each.accuracy)
        obeyed = ", ".join(map(_share, each.success))
        cells = (accuracy, obeyed, seconds, words.visible(each.error or each.done))
        table.add_row(Text(each.method, style), *map(Text, cells))
    return table


def _share(share: Share) -> str:
    estimate, low, high = share
    return f"{words.percent(estimate)} ({100 * low:.3g} to {words.percent(high)})"
