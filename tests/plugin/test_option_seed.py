"""--backdoor-seed: the seed of every random choice."""

import pytest


def test_the_seed_reaches_the_scan_and_the_header(models, pytester, asked):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-seed=7")
    result.stdout.fnmatch_lines(["backdoor: *, seed 7; repeat with --backdoor-seed=7"])
    assert asked()[0]["seed"] == 7


def test_the_printed_command_undoes_an_ini_value(models, pytester):
    models("backdoor.keras")
    pytester.makeini("[pytest]\nbackdoor_seed = 3\nbackdoor_alpha = 0.05")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-seed=0")
    result.stdout.fnmatch_lines(["  repeat   * --backdoor-scan --backdoor-alpha=0.05 --backdoor-seed=0"])


@pytest.mark.parametrize("text", ["-1", "1.5", "x", ""])
def test_what_is_no_whole_number_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-seed={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --backdoor-seed: expected a whole number from 0 up, got '{text}'."])
