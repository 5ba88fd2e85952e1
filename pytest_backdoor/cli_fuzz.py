"""``pytest-backdoor fuzz``: pushes the seeds of one model along gradients and says what becomes of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_backdoor import options as option
from pytest_backdoor import rules, tool, values
from pytest_backdoor.options import Options
from pytest_backdoor.rules import Rule
from pytest_backdoor.sealed import coloured, sealed

RAN, NOT_RUN = 0, 2
FUZZ_OPTIONS = ("seeds", "seed", "min_accuracy", "memory", "set")
EPILOG = (
    "exit code: 0 the seeds were pushed, whatever became of them, 2 they could not be, or the result not be written,"
    " 4 wrong usage"
)


def add(commands: Any) -> None:
    """Adds the command to those of the console script."""
    command = commands.add_parser(
        "fuzz",
        help="push seeds along gradients and see where the model changes its mind",
        description="Pushes every seed that the model classifies right along gradients of its classes and neurons, and"
        " says how many adversarial inputs come of it, where they land, how far they are and what they cover. That is"
        " no verdict: clean models have adversarial inputs too. The settings are --set fuzz.constraint=box,"
        " fuzz.strategies=random+heavy, fuzz.target=7 and the like.",
        epilog=EPILOG,
    )
    command.add_argument("model", metavar="MODEL", type=Path, help="a model file")
    command.add_argument(
        "--rule",
        metavar="RULE",
        help="the backdoor under test, whose activation rate is reported: next (each class to the one after it), the"
        " number of a target class, or classes as '1>7 2>7'",
    )
    command.add_argument(
        "--against",
        metavar="MODEL",
        type=Path,
        action="append",
        default=[],
        help="another model of the same task; an input is then adversarial where the models disagree; may be repeated",
    )
    command.add_argument("-o", "--output", metavar="FILE", type=Path, help="write the result as JSON")
    saved = "save the inputs that change the model's mind there, as images (default: no)"
    option.add_flags(command.add_argument, "--", ("save_inputs",), help=saved)
    option.add_flags(command.add_argument, "--", FUZZ_OPTIONS)
    command.set_defaults(run=_run)


def fuzz(
    path: Path,
    options: Options,
    rule: Rule | None = None,
    output: Path | None = None,
    against: Sequence[Path] = (),
) -> int:
    """Fuzzes the model, says what came of it, and returns the exit code."""
    values.output(output, path, *against, options.seeds)
    with sealed():
        from pytest_backdoor import fuzzed as room
        from pytest_backdoor import report
        from pytest_backdoor.report import fuzzed

        run = room.fuzz_model(path, None, options, rule, against=against)
        run = run if options.save_inputs is None else report.save_inputs(run, options.save_inputs)
    print(fuzzed.render(run, coloured()), end="")
    problem = output and report.write_text(output, fuzzed.document(run, tool.about(), option.to_dict(options)))
    if problem:
        print(f"report not written: {problem}")
    return NOT_RUN if problem or run.error else RAN


def _run(given: argparse.Namespace, options: Options) -> int:
    rule = None if given.rule is None else rules.read(given.rule)
    return fuzz(given.model, options, rule, given.output, given.against)
