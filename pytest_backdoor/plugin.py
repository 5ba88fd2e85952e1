"""The pytest plugin: hooks and fixtures. It imports nothing heavy, because every pytest run imports it."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_backdoor import options as option
from pytest_backdoor import values
from pytest_backdoor.collect import ModelFile, command, is_hardened
from pytest_backdoor.context import CURRENT, Context
from pytest_backdoor.errors import BackdoorError, OptionError, plain
from pytest_backdoor.files import (
    bare_note,
    folder_note,
    is_bare,
    is_model_file,
    is_unpacked,
    models_in,
    other_files,
    other_notes,
    passed_over,
    unpacked_note,
)
from pytest_backdoor.gathered import Gathered
from pytest_backdoor.options import Options
from pytest_backdoor.report.junit import OURS
from pytest_backdoor.report.words import path_from

if TYPE_CHECKING:
    import numpy as np

    from pytest_backdoor.results import ScanResult
    from pytest_backdoor.seeds import Seeds

OPTIONS = pytest.StashKey[Options]()
UNDER = pytest.StashKey[Options]()  # what holds where there are no flags
GATHERED = pytest.StashKey[Gathered]()
LOOKING = ("collectonly", "showfixtures", "show_fixtures_per_test", "cacheshow", "setuponly")  # they run no test
PARAMETER = type(pytest.param())
MODELS = "backdoor_models"  # an ini key
MARKER = "backdoor(model=None, **options): names the model file of backdoor_model, and options of its scan"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds a flag and an ini key for each option."""
    group = parser.getgroup("backdoor", "backdoors in Keras models")
    group.addoption(
        "--backdoor-scan",
        action="store_true",
        help="scan the model files (.keras, .h5, .hdf5) among the collected paths; use pytest-backdoor scan for"
        " files from strangers, because pytest runs the Python files beside them",
    )
    parser.addini(MODELS, "model files and folders of them that backdoor_model stands for", "args", [])
    option.add_flags(group.addoption)
    for name, setting in option.SETTINGS.items():
        parser.addini(option.ini_key(name), setting.help, setting.ini, None)


def pytest_configure(config: pytest.Config) -> None:
    """Reads the options of the run, and gathers results in the process that reports them."""
    from pytest_backdoor.report import check_formats

    config.addinivalue_line("markers", MARKER)
    try:
        config.stash[UNDER] = _options_of_ini(config)
        config.stash[OPTIONS] = option.layered(config.stash[UNDER], option.parsed(config.option), option.flag)
        check_formats(config.stash[OPTIONS].report)
        _listed(config)  # what cannot be read is wrong usage, and no error of each test file
    except OptionError as problem:
        raise pytest.UsageError(str(problem)) from None
    if not hasattr(config, "workerinput"):
        config.stash[GATHERED] = Gathered(config)
        config.pluginmanager.register(config.stash[GATHERED], "backdoor-gathered")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What scans and how, when something will be scanned or was asked for."""
    from pytest_backdoor import summary

    options = config.stash[OPTIONS]
    scanning = config.getoption("backdoor_scan")
    return summary.header(config, options) if scanning or options != Options() else []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Under --backdoor-scan, notes the model files that pytest passes over: a gate must not open without them.

    Nor without those of a folder that holds none, and no tests. Files that hold a model in another form, such as
    weights alone, are noted too.
    """
    config, gathered = session.config, session.config.stash.get(GATHERED, None)
    if gathered is None or not config.getoption("backdoor_scan") or is_hardened(config):
        return
    start = config.invocation_params.dir
    patterns = config.getini("norecursedirs")
    folders = [Path(argument).resolve() for argument in config.args if Path(argument).is_dir()]
    gathered.problems += [
        f"not scanned: {path_from(start, file)}, {reason}"
        for folder in folders
        for file, reason in passed_over(folder, patterns).items()
    ]
    if len(config.args) > 1:  # pytest itself ends with 5 where nothing was collected at all
        tests = ["*.py", *(config.getoption("doctestglob", None) or ["test*.txt"])]
        bare = (folder for folder in folders if is_bare(folder, tests))
        gathered.problems += [bare_note(path_from(start, folder), " and no tests") for folder in bare]
    others = other_files(folders)
    gathered.problems += [unpacked_note(path_from(start, file.parent)) for file in others if is_unpacked(file)]
    gathered.notes += _other_notes(others, start)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out links to a folder that they lie in, which pytest follows until the path is too long."""
    if config.getoption("backdoor_scan") and collection_path.is_symlink() and collection_path.is_dir():
        return True if collection_path.parent.resolve().is_relative_to(collection_path.resolve()) else None
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ModelFile | None:
    """A model file, under --backdoor-scan."""
    if parent.config.getoption("backdoor_scan") and is_model_file(file_path):
        return ModelFile.from_parent(parent, path=file_path)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per model of the ini list, for tests that use backdoor_model and do not choose one themselves."""
    if "backdoor_model" in metafunc.fixturenames and not _chooses_model(metafunc):
        paths = _listed_models(metafunc.config)
        if paths:
            names = [_relative(path, metafunc.config.rootpath) for path in paths]
            metafunc.parametrize("backdoor_model", paths, indirect=True, ids=names)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tells what runs inside the test its options, where results go and what repeats it."""
    options, under = item.config.stash[OPTIONS], item.config.stash[UNDER]
    start = item.config.invocation_params.dir
    token = CURRENT.set(Context(options, _recorder(item), command(item, options, under), start))
    try:
        return (yield)
    finally:
        CURRENT.reset(token)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Puts the options of the test's markers over those of the run; an unknown one fails the test."""
    # What an earlier attempt recorded (pytest-rerunfailures) was reported with it.
    item.user_properties[:] = [each for each in item.user_properties if not str(each[0]).startswith(OURS)]
    try:
        options = _options_of_item(item)
    except OptionError as problem:
        raise _failure(str(problem)) from None
    CURRENT.set(dataclasses.replace(CURRENT.get(), options=options))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the reports, with what was finished by then, before another plugin fails to write its own."""
    from pytest_backdoor import summary

    config, gathered = session.config, session.config.stash.get(GATHERED, None)
    if gathered is not None and _runs_tests(config):
        if gathered.results:
            others = other_files(filter(Path.is_dir, _listed(config)))
            noted = _other_notes(others, config.invocation_params.dir)
            gathered.notes += [note for note in noted if note not in gathered.notes]
        gathered.problems += summary.write(gathered, config.stash[OPTIONS])
        if gathered.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED  # a gate must not open on a report that is not there


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table of models and the triggers found."""
    from pytest_backdoor import summary

    gathered = config.stash.get(GATHERED, None)
    if gathered is not None and _runs_tests(config):
        summary.show(terminalreporter, gathered, bool(config.getoption("backdoor_scan")))


