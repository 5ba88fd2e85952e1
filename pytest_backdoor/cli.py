"""The console script. ``pytest-backdoor scan`` looks at files from strangers: nothing beside them can run."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_backdoor import cli_fuzz, cli_repair, cli_trajectories, plugin, tool, values
from pytest_backdoor import options as option
from pytest_backdoor.collect import ModelFile
from pytest_backdoor.errors import CalibrationError, OptionError
from pytest_backdoor.files import Found, find
from pytest_backdoor.gathered import Gathered
from pytest_backdoor.options import Options
from pytest_backdoor.report.words import visible
from pytest_backdoor.results import Planted, SelfTest
from pytest_backdoor.sealed import all_written, coloured, load_quietly, sealed

CLEAN, BACKDOOR, NO_VERDICT, USAGE, NOTHING = 0, 1, 2, 4, 5
FOUND_ALL, MISSED = 0, 1  # of a self-test
EPILOG = (
    "exit code: 0 all clean, 1 a backdoor, 2 a model without a verdict (inconclusive or error) or a folder without"
    " models among other paths, 4 wrong usage, 5 nothing to scan"
)
SELFTEST_EPILOG = (
    "exit code: 0 every planted backdoor was found, 1 some were missed, 2 nothing could be planted, or the budget or"
    " Ctrl-C ended it before all were, 4 wrong usage"
)
SELFTEST_OPTIONS = ("seeds", "profile", "alpha", "seed", "min_accuracy", "memory", "reference", "set")
CALIBRATE_OPTIONS = ("alpha", "seeds", "profile", "seed", "min_accuracy", "memory", "reference", "set")
# pytest reads settings, plugins, conftest.py, __init__.py and test files from what it collects. Each of these turns
# one such door off; only together do they keep everything under the scanned paths from running.
HARDENED = (
    f"-c{os.devnull}",
    "--noconftest",
    "-pno:python",
    "-pno:unittest",
    "-pno:doctest",
    "-pno:cacheprovider",
    "--backdoor-scan",
)
if TYPE_CHECKING:
    from pytest_backdoor.selftest import Plan

    Commands = argparse._SubParsersAction["_Parser"]


@dataclass(slots=True, eq=False)  # pytest keeps plugins in sets
class Collection:
    """A pytest plugin that collects exactly these files, and keeps what the run gathered.

    pytest's own collection skips folders by name, follows links in circles and takes [ and :: in a path for syntax.
    """

    found: Found
    gathered: Gathered | None = None  # none where pytest did not start

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Adds what the search for files had to say."""
        self.gathered = gathered = session.config.stash[plugin.GATHERED]
        gathered.notes += self.found.notes
        gathered.problems += self.found.problems

    def pytest_collection(self, session: pytest.Session) -> bool:
        """The items of the files, in place of pytest's own."""
        hook = session.config.hook
        files = [ModelFile.from_parent(session, path=path) for path in self.found.files]
        reports = [hook.pytest_make_collect_report(collector=file) for file in files]
        for report in reports:
            hook.pytest_collectreport(report=report)
        session.items = [item for report in reports for item in report.result]
        hook.pytest_collection_modifyitems(session=session, config=session.config, items=session.items)
        session.testscollected = len(session.items)
        hook.pytest_collection_finish(session=session)
        return True


class _Parser(argparse.ArgumentParser):
    """argparse ends with 2 on wrong usage, which here means a model without a verdict."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code, which says no verdict where nobody could read one."""
    code = _run(arguments)
    return code if all_written() else NO_VERDICT


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    # TensorFlow's hints, such as how often it traced a function, mean nothing to whoever scans.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show ends no run
    try:
        options = option.layered(Options(), option.parsed(given), lambda name: option.flag(name, "--"))
        if given.run is not _run_scan:  # pytest catches what a scan prints
            with sealed():
                load_quietly()
        return int(given.run(given, options))
    except (OptionError, CalibrationError) as problem:
        parser.error(str(problem))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return NO_VERDICT
    except Exception:  # an exit code of 1 would say that a backdoor was found
        with contextlib.suppress(OSError):  # as would a traceback that nobody reads: a closed pipe, a full disk
            traceback.print_exc()
            print(f"{parser.prog}: no verdict: what is said above went wrong.", file=sys.stderr)
        return NO_VERDICT


