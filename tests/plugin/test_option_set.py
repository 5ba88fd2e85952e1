"""--backdoor-set: a setting of one search or check."""

import pytest


def test_settings_reach_the_scan(models, pytester, asked):
    models("clean.keras")
    flags = ("--backdoor-set=search.steps=300", "--backdoor-set=strip.overlays=128")
    result = pytester.runpytest("--backdoor-scan", "models", *flags)
    assert asked()[0]["set"] == {"search.steps": "300", "strip.overlays": "128"}
    result.stdout.fnmatch_lines([f"*repeat with {' '.join(flags)}"])


def test_flags_replace_single_keys_of_the_ini_file(models, pytester, asked):
    models("clean.keras")
    pytester.makepyprojecttoml('[tool.pytest]\nbackdoor_set = ["search.steps=1", "strip.overlays=2"]')
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-set=search.steps=3")
    assert asked()[0]["set"] == {"search.steps": "3", "strip.overlays": "2"}


@pytest.mark.parametrize("text", ["steps=300", "search.steps", "search.steps=", "=3", "Search.Steps=3", ""])
def test_what_is_no_setting_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-set={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --backdoor-set: expected KEY=VALUE such as search.steps=300, got '{text}'."])