@pytest.fixture(scope="session")
def load_backdoor_model() -> Callable[[Path | str], Any]:
    """A function that loads a Keras model file, safely: path -> model."""

    @plain
    def load_model(path: Path | str) -> Any:
        from pytest_backdoor.loading import safety
        from pytest_backdoor.loading.keras_file import load
        from pytest_backdoor.origins import remember

        model = load(Path(path))
        remember(model, Path(path), safety.sha256(Path(path)))
        return model

    return load_model


@pytest.fixture
def backdoor_model(request: pytest.FixtureRequest, load_backdoor_model: Callable[[Path | str], Any]) -> Any:
    """The Keras model that ``@pytest.mark.backdoor(model=...)`` names, or each of the ini list backdoor_models."""
    try:
        path = _model_path(request)
    except OptionError as problem:
        raise _failure(f"backdoor_model: {problem}") from None
    if path is None:
        raise _failure(f"backdoor_model: {_unnamed(request.config)}")
    if path.is_dir():
        raise _failure(f"backdoor_model: {folder_note(path)}")
    try:
        return load_backdoor_model(path)
    except BackdoorError as problem:
        raise _failure(f"backdoor_model: {problem}") from None


@pytest.fixture
def backdoor_seeds(request: pytest.FixtureRequest) -> Seeds:
    """Clean images for the model: of the marker, of --backdoor-seeds, of the ini file, else from beside the model."""
    from pytest_backdoor.assertions import options_now, seeds_for
    from pytest_backdoor.seeds import as_seeds

    try:
        return as_seeds(seeds_for(_model_path(request), None, options_now({})))
    except BackdoorError as problem:
        raise _failure(f"backdoor_seeds: {problem}") from None


@pytest.fixture(scope="session")
def backdoor_scan() -> Callable[..., ScanResult]:
    """A function that scans with the options in force: (model, seeds=None, **options) -> ScanResult."""

    @plain
    def scan_model(model: Any, seeds: Any = None, **options: Any) -> ScanResult:
        from pytest_backdoor.assertions import examine, options_now

        return examine(model, seeds, options_now(options))

    return scan_model