def scan(found: Found, options: Options, more: Sequence[str] = ()) -> int:
    """Runs pytest on the files, and on nothing else, and returns the exit code of the scan."""
    if options.seeds is None:
        found.notes += _strange_seeds(found)
    collection = Collection(found)
    reports = [f"{option.flag('report')}={name}:{path}" for name, path in options.report]
    flags = [*option.flags(options), *reports, f"--rootdir={_root(found)}"]
    with sealed():
        if options.set:
            load_quietly()
            from pytest_backdoor import profiles

            profiles.settings(options)  # an unknown setting is wrong usage, and no scan that failed
        status = pytest.main([*HARDENED, *flags, *more], plugins=[plugin, collection])
    return _exit_code(status, collection.gathered, options)


def selftest(path: Path, options: Options, names: Sequence[str] = (), output: Path | None = None) -> int:
    """Plants backdoors in copies of the model, says which are found, and returns the exit code of the self-test."""
    values.output(output, path, options.seeds)
    with sealed():
        from pytest_backdoor import report
        from pytest_backdoor.report import planted
        from pytest_backdoor.selftest import PLANS

        plans = {name: PLANS[values.pick(name, PLANS, "plan")] for name in names or PLANS}
        test = _planted(path, options, plans)
    print(planted.render(test, coloured()), end="")
    problem = output and report.write_text(output, planted.document(test, tool.about(), option.to_dict(options)))
    if problem:
        print(f"report not written: {problem}")
    if problem or test.found is None or test.error:
        return NO_VERDICT
    return FOUND_ALL if test.found[0] == 1 else MISSED


def calibrate(
    paths: Sequence[Path], output: Path, options: Options, alone: bool, each: int | None, unusual: bool
) -> int:
    """Adds clean models to a reference, says what became of each, and returns the exit code."""
    found = find(paths)
    if not found.files:
        print("nothing to calibrate with", *map(visible, (*found.notes, *found.problems)), sep="\n")
        return NOTHING
    with sealed():
        from pytest_backdoor import calibrate as room
        from pytest_backdoor import calibration

        begin = () if alone else calibration.read(options.reference)
        missed = 0
        for file, step in room.calibrate(list(found.files), begin, output, options, each, unusual):
            missed += isinstance(step, str)
            said = f"left out: {step}" if isinstance(step, str) else "kept"
            print(visible(f"{file}: {said}"), flush=True)
        kept = calibration.read(output)
    models = len({entry.sha256 for entry in kept})  # some are scanned in several ways
    print(
        f"{models} clean model{'s' * (models != 1)} in {output}",
        *map(visible, (*found.notes, *found.problems)),
        sep="\n",
    )
    return NO_VERDICT if missed or found.problems else CLEAN


