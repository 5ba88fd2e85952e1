"""``pytest-backdoor repair``: takes the backdoor out of a copy of a model, or refuses."""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_backdoor import options as option
from pytest_backdoor import rules, tool, values
from pytest_backdoor.deadline import time_limit
from pytest_backdoor.errors import OptionError, TriggerError
from pytest_backdoor.options import MAX_LOSS, Options
from pytest_backdoor.sealed import coloured, sealed

if TYPE_CHECKING:
    from pytest_backdoor.results import Repair, ScanResult
    from pytest_backdoor.rules import Rule
    from pytest_backdoor.triggers.trigger import Trigger

REPAIRED, STILL_BACKDOORED, NOT_REPAIRED = 0, 1, 2
OPTIONS = ("seeds", "profile", "alpha", "seed", "min_accuracy", "memory", "reference", "set")
ROUNDS = 3  # of repairs, each of what the scans before it found
EPILOG = (
    "exit code: 0 a new file that scans clean, or a filter, 1 a new file in which a scan still finds a backdoor, 2 no"
    " new file, or one without a verdict, or a report that was not written, 4 wrong usage"
)


def add(commands: Any) -> None:
    """Adds the command to those of the console script."""
    command = commands.add_parser(
        "repair",
        help="take the backdoor out of a copy of a model",
        description="Scans the model, or takes a known trigger, tries methods of repair on half of the seeds, measures"
        " accuracy and success on the other half, writes the best copy to a new file and scans it. Where every method"
        " costs too much accuracy or leaves the trigger working, no file is written. The model's file stays as it is.",
        epilog=EPILOG,
    )
    command.add_argument("model", metavar="MODEL", type=Path, help="a model file")
    command.add_argument("-o", "--output", required=True, metavar="NEW", type=Path, help="the new .keras file")
    command.add_argument("--trigger", metavar="FILE", type=Path, help="a known trigger, as a scan saves it (.npz)")
    command.add_argument(
        "--rule",
        metavar="RULE",
        help="what the known trigger does: next (each class to the one after it), the number of a target class, or"
        " classes as '1>7 2>7'",
    )
    command.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME",
        help="try only this: lipschitz, fine-pruning, unlearning, or input-filter, which rejects inputs and leaves the"
        " weights as they are; may be repeated (default: the first three)",
    )
    command.add_argument(
        "--max-loss",
        metavar="POINTS",
        default=100 * MAX_LOSS,
        help=f"points of held-out accuracy that a repair may cost (default: {100 * MAX_LOSS:g})",
    )
    command.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON")
    option.add_flags(command.add_argument, "--", ("budget",), help=option.ONE_BUDGET)
    option.add_flags(command.add_argument, "--", OPTIONS)
    command.set_defaults(run=_run)


def _run(given: argparse.Namespace, options: Options) -> int:
    """Repairs, says what came of it, and returns the exit code; raises OptionError for wrong usage."""
    _check_output(given.model, given.output)
    values.output(given.json, given.model, given.trigger, options.seeds)
    if given.json is not None and os.path.realpath(given.json) == os.path.realpath(given.output):
        raise OptionError(f"--json: the new model is written to {given.json}. Give the name of another file.")
    with sealed():
        from pytest_backdoor import report
        from pytest_backdoor.report import repaired

        max_loss = _points(given.max_loss) / 100
        result = repair(given.model, given.output, options, given.method, max_loss, _known(given))
    print(repaired.render(result, coloured()), end="")
    problem = given.json and report.write_text(
        given.json, repaired.document(result, tool.about(), option.to_dict(options))
    )
    if problem:
        print(f"report not written: {problem}")
    return NOT_REPAIRED if problem else _exit_code(result)


def repair(
    model: Path,
    output: Path,
    options: Options,
    methods: Sequence[str] = (),
    max_loss: float = MAX_LOSS,
    known: Sequence[tuple[Trigger, Rule]] = (),
) -> Repair:
    """Repairs the model, writes the new file and scans it; from what that finds it is repaired again.

    The budget is for all of that together.
    """
    with time_limit(options.budget, time.perf_counter()):
        return _repair(model, output, options, methods, max_loss, known)


def _repair(
    model: Path,
    output: Path,
    options: Options,
    methods: Sequence[str],
    max_loss: float,
    known: Sequence[tuple[Trigger, Rule]],
) -> Repair:
    from pytest_backdoor import repair_methods, report
    from pytest_backdoor import repaired as room
    from pytest_backdoor.scan import scan
    from pytest_backdoor.seeds import seeds_beside

    seeds = options.seeds or seeds_beside(model)
    last: Repair | None = None
    for _ in range(ROUNDS):
        done, made = room.repair_model(model, seeds, options, methods or repair_methods.REPAIRS, max_loss, known)
        if made is None:
            return last or done
        if problem := report.write_with(output, made.save):
            return dataclasses.replace(last or done, error=f"not written: {problem}")
        done = dataclasses.replace(done, output=output.as_posix())
        if done.chosen == repair_methods.FILTER:
            return dataclasses.replace(
                done, error="the new file is not scanned: its backdoor is still inside, behind the filter"
            )
        rescan = scan(output, seeds, options)
        last = dataclasses.replace(done, rescan=rescan)
        if not rescan.findings:
            break
        known = [*zip(done.triggers, map(rules.read, done.rules), strict=True), *_found(rescan)]
    assert last is not None  # of the first round
    return last


def _found(result: ScanResult) -> list[tuple[Trigger, Rule]]:
    """The triggers that a scan found, with their rules."""
    from pytest_backdoor.repaired import known_of

    assert result.classes is not None  # of a model that was scanned
    known = (known_of(finding, result.classes) for finding in result.findings)
    return [(each.trigger, each.mapping) for each in known]


def _exit_code(done: Repair) -> int:
    if done.output is None:
        return NOT_REPAIRED
    verdict = "clean" if done.rescan is None else done.rescan.verdict
    return {"clean": REPAIRED, "backdoor": STILL_BACKDOORED}.get(verdict, NOT_REPAIRED)


def _check_output(model: Path, output: Path) -> None:
    if output.suffix != ".keras":
        raise OptionError(f"--output: expected the name of a .keras file, got {str(output)!r}.")
    values.output(output, model)
    if os.path.lexists(output):
        raise OptionError(f"--output: {output} exists. Give the name of a new file, or delete it first.")
    values.writable(output, "--output")


def _known(given: argparse.Namespace) -> list[tuple[Trigger, Rule]]:
    """The user's trigger with its rule."""
    from pytest_backdoor.triggers.trigger import Trigger

    if (given.trigger is None) != (given.rule is None):
        raise OptionError("--trigger and --rule belong together: a trigger file, and what the trigger does.")
    if given.trigger is None:
        return []
    try:
        return [(Trigger.load(given.trigger), rules.read(given.rule))]
    except TriggerError as problem:
        raise OptionError(f"--trigger: {problem}") from problem


def _points(text: Any) -> float:
    try:
        return values.number(0, 100, closed=True)(text)
    except OptionError as problem:
        raise OptionError(f"--max-loss: {problem}") from problem
