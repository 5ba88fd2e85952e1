"""Under xdist the controller prints and writes what its workers found."""

import json

import pytest

pytest.importorskip("xdist")


@pytest.fixture
def parallel(pytester, monkeypatch):
    """Runs with two workers: arguments -> result."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist -p pytest_backdoor.plugin -p fake_scan -p no:cacheprovider")
    # In a process of its own: xdist hands its workers the import path that it saw first.
    return lambda *arguments: pytester.runpytest_subprocess(
        "-n2", "--dist=loadfile", "--backdoor-scan", "models", *arguments
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


def test_a_worker_that_dies_is_an_error_of_its_model(models, pytester, parallel):
    models("clean.keras", "killed.keras")
    result = parallel("--max-worker-restart=0", "--backdoor-report=json:report.json")
    result.stdout.fnmatch_lines(
        ["| error *killed.keras *|", "*killed.keras: the scan itself failed: worker *gw* crashed*"]
    )
    entries = json.loads((pytester.path / "report.json").read_text())["models"]
    assert {entry["path"]: entry["verdict"] for entry in entries}["models/killed.keras"] == "error"
