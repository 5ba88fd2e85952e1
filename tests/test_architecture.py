"""The shape of the package, read from its source: what may import what, and how long a file may be."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_backdoor

PACKAGE = Path(pytest_backdoor.__file__).parent
LINES = 400

# Each room may import those in later rows, and only those; the rows run from the outside in.
LAYERS = (
    {"cli"},
    {"cli_fuzz", "cli_repair", "cli_trajectories", "plugin"},
    {"summary"},
    {"gathered"},
    {"collect"},
    {"assertions"},
    {"calibrate", "fuzzed", "repaired", "screening", "selftest", "training_data"},
    {"scan"},
    {"repair_methods", "suspected", "trail"},
    {"confirmation", "stages", "yardstick"},
    {"judge", "profiles", "unseeded"},
    {"calibration"},
    {"search", "confirm", "dataset", "repair"},
    {"attacks"},
    {"contract", "firing"},
    {"subject", "loading"},
    {"network"},
    {"backend"},
    {
        "context",
        "check_results",
        "dataset_results",
        "deadline",
        "errors",
        "files",
        "options",
        "origins",
        "results",
        "rules",
        "scalings",
        "sealed",
        "seeds",
        "stats",
        "strategies",
    }
    | {"tool", "triggers", "values"},
)
PLAIN = LAYERS[-1]  # these may import each other
ROOMS = {"__init__", "report"}.union(*LAYERS)
RESULTS = {"results", "check_results", "dataset_results"}
REPORT = {"report", "errors"} | RESULTS  # a report sees results, and errors to raise, and nothing else of ours
REPORTERS = {"report"}.union(*LAYERS[:6])  # assertions and what is outside it
FRAMEWORKS = {"tensorflow", "jax", "torch"}
HEAVY = {"keras", "rich", "scipy", *FRAMEWORKS}


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def room(path: Path, package: Path) -> str:
    """The first part of a file's place in the package: ``search/inversion.py`` is in ``search``."""
    return path.relative_to(package).with_suffix("").parts[0]


def imported(source: str) -> Iterator[str]:
    """Every module that the source imports, at the top, in a function or for the type checker."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(source: str) -> set[str]:
    ours = [name.split(".") for name in imported(source) if name.split(".")[0] == PACKAGE.name]
    return {parts[1] for parts in ours if len(parts) > 1 and parts[1] in ROOMS}


def layer_of(name: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if name in layer)


def may_import(importer: str, imported_room: str) -> bool:
    if importer in (imported_room, "__init__"):
        return True
    if imported_room == "report":
        return importer in REPORTERS
    if importer == "report":
        return imported_room in REPORT
    if {importer, imported_room} <= PLAIN:
        return True
    return layer_of(importer) < layer_of(imported_room)


def wrong_imports(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package)} imports {target}"
        for path in modules(package)
        for target in sorted(rooms_imported(path.read_text()))
        if not may_import(room(path, package), target)
    ]


def framework_imports(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package)} names {name}"
        for path in modules(package)
        if room(path, package) != "backend"
        for name in imported(path.read_text())
        if name.split(".")[0] in FRAMEWORKS
    ]


def long_files(package: Path) -> list[str]:
    lengths = {path: len(path.read_text().splitlines()) for path in modules(package)}
    return [f"{path.relative_to(package)} has {length} lines" for path, length in lengths.items() if length > LINES]


def brought_in(module: str, path: Path) -> set[str]:
    """Which heavy packages a fresh Python has loaded after importing the module."""
    code = f"import json, sys; import {module}; print(json.dumps(sorted(set({sorted(HEAVY)}) & sys.modules.keys())))"
    done = subprocess.run([sys.executable, "-c", code], cwd=path, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_every_file_is_in_a_room_that_the_design_names() -> None:
    assert {room(path, PACKAGE) for path in modules(PACKAGE)} <= ROOMS


def test_imports_run_one_way() -> None:
    assert wrong_imports(PACKAGE) == []


def test_only_backend_names_a_framework() -> None:
    assert framework_imports(PACKAGE) == []


def test_no_file_is_too_long() -> None:
    assert long_files(PACKAGE) == []


@pytest.mark.parametrize("module", ["pytest_backdoor", "pytest_backdoor.options", "pytest_backdoor.plugin"])
def test_importing_what_every_pytest_run_imports_is_light(module: str) -> None:
    assert brought_in(module, PACKAGE.parent) == set()


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("stats.py", "from pytest_backdoor.subject import Subject", "stats.py imports subject"),
        ("loading/x.py", "def f():\n    from pytest_backdoor import scan", "loading/x.py imports scan"),
        ("search/x.py", "import pytest_backdoor.confirm.strip", "search/x.py imports confirm"),
        ("triggers/x.py", "from pytest_backdoor.attacks import pixel", "triggers/x.py imports attacks"),
        ("report/x.py", "from pytest_backdoor.stats import entropy", "report/x.py imports stats"),
        ("scan.py", "from pytest_backdoor.report import text", "scan.py imports report"),
    ],
)
def test_an_import_that_runs_the_wrong_way_is_noticed(file: str, source: str, complaint: str, tmp_path: Path) -> None:
    write(tmp_path / file, source)
    assert wrong_imports(tmp_path) == [complaint]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("plugin.py", "from pytest_backdoor.report import text"),
        ("scan.py", "from pytest_backdoor.judge import judge\nimport keras"),
        ("results.py", "from pytest_backdoor.triggers.trigger import Trigger"),
        ("attacks/x.py", "from pytest_backdoor.triggers import trigger"),
        ("report/x.py", "from pytest_backdoor.results import ScanResult\nfrom pytest_backdoor.report.y import z"),
    ],
)
def test_an_import_that_runs_the_right_way_passes(file: str, source: str, tmp_path: Path) -> None:
    write(tmp_path / file, source)
    assert wrong_imports(tmp_path) == []


def test_a_framework_outside_backend_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "search/x.py", "def f():\n    import tensorflow as tf")
    write(tmp_path / "backend/x.py", "import tensorflow as tf")
    assert framework_imports(tmp_path) == ["search/x.py names tensorflow"]


def test_a_file_of_401_lines_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "stats.py", "#\n" * 401)
    write(tmp_path / "seeds.py", "#\n" * 400)
    assert long_files(tmp_path) == ["stats.py has 401 lines"]


def test_a_heavy_import_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "plugin_like.py", "import pytest\nimport rich")
    assert brought_in("plugin_like", tmp_path) == {"rich"}


def write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
