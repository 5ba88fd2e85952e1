"""--backdoor-memory: what the images of one step may take."""

import pytest


@pytest.mark.parametrize(
    ("text", "size"), [("2g", 2**31), ("512m", 2**29), ("1.5G", 3 * 2**29), ("64MB", 2**26), ("1048576", 2**20)]
)
def test_the_size_reaches_the_scan_in_bytes(models, pytester, asked, text, size):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", f"--backdoor-memory={text}")
    assert asked()[0]["memory"] == size


def test_without_it_there_are_four_gigabytes(models, pytester, asked):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert asked()[0]["memory"] == 4 * 2**30


def test_an_ini_key_sets_it_and_a_marker_goes_before(models, pytester, asked):
    models("clean.keras")
    pytester.makeini("[pytest]\nbackdoor_memory = 1g")
    pytester.makepyfile(
        """
        import pytest
        from pytest_backdoor import assert_no_backdoor

        @pytest.mark.backdoor(model="models/clean.keras", memory="256m")
        def test_marked(backdoor_model):
            assert_no_backdoor(backdoor_model)

        @pytest.mark.backdoor(model="models/clean.keras")
        def test_plain(backdoor_model):
            assert_no_backdoor(backdoor_model)
        """
    )
    pytester.runpytest().assert_outcomes(passed=2)
    assert [each["memory"] for each in asked()] == [2**28, 2**30]


@pytest.mark.parametrize("text", ["0", "-1g", "much", "2t", "1.2.3g", "nan", "g", ""])
def test_what_is_no_size_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-memory={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: --backdoor-memory: expected a size of memory such as 2g*, got '{text}'."])
