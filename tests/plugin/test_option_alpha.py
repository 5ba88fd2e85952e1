"""--backdoor-alpha: the rate of false alarms."""

import pytest


def test_the_rate_reaches_the_scan_header_and_failure(models, pytester, asked):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-alpha=0.05")
    result.stdout.fnmatch_lines(
        [
            "backdoor: *, alpha 0.05, *; repeat with --backdoor-alpha=0.05",
            "  p-value  1e-06 * (alpha 0.05)",
            "  repeat   pytest models/backdoor.keras::backdoor --backdoor-scan --backdoor-alpha=0.05",
        ]
    )
    assert asked()[0]["alpha"] == 0.05


@pytest.mark.parametrize("text", ["0", "1", "2", "-0.1", "nan", "few"])
def test_what_is_no_rate_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-alpha={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        [f"ERROR: --backdoor-alpha: expected a number from 0 to 1, both excluded, got '{text}'."]
    )


def test_a_toml_number_is_read_natively(models, pytester, asked):
    models("clean.keras")
    pytester.makepyprojecttoml("[tool.pytest]\nbackdoor_alpha = 0.2")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["alpha"] == 0.2


def test_toml_text_in_place_of_a_number_is_wrong_usage(models, pytester):
    pytester.makepyprojecttoml('[tool.pytest]\nbackdoor_alpha = "0.2"')
    result = pytester.runpytest("--backdoor-scan")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: *backdoor_alpha* expects a float, got str*"])


def test_an_ini_file_whose_number_is_none_is_wrong_usage_and_names_the_key(models, pytester):
    pytester.makeini("[pytest]\nbackdoor_alpha = abc")
    result = pytester.runpytest("--backdoor-scan")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: ini key backdoor_alpha: could not convert string to float: 'abc'."])
