"""Under xdist the controller prints and writes what its workers found."""

import json
import os
from types import SimpleNamespace

import pytest

from pytest_backdoor import summary
from pytest_backdoor.gathered import Gathered
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult

pytest.importorskip("xdist")


@pytest.fixture
def parallel(pytester, monkeypatch):
    """Runs with two workers: arguments -> result."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist -p pytest_backdoor.plugin -p fake_scan -p no:cacheprovider")
    # In a process of its own: xdist hands its workers the import path that it saw first.
    return lambda *arguments: pytester.runpytest_subprocess(
        "-n2", "--dist=worksteal", "--backdoor-scan", "models", *arguments
    )


def test_verdicts_cross_from_the_workers_to_summary_and_reports(models, pytester, parallel):
    models("backdoor.keras", "clean.keras", "shifted.h5")
    result = parallel("--backdoor-report=json:report.json", "--junitxml=out.xml")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["| backdoor | all-to-one | 7 *"])
    result.stdout.fnmatch_lines(["| clean *| models/clean.keras *|"])
    result.stdout.no_fnmatch_line("*not scanned*")
    document = json.loads((pytester.path / "report.json").read_text())
    assert sorted(entry["verdict"] for entry in document["models"]) == ["backdoor", "backdoor", "clean"]
    assert "backdoor_p_value" in (pytester.path / "out.xml").read_text()


def test_models_outside_the_root_folder_are_told_apart_by_their_folders(models, pytester, parallel):
    models("a/bug.keras", "b/bug.keras")
    (pytester.path / "settings").mkdir()
    parallel("--rootdir=settings", "--backdoor-report=json:report.json")
    entries = json.loads((pytester.path / "report.json").read_text())["models"]
    assert [entry["path"] for entry in entries] == ["models/a/bug.keras", "models/b/bug.keras"]


def test_a_report_has_its_models_in_one_order_whichever_is_done_first(tmp_path, pytestconfig):
    gathered = Gathered(pytestconfig, [ScanResult(path, "", "clean") for path in ("b.keras", "a.keras")])
    summary.write(gathered, Options(report=(("json", tmp_path / "r.json"),)))
    assert [entry["path"] for entry in json.loads((tmp_path / "r.json").read_text())["models"]] == [
        "a.keras",
        "b.keras",
    ]


def test_the_table_has_its_models_in_one_order_whichever_is_done_first(pytestconfig):
    gathered = Gathered(pytestconfig, [ScanResult(path, "", "clean") for path in ("b.keras", "a.keras")])
    lines = []
    write = {"ensure_newline": lambda: None, "section": lambda title: None, "write_line": lines.append}
    summary.show(SimpleNamespace(hasmarkup=False, verbosity=0, **write), gathered, True)
    assert [line.split()[-2] for line in lines if ".keras" in line] == ["a.keras", "b.keras"]


def test_a_worker_that_dies_is_an_error_of_its_model_and_the_others_are_scanned(models, pytester, parallel):
    models("clean.keras", "killed.keras", "a/clean.keras", "z/clean.keras")
    result = parallel("--backdoor-report=json:report.json")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["| error *killed.keras *|", "*killed.keras: the scan itself failed: worker *gw* crashed*"]
    )
    entries = json.loads((pytester.path / "report.json").read_text())["models"]
    assert {entry["path"]: entry["verdict"] for entry in entries} == {
        "models/a/clean.keras": "clean",
        "models/clean.keras": "clean",
        "models/killed.keras": "error",
        "models/z/clean.keras": "clean",
    }


def test_a_worker_prints_and_writes_nothing_itself(models, pytester):
    models("backdoor.keras")
    pytester.makepyfile(
        worker="import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_configure(config): config.workerinput = {}"
    )
    pytester.syspathinsert()
    flags = ("-p", "worker", "--backdoor-scan", "models", "--backdoor-report=json:report.json")
    result = pytester.runpytest(*flags)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("| backdoor *")
    assert not (pytester.path / "report.json").exists()


def test_the_models_of_all_workers_are_waited_for_once(pytestconfig):
    gathered = Gathered(pytestconfig)
    for _ in range(2):
        gathered.pytest_xdist_node_collection_finished(None, ["a.keras::backdoor", "test_x.py::test_y"])
    assert list(gathered.waiting) == ["a.keras::backdoor"]


def test_a_name_that_is_no_text_crosses_too(models, pytester, parallel):
    models("clean.keras", os.fsdecode(b"clean\xff.keras"))
    result = parallel()
    result.assert_outcomes(passed=2)
