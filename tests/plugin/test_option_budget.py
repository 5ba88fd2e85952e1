"""--backdoor-budget: time for each model."""

import pytest


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("45", 45.0)])
def test_the_time_reaches_the_scan_in_seconds(models, pytester, asked, text, seconds):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", f"--backdoor-budget={text}")
    assert asked()[0]["budget"] == seconds


def test_without_it_there_is_no_limit(models, pytester, asked):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["budget"] is None


@pytest.mark.parametrize("text", ["0s", "-1", "ten", "10d", "inf", "nan", "1.2.3s", ""])
def test_what_is_no_time_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-budget={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --backdoor-budget: expected a time above zero such as 90s*, got '{text}'."])
