"""--backdoor-seed: the seed of every random choice."""

import pytest


def test_the_seed_reaches_the_scan_and_the_header(models, pytester, asked):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-seed=7")
    result.stdout.fnmatch_lines(["backdoor: *, seed 7; repeat with --backdoor-seed=7"])
    assert asked()[0]["seed"] == 7


@pytest.mark.parametrize("text", ["-1", "1.5", "x", ""])
def test_what_is_no_whole_number_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-seed={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --backdoor-seed: expected a whole number from 0 up, got '{text}'."])
