"""--backdoor-min-accuracy: the accuracy on seeds that a model must have."""

import pytest


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("0.8", 0.8), ("1", 1.0)])
def test_the_share_reaches_the_scan(models, pytester, asked, text, share):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", f"--backdoor-min-accuracy={text}")
    assert asked()[0]["min_accuracy"] == share


def test_a_percentage_is_wrong_usage(models, pytester):
    result = pytester.runpytest("--backdoor-min-accuracy=80")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --backdoor-min-accuracy: expected a number from 0 to 1, got '80'."])
