"""--backdoor-selftest: after a clean verdict, what the search finds of backdoors planted in copies of the model."""

import importlib
import json

import pytest

from tests.plugin import fake_selftest


@pytest.fixture(autouse=True)
def fake(monkeypatch, models):
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.selftest"), "selftest", fake_selftest.selftest)


@pytest.fixture
def planted(pytester):
    """What the fake self-test was asked: () -> list of dictionaries."""

    def read():
        log = pytester.path / "planted.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return read


def test_a_clean_model_is_tested_and_the_summary_says_what_would_have_been_found(models, pytester, planted):
    models("clean.keras", "backdoor.keras", "unsure.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-selftest")
    assert [entry["model"].rpartition("/")[2] for entry in planted()] == ["clean.keras"]
    result.stdout.fnmatch_lines(
        [
            "backdoor: *repeat with --backdoor-selftest",
            "models/clean.keras: would have found: patch from 1 px; missed: all-to-one warp of 1 px moved;"
            " not planted: all-to-one tone of 50 % strength",
        ]
    )


def test_power_and_plants_are_in_the_report(models, pytester):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-selftest", "--backdoor-report=json:out.json")
    (model,) = json.loads((pytester.path / "out.json").read_text())["models"]
    assert model["power"] == {"patch": 1 / 784}
    assert [each["name"] for each in model["self_test"]["plants"]] == ["pixel", "warp", "tone"]
    assert model["self_test"]["found"] == [0.5, 0.0025, 0.9975]
    assert model["seconds"] == 38.5  # of the scan and of the self-test


def test_a_missed_plant_is_no_failure_of_the_model(models, pytester):
    models("clean.keras", "clean_odd.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-selftest")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["models/clean_odd.keras: self-test: Keras cannot copy the model"])


def test_without_it_nothing_is_planted(models, pytester, planted):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:out.json")
    assert planted() == []
    assert json.loads((pytester.path / "out.json").read_text())["models"][0]["self_test"] is None


def test_the_ini_file_switches_it_on_and_a_marker_off(models, pytester, planted):
    models("clean.keras")
    pytester.makepyprojecttoml("[tool.pytest]\nbackdoor_selftest = true")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("selftest", [True, False])
        def test_model(backdoor_scan, selftest):
            backdoor_scan("models/clean.keras", selftest=selftest)

        @pytest.mark.backdoor(selftest=False)
        def test_marked(backdoor_scan):
            backdoor_scan("models/clean.keras")

        def test_plain(backdoor_scan):
            backdoor_scan("models/clean.keras")
        """
    )
    pytester.runpytest().assert_outcomes(passed=4)
    assert len(planted()) == 2


def test_it_takes_no_value(models, pytester):
    assert pytester.runpytest("--backdoor-selftest=yes").ret == 4
