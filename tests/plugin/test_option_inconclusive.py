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
        ["| inconclusive *", "SKIPPED [[]1] models/unsure.keras:1: INCONCLUSIVE models/unsure.keras: 8 seeds*"]
    )
    assert result.ret == 0


@pytest.mark.filterwarnings("always::UserWarning")
def test_it_warns_on_request(models, pytester):
    models("unsure.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-inconclusive=warn")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["  <models/unsure.keras>:1: UserWarning: INCONCLUSIVE models/unsure.keras: 8 *"])


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_warning_shows_nothing_of_what_lies_in_the_model_file(models, pytester):
    models("unsure.keras", "unsure\x1b[1m.keras")
    for path in pytester.path.glob("models/*"):
        path.write_text("a line that a stranger wrote")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-inconclusive=warn")
    result.assert_outcomes(passed=2, warnings=2)
    assert "stranger" not in result.stdout.str()
    assert "\x1b" not in result.stdout.str()


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("outcome", ["skip", "warn"])
def test_a_test_that_asserts_is_told_its_own_line(models, pytester, outcome):
    models("unsure.keras")
    path = pytester.makepyfile(
        """
        from pytest_backdoor import assert_no_backdoor

        def test_model():
            assert_no_backdoor("models/unsure.keras")
        """
    )
    result = pytester.runpytest(f"--backdoor-inconclusive={outcome}", "-rs")
    result.stdout.fnmatch_lines([f"*{path.name}:4: *INCONCLUSIVE models/unsure.keras: 8 seeds are too few*"])


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
