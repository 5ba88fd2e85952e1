"""The summary in the terminal: a table of the models, then a picture of each trigger that was found."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_backdoor.report import picture, words
from pytest_backdoor.results import Finding, ScanResult

STYLES = {"backdoor": "bold red", "error": "bold yellow", "inconclusive": "yellow", "clean": "green"}
HEADINGS = ("verdict", "kind", "target", "size", "success", "p-value", "seconds", "model")
NUMBERS = {"size", "p-value", "seconds"}
# Lines are never broken here: the path comes last in its row, and a terminal wraps it without harm to copying it.
WIDTH = 100_000


def render(results: Sequence[ScanResult], colour: bool, pictures: bool) -> str:
    """The summary as text for a terminal; worst verdicts first, without colour it is plain ASCII."""
    ranked = sorted(results, key=lambda result: list(STYLES).index(result.verdict))
    sink = io.StringIO()
    terminal = console(sink, colour)
    terminal.print(_table(ranked, colour), "")
    for line in _notes(ranked):
        terminal.print(line)
    for result, finding in _found(ranked) if pictures else ():
        for line in _trigger(result, finding, colour):
            terminal.print(line)
    return stripped(sink)


def stripped(sink: io.StringIO) -> str:
    """What was written, without spaces that end a line and without empty lines that say nothing."""
    text = "\n".join(line.rstrip() for line in sink.getvalue().splitlines())
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def console(sink: io.StringIO, colour: bool) -> Console:
    """Writes what rich draws into the sink, never breaking a line."""
    # The environment is not asked: whoever calls knows the terminal, and rich would guess from the sink.
    return Console(
        file=sink,
        width=WIDTH,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        no_color=not colour,
        highlight=False,
        emoji=False,
        _environ={},
    )


def empty_table(headings: Sequence[str], colour: bool) -> Table:
    """A table without rows; numbers stand to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False) if colour else Table(box=box.MARKDOWN)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    return table


def _table(results: Iterable[ScanResult], colour: bool) -> Table:
    table = empty_table(HEADINGS, colour)
    for result in results:
        for row in _rows(result):
            table.add_row(Text(result.verdict, STYLES[result.verdict]), *row)
    return table


def _rows(result: ScanResult) -> Iterator[tuple[Text, ...]]:
    """The cells after the verdict: a row per finding, and one for a model without any."""
    name = words.visible(result.path)
    p_value = "" if result.p_value is None else f"{result.p_value:.2g}"
    rows = [_about(finding) for finding in result.findings] or [("", "", "", "")]
    return (tuple(Text(cell) for cell in (*row, p_value, f"{result.seconds:.1f}", name)) for row in rows)


def _about(finding: Finding) -> tuple[str, ...]:
    estimate, low, high = finding.attack_success
    success = f"{words.percent(estimate)} ({100 * low:.3g}-{100 * high:.3g})"  # a table has no room for more words
    extent = "whole image" if finding.size == 1 else f"{finding.pixels} px"
    return finding.kind, words.classes(finding, most=2), extent, success


def _notes(results: Iterable[ScanResult]) -> Iterator[Text]:
    """Why a model has no verdict, and what was left out before there was one."""
    for result in results:
        name = words.visible(result.path)
        if result.error:
            yield Text(f"{name}: {words.visible(result.error)}")
        if result.skipped and not result.findings:
            yield Text(f"{name}: skipped: {words.visible('; '.join(result.skipped))}")
        if result.self_test:
            yield Text(f"{name}: {words.visible(words.power(result.self_test))}")
        if result.fuzzing:
            yield Text(f"{name}: {words.visible(words.fuzzing(result.fuzzing))}")


def _found(results: Iterable[ScanResult]) -> Iterator[tuple[ScanResult, Finding]]:
    return ((result, finding) for result in results for finding in result.findings)


def _trigger(result: ScanResult, finding: Finding, colour: bool) -> Iterator[Text]:
    """The picture of one trigger, framed, under lines that say whose it is, where it lies and how to read it."""
    drawn = picture.read(Path(finding.trigger_path)) if finding.trigger_path else None
    if drawn is None:
        return
    rows = picture.coloured(drawn) if colour else picture.shaded(drawn)
    yield Text(f"\n{words.visible(result.path)}, trigger of {words.goal(finding)}: {drawn.place}\n")
    yield from (Text("  ") + row for row in picture.framed(rows))
    yield Text(f"\n  {picture.COLOURED if colour else picture.SHADED}; saved in {finding.trigger_path}")