def _parser() -> _Parser:
    parser = _Parser("pytest-backdoor", description="Decides whether Keras models carry a backdoor.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"{tool.NAME} {tool.version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_scan(commands)
    _add_selftest(commands)
    _add_calibrate(commands)
    cli_fuzz.add(commands)
    cli_trajectories.add(commands)
    cli_repair.add(commands)
    return parser


def _add_scan(commands: Commands) -> None:
    command = commands.add_parser(
        "scan",
        help="scan model files, of strangers too",
        description="Scans the model files (.keras, .h5, .hdf5) among the paths and in all folders under them."
        " Nothing under the paths is run or imported.",
        epilog=EPILOG,
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="a model file, or a folder to look through")
    command.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    command.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    command.add_argument("--junitxml", metavar="PATH", help="write a JUnit XML report")
    option.add_flags(command.add_argument, "--")
    # The names that the same options have under pytest work too.
    option.add_flags(command.add_argument, help=argparse.SUPPRESS)
    command.set_defaults(run=_run_scan)


def _run_scan(given: argparse.Namespace, options: Options) -> int:
    found = find([Path(path) for path in given.paths])
    return scan(found, options, _passed_on(given, found, options))


def _add_selftest(commands: Commands) -> None:
    command = commands.add_parser(
        "selftest",
        help="plant known backdoors in copies of a model and see which are found",
        description="Plants known backdoors in copies of the model by short training on the seeds, scans each copy, and"
        " says which were found. The model's file stays as it is.",
        epilog=SELFTEST_EPILOG,
    )
    command.add_argument("model", metavar="MODEL", type=Path, help="a model file")
    command.add_argument(
        "--plant",
        action="append",
        default=[],
        metavar="NAME",
        help="plant only this; may be repeated (default: all)",
    )
    command.add_argument("-o", "--output", metavar="FILE", type=Path, help="write the result as JSON")
    option.add_flags(command.add_argument, "--", ("budget",), help=option.ONE_BUDGET)
    option.add_flags(command.add_argument, "--", SELFTEST_OPTIONS)
    command.set_defaults(run=_run_selftest)


def _run_selftest(given: argparse.Namespace, options: Options) -> int:
    return selftest(given.model, options, given.plant, given.output)


def _add_calibrate(commands: Commands) -> None:
    command = commands.add_parser(
        "calibrate",
        help="add your own clean models to the reference that p-values compare with",
        description="Scans models that are known to be clean to the end and keeps the evidence that they show: what"
        " --reference and backdoor_reference take. A run that was stopped goes on where it was.",
        epilog="exit code: 0 all kept, 2 some left out, or a folder without models among other paths, 4 wrong usage,"
        " 5 no model files",
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="MODEL", help="a model file, or a folder of them")
    command.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the reference to write")
    command.add_argument("--alone", action="store_true", help="leave out the clean models of --reference")
    command.add_argument(
        "--each",
        type=cli_trajectories.positive,
        metavar="N",
        help="use the first N seeds of each class: a scan with few seeds is compared with scans that had as few",
    )
    command.add_argument(
        "--keep-unusual",
        action="store_true",
        help="keep models with a p-value of at most --alpha too: one of a hundred clean ones, or a backdoored one",
    )
    option.add_flags(command.add_argument, "--", CALIBRATE_OPTIONS)
    command.set_defaults(run=_run_calibrate)


def _run_calibrate(given: argparse.Namespace, options: Options) -> int:
    return calibrate(given.paths, given.output, options, given.alone, given.each, given.keep_unusual)


def _planted(path: Path, options: Options, plans: Mapping[str, Plan]) -> SelfTest:
    """The self-test; where it is interrupted, what was done before."""
    from pytest_backdoor import selftest as room
    from pytest_backdoor.scan import sha256_of

    begun, plants = time.perf_counter(), list[Planted]()

    def done(planted: Planted) -> None:
        plants.append(planted)
        _say(planted)

    try:
        return room.selftest(path, None, options, plans, done=done)
    except KeyboardInterrupt:
        said = f"interrupted after {len(plants)} of {len(plans)} backdoors"
        return room.summed(str(path), sha256_of(path), plants, said, time.perf_counter() - begun)


def _say(planted: Planted) -> None:
    """One line when a copy was scanned, for whoever waits."""
    from pytest_backdoor.report.planted import line

    print(line(planted), file=sys.stderr, flush=True)


def _passed_on(given: argparse.Namespace, found: Found, options: Options) -> list[str]:
    """pytest's own options; raises OptionError for a report at which pytest would fail, or that is a file to read."""
    if given.junitxml:
        report = values.some_path(given.junitxml)
        values.output(report, *found.files, options.seeds, options.suspects, options.reference)
        values.writable(report, "--junitxml")
    junit = [f"--junitxml={given.junitxml}"] if given.junitxml else []
    return [*junit, *["-q"] * given.quiet, *["-v"] * given.verbose]


def _strange_seeds(found: Found) -> list[str]:
    """A warning where seeds lie beside the models, for whoever made those may have made these too."""
    from pytest_backdoor.seeds import seeds_beside

    taken = [str(path) for path in dict.fromkeys(map(seeds_beside, found.files)) if path]
    if not taken:
        return []
    more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
    return [
        f"seeds from beside the models: {taken[0]}{more}. Those that came with a stranger's model can be made to hide "
        "its backdoor: give your own with --seeds"
    ]


def _root(found: Found) -> Path:
    """The folder that node ids are relative to."""
    try:
        return Path(os.path.commonpath([path.parent for path in found.files]))
    except ValueError:  # no files, or on several drives
        return Path.cwd()


def _exit_code(status: int, gathered: Gathered | None, options: Options) -> int:
    verdicts = {result.verdict for result in gathered.results} if gathered else set()
    if "backdoor" in verdicts:
        return BACKDOOR
    if status == pytest.ExitCode.USAGE_ERROR:
        return USAGE
    tolerated = {"clean"} if options.inconclusive == "fail" else {"clean", "inconclusive"}
    if gathered is None or verdicts - tolerated or gathered.waiting or gathered.problems:
        return NO_VERDICT
    if not verdicts:
        return NOTHING
    return CLEAN if status == pytest.ExitCode.OK else NO_VERDICT
