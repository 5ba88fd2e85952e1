"""What pytest's terminal says about a run: the header before, the section after; and the reports beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pytest_backdoor import options as option
from pytest_backdoor import tool, values
from pytest_backdoor.collect import is_hardened
from pytest_backdoor.errors import OptionError
from pytest_backdoor.files import PATTERNS, WEIGHTS_ONLY
from pytest_backdoor.gathered import Gathered
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult


def header(config: pytest.Config, options: Options) -> list[str]:
    """Version, what decides about verdicts, the flags that repeat the run, and a warning about untrusted trees."""
    deciding = f"profile {options.profile}, alpha {options.alpha:g}, seed {options.seed}"
    flags = option.describe(options, "--" if is_hardened(config) else option.PREFIX)
    lines = [f"backdoor: version {tool.version()}, {deciding}" + (f"; repeat with {flags}" if flags else "")]
    outside = [] if is_hardened(config) or not config.getoption("backdoor_scan") else _outside(config)
    if outside:
        lines.append(
            f"backdoor: WARNING: {', '.join(outside)} is outside this project, and pytest runs the conftest.py,"
            " test files and settings it finds there. For files from strangers use: pytest-backdoor scan"
        )
    return lines


def write(gathered: Gathered, options: Options) -> list[str]:
    """Writes the reports and returns what could not be written."""
    from pytest_backdoor.report import Run, write_reports

    about = {"name": tool.NAME, "version": tool.version()} | gathered.tool
    results = _sorted(gathered)
    run = Run(tuple(results), about, option.to_dict(options), gathered.missing)
    start = gathered.config.invocation_params.dir
    there = option.anchored(options, start)
    models = (start / path for path in (*(result.path for result in results), *gathered.missing))
    refused = _refused(there.report, [*models, there.seeds, there.suspects, there.reference])
    targets = [target for target in there.report if target not in refused]
    return [f"report not written: {problem}" for problem in (*refused.values(), *write_reports(targets, run))]


def _refused(targets: Iterable[tuple[str, Path]], read: Sequence[Path | None]) -> dict[tuple[str, Path], str]:
    """The reports that would take the place of what the run reads, and what to say of them."""
    refused = {}
    for name, path in targets:
        try:
            values.output(path, *read)
        except OptionError as problem:
            refused[name, path] = str(problem)
    return refused


def show(terminal: pytest.TerminalReporter, gathered: Gathered, scanning: bool) -> None:
    """The section, when there is something to say."""
    lines = _lines(gathered, scanning, terminal)
    if lines:
        terminal.ensure_newline()
        terminal.section("backdoor")
        for line in lines:
            terminal.write_line(line)


def _lines(gathered: Gathered, scanning: bool, terminal: pytest.TerminalReporter) -> list[str]:
    from pytest_backdoor.report.words import visible

    lines = _table(gathered, terminal) if gathered.results else []
    said = [f"not scanned: {path}" for path in gathered.missing] + gathered.notes + gathered.problems
    if scanning and not gathered.results and not gathered.waiting:
        said.insert(0, _nothing(gathered))
    return lines + [visible(line) for line in said]


def _table(gathered: Gathered, terminal: pytest.TerminalReporter) -> list[str]:
    from pytest_backdoor.report import text

    colour = terminal.hasmarkup
    return text.render(_sorted(gathered), colour, pictures=terminal.verbosity >= 0).splitlines()


def _sorted(gathered: Gathered) -> list[ScanResult]:
    """The results by their models' names, for xdist ends them in any order."""
    return sorted(gathered.results, key=lambda result: result.path)


def _nothing(gathered: Gathered) -> str:
    wanted = f"looked for {', '.join(PATTERNS)} (not {WEIGHTS_ONLY}, which holds no model)"
    return f"nothing was scanned: {wanted}" + (f"; {gathered.deselected} deselected" if gathered.deselected else "")


def _outside(config: pytest.Config) -> list[str]:
    """The given paths that are not in the project of the current folder."""
    here = config.invocation_params.dir
    # Without an ini file pytest's root is whatever holds all arguments, the strangers' included.
    trusted = config.rootpath if config.inipath and here.is_relative_to(config.rootpath) else here
    paths = [(here / argument.partition("::")[0]).resolve() for argument in config.args]
    return [str(path) for path in paths if not path.is_relative_to(trusted.resolve())]