@pytest.fixture
def backdoor_rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A random generator that depends on the seed and on the test, and on nothing that ran before."""
    import numpy as np

    text = f"{CURRENT.get().options.seed} {request.node.nodeid}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()))


def _runs_tests(config: pytest.Config) -> bool:
    """Whether this run is for tests, and not to look at fixtures and the like."""
    return not any(config.getoption(name, None) for name in LOOKING)


def _failure(text: str) -> BaseException:
    """A failure that shows its text and no traceback, because the cause is not in the code."""
    return pytest.fail.Exception(text, pytrace=False)


def _options_of_ini(config: pytest.Config) -> Options:
    """Ini keys over the defaults."""
    ini = {name: _ini_value(config, option.ini_key(name)) for name in option.SETTINGS}
    given = {name: value for name, value in ini.items() if value is not None}
    folder = (config.inipath or config.rootpath / "none").parent
    return option.layered(Options(), given, lambda name: f"ini key {option.ini_key(name)}", folder)


def _ini_value(config: pytest.Config, key: str) -> Any:
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as problem:  # pytest's own, which does not always name it
        raise OptionError(f"ini key {key}: {problem}.") from None


def _options_of_item(item: pytest.Item) -> Options:
    """The markers' arguments, the nearest marker last, over the options of the run."""
    options = item.config.stash[OPTIONS]
    for marker in reversed(list(item.iter_markers("backdoor"))):
        if marker.args:
            raise OptionError(
                f"@pytest.mark.backdoor takes names only, got {marker.args[0]!r}. Write model={marker.args[0]!r}."
            )
        arguments = {name: value for name, value in marker.kwargs.items() if name != "model"}
        options = option.with_arguments(options, arguments, "@pytest.mark.backdoor", item.config.rootpath)
    return options


def _recorder(item: pytest.Item) -> Callable[[ScanResult], None]:
    def record(result: ScanResult) -> None:
        from pytest_backdoor import tool
        from pytest_backdoor.report.junit import properties

        item.user_properties.extend(properties(result, tool.facts()))

    return record


def _named_model(node: pytest.Item) -> Any:
    """The model of the nearest marker that names one, as it is written there."""
    names = (marker.kwargs.get("model") for marker in node.iter_markers("backdoor"))
    return next((name for name in names if name is not None), None)


def _chooses_model(metafunc: pytest.Metafunc) -> bool:
    """Whether the test names its model, is parametrised with some, or has a fixture of that name that asks for none."""
    # pytest has no public way to the fixtures that override ours, which comes first.
    own = metafunc._arg2fixturedefs.get("backdoor_model", ())[1:]
    replaced = any(fixture.params is not None or "backdoor_model" not in fixture.argnames for fixture in own)
    node = metafunc.definition
    return replaced or _is_parametrised(node) or _named_model(node) is not None or _is_named_by_parameters(node)


def _is_parametrised(node: pytest.Item) -> bool:
    """Whether ``@pytest.mark.parametrize`` at the test says what backdoor_model is."""
    given = (
        marker.args[0] if marker.args else marker.kwargs["argnames"] for marker in node.iter_markers("parametrize")
    )
    return any(
        "backdoor_model" in (re.split(r"\s*,\s*", names) if isinstance(names, str) else names) for names in given
    )


def _is_named_by_parameters(node: pytest.Item) -> bool:
    """Whether a ``pytest.param`` of the test has a mark that names the model."""
    given = (
        marker.args[1] if len(marker.args) > 1 else marker.kwargs["argvalues"]
        for marker in node.iter_markers("parametrize")
    )
    lists = (values for values in given if isinstance(values, list | tuple))  # a generator would be used up
    marks = (mark for values in lists for each in values if isinstance(each, PARAMETER) for mark in each.marks)
    return any(mark.name == "backdoor" and mark.kwargs.get("model") is not None for mark in marks)


def _listed_models(config: pytest.Config) -> list[Path]:
    """The model files of the ini list, folders replaced by the models in them."""
    return [model for path in _listed(config) for model in (models_in(path) if path.is_dir() else [path])]


def _listed(config: pytest.Config) -> list[Path]:
    """The files and folders of the ini list, with ``~`` expanded; raises OptionError for what is no list."""
    folder = config.inipath.parent if config.inipath else config.invocation_params.dir
    return [folder / values.some_path(text or ".") for text in _ini_value(config, MODELS)]


def _other_notes(others: Mapping[Path, str], start: Path) -> list[str]:
    """What to say of files that hold a model in another form, each with that form."""
    return other_notes({Path(path_from(start, file)): form for file, form in others.items() if not is_unpacked(file)})


def _model_path(request: pytest.FixtureRequest) -> Path | None:
    """The model file of the running test, relative to the root of the tests; raises OptionError for what is no path."""
    callspec = getattr(request.node, "callspec", None)
    given = callspec.params.get("backdoor_model") if callspec else None
    listed = given if isinstance(given, str | Path) else None  # a fixture of the test's own may have any parameters
    marked = _named_model(request.node)
    named = values.path(listed if marked is None or _is_parametrised(request.node) else marked)
    return None if named is None else request.config.rootpath / named


def _unnamed(config: pytest.Config) -> str:
    """Why a test that asks for backdoor_model has none."""
    if not _listed(config):
        return (
            'no model is named. Write backdoor_models = ["model.keras"] in the [tool.pytest] table or'
            ' @pytest.mark.backdoor(model="model.keras") at the test.'
        )
    return (
        "pytest repeats a test for each model of backdoor_models only where a test function or its fixtures take"
        " backdoor_model as an argument, and no parameter of it names another. Write"
        ' @pytest.mark.backdoor(model="model.keras") at this test or parameter.'
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
