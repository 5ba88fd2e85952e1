"""The report of a run of fuzzing: a table of its metrics, and the same as a JSON document."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_backdoor.report import text, words
from pytest_backdoor.report.json import SCHEMA
from pytest_backdoor.results import FuzzRun, fuzz_run_to_dict

NO_VERDICT = "adversarial inputs are no verdict, clean models have them too: pytest-backdoor scan gives one"
MOST = 5  # classes that are named


def render(run: FuzzRun, colour: bool) -> str:
    """The table and what it means, as text for a terminal; without colour it is plain ASCII."""
    sink = io.StringIO()
    console = text.console(sink, colour)
    if run.coverage is not None:
        console.print(_table(run, colour), "")
    path = words.visible(run.path)
    said = [NO_VERDICT] if run.coverage is not None else []
    said += [run.error] if run.error else []
    said += [f"saved in {run.saved}"] if run.saved else []
    for line in said:
        console.print(Text(f"{path}: {words.visible(line)}"))
    return text.stripped(sink)


def document(run: FuzzRun, tool: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """The run as a JSON document, schema 1."""
    entry = {"schema": SCHEMA, "tool": dict(tool), "options": dict(options), "fuzzing": fuzz_run_to_dict(run)}
    return json.dumps(entry, indent=2, allow_nan=False) + "\n"


def _table(run: FuzzRun, colour: bool) -> Table:
    table = text.empty_table(("metric", "value"), colour)
    shares = {"from": words.labels(run.before, MOST), "to": words.labels(run.after, MOST)} if run.adversarial else {}
    rows = {
        "settings": ", ".join(run.changed) or "defaults",
        "seeds": f"{run.seeds}, of which {run.flipped} flipped",
        "images": str(run.images),
        "adversarial inputs": str(run.adversarial),
        **(shares | {name: said for name, said in words.measures(run).items() if name != "to"}),
        "seconds": f"{run.seconds:.1f}",
    }
    for name, said in rows.items():
        table.add_row(Text(name), Text(said))
    return table
