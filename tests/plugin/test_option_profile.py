"""--backdoor-profile: how hard to search."""

import pytest


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
def test_the_profile_reaches_the_scan_and_the_header(models, pytester, asked, name):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", f"--backdoor-profile={name}")
    result.stdout.fnmatch_lines([f"backdoor: *, profile {name}, *"])
    assert asked()[0]["profile"] == name


def test_a_misspelt_profile_is_wrong_usage_and_the_right_one_is_named(models, pytester):
    result = pytester.runpytest("--backdoor-profile=quik")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --backdoor-profile: unknown profile 'quik'. Did you mean 'quick'? Choose from: quick, *."]
    )


def test_a_misspelt_profile_in_the_ini_file_names_the_key(models, pytester):
    pytester.makeini("[pytest]\nbackdoor_profile = fast")
    result = pytester.runpytest()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: ini key backdoor_profile: unknown profile 'fast'. Choose from: *"])
