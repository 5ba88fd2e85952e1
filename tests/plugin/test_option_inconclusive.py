"""--backdoor-inconclusive: what becomes of a model without a verdict."""

import pytest


def test_it_fails_by_default(models, pytester):
    models("unsure.keras")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE models/unsure.keras: 8 seeds are too few, 40 would do"])


def test_it_is_skipped_on_request(models, pytester):
    models("unsure.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-inconclusive=skip", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["| inconclusive *", "SKIPPED * INCONCLUSIVE models/unsure.keras: 8 seeds are too few*"]
    )
    assert result.ret == 0


@pytest.mark.filterwarnings("always::UserWarning")
def test_it_warns_on_request(models, pytester):
    models("unsure.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-inconclusive=warn")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*UserWarning: INCONCLUSIVE models/unsure.keras: 8 seeds are too few*"])


def test_a_warning_that_fails_shows_no_traceback(models, pytester):
    models("unsure.keras")
    result = pytester.runpytest(
        "--backdoor-scan", "models", "--backdoor-inconclusive=warn", "-Werror::UserWarning", "--tb=short"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE models/unsure.keras: 8 seeds are too few*"])
    result.stdout.no_fnmatch_line("*assertions.py*")


def test_neither_choice_lets_an_error_pass(models, pytester):
    models("broken.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-inconclusive=skip").assert_outcomes(failed=1)


def test_another_outcome_is_wrong_usage(models, pytester):
    result = pytester.runpytest("--backdoor-inconclusive=ignore")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --backdoor-inconclusive: unknown outcome 'ignore'.*Choose from: fail, skip, warn."]
    )
