"""--backdoor-report: reports to write."""

import json

import pytest


def test_several_reports_are_written(models, pytester):
    models("backdoor.keras", "clean.keras")
    pytester.runpytest(
        "--backdoor-scan", "models", "--backdoor-report=json:a.json", "--backdoor-report=json:deep/b.json"
    )
    first, second = ((pytester.path / name).read_text() for name in ("a.json", "deep/b.json"))
    assert first == second
    assert [entry["path"] for entry in json.loads(first)["models"]] == ["models/backdoor.keras", "models/clean.keras"]


def test_an_unknown_format_is_wrong_usage_and_the_right_one_is_named(models, pytester):
    result = pytester.runpytest("--backdoor-report=jsn:a.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: unknown report format 'jsn'. Did you mean 'json'? Choose from: json."])


@pytest.mark.parametrize("text", ["a.json", "json:", ":a.json"])
def test_what_is_no_format_and_path_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-report={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        [f"ERROR: --backdoor-report: expected FORMAT:PATH such as json:report.json, got '{text}'."]
    )


def test_a_report_that_cannot_be_written_is_said_and_the_run_does_not_pass(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:models/clean.keras/report.json")
    result.stdout.fnmatch_lines(["report not written: models/clean.keras/report.json: *"])
    assert result.ret == 1


def test_the_command_that_repeats_a_run_leaves_the_report_alone(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:a.json")
    result.stdout.fnmatch_lines(["  repeat   pytest models/backdoor.keras::backdoor --backdoor-scan"])
