"""The fixtures, the marker and the assertions inside tests."""

import json
import re
import textwrap

import numpy as np
import pytest

INI = """
[pytest]
backdoor_models = models
"""


@pytest.fixture
def seeds(pytester):
    """Writes a small seeds file: name -> None."""

    def write(name):
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, x=np.zeros((4, 2, 2, 1), "uint8"), y=np.arange(4))

    return write


def test_backdoor_model_is_each_model_of_the_ini_list(models, pytester):
    models("clean.keras", "sub/other.h5")
    pytester.makeini(INI)
    pytester.makepyfile("def test_model(backdoor_model): assert type(backdoor_model).__name__ == 'FakeModel'")
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_model[[]models/clean.keras] PASSED*", "*[[]models/sub/other.h5] PASSED*"])


def test_a_list_of_models_that_cannot_be_read_is_wrong_usage(models, pytester):
    models("clean.keras")
    pytester.makefile(".toml", pytest='[pytest]\nbackdoor_models = "models"')
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: ini key backdoor_models: *expects a list for type 'args', got str*"])


def test_a_marker_whose_model_is_no_path_fails_its_own_test_only(models, pytester):
    models("clean.keras")
    pytester.makeini(INI)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.backdoor(model=3)
        def test_wrong(backdoor_model):
            pass

        @pytest.mark.backdoor(model="models/clean.keras")
        def test_right(backdoor_model):
            pass
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*backdoor_model: expected a path, got 3."])


TAKES_ITS_OWN = (
    """
    @pytest.mark.parametrize("backdoor_model", ["models/other.keras"], indirect=True)
    @pytest.mark.parametrize(("one", "two"), [(1, 2)])
    def test_model(backdoor_model, one, two, backdoor_seeds):
        assert len(backdoor_seeds) == 4
    """,
    """
    @pytest.mark.backdoor(model="models/clean.keras")
    class TestMarked:
        @pytest.mark.parametrize(
            argnames="one, backdoor_model", argvalues=[(1, "models/other.keras")], indirect=["backdoor_model"]
        )
        def test_model(self, one, backdoor_model, backdoor_seeds):
            assert len(backdoor_seeds) == 4
    """,
    """
    @pytest.mark.parametrize("one", [pytest.param(1, marks=pytest.mark.backdoor(model="models/other.keras"))])
    @pytest.mark.parametrize("two", (2 for _ in range(1)))
    def test_model(backdoor_model, one, two, backdoor_seeds):
        assert len(backdoor_seeds) == 4
    """,
    """
    @pytest.fixture
    def backdoor_model():
        return 3

    def test_model(backdoor_model):
        assert backdoor_model == 3
    """,
    """
    @pytest.fixture(params=[3])
    def backdoor_model(request):
        return request.param

    @pytest.mark.backdoor(seeds="models/other.seeds.npz")
    def test_model(backdoor_model, backdoor_seeds):
        assert backdoor_model == 3
    """,
)


@pytest.mark.parametrize("source", TAKES_ITS_OWN, ids=["indirect", "marked", "parameter", "fixture", "params"])
def test_a_test_that_chooses_its_models_itself_is_not_repeated_for_those_of_the_ini_list(
    models, pytester, seeds, monkeypatch, source
):
    models("clean.keras", "other.keras", "third.keras")
    seeds("models/other.seeds.npz")
    pytester.makeini(INI)
    path = pytester.makepyfile(f"import pytest\n{textwrap.dedent(source)}")
    monkeypatch.chdir(pytester.mkdir("elsewhere"))  # models are named from the root
    pytester.runpytest(path).assert_outcomes(passed=1)


def test_a_fixture_around_backdoor_model_is_made_for_each_model_of_the_ini_list(models, pytester):
    models("clean.keras", "other.keras")
    pytester.makeini(INI)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def backdoor_model(backdoor_model):
            return [backdoor_model]

        def test_model(backdoor_model):
            assert type(backdoor_model[0]).__name__ == "FakeModel"
        """
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_a_model_is_loaded_and_scanned_once_for_all_tests_of_a_module(models, pytester, asked):
    models("clean.keras")
    pytester.makepyfile(
        """
        import pytest
        from pathlib import Path

        @pytest.fixture(scope="module")
        def model(load_backdoor_model):
            Path("clean.keras").write_bytes(b"")
            return load_backdoor_model("clean.keras")

        @pytest.fixture(scope="session")
        def result(backdoor_scan):
            return backdoor_scan("models/clean.keras")

        @pytest.mark.backdoor(alpha=0.03)
        def test_first(model, result):
            assert type(model).__name__ == "FakeModel"

        def test_second(model, result):
            assert result.verdict == "clean"
        """
    )
    result = pytester.runpytest("--backdoor-report=json:report.json")
    result.assert_outcomes(passed=2)
    assert [entry["alpha"] for entry in asked()] == [0.03]
    assert len(json.loads((pytester.path / "report.json").read_text())["models"]) == 1


def test_a_test_that_pytest_cannot_repeat_is_told_to_name_its_model(models, pytester):
    models("clean.keras")
    pytester.makeini(INI)
    pytester.makepyfile("def test_model(request): request.getfixturevalue('backdoor_model')")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["backdoor_model: pytest repeats a test for each*@pytest.mark.backdoor(model=*"])


def test_a_listed_folder_without_models_is_named(models, pytester):
    models("clean.keras")
    pytester.makeini(INI)
    (pytester.path / "empty").mkdir()
    pytester.makepyfile("def test_model(backdoor_model): pass")
    result = pytester.runpytest("-o", "backdoor_models=models empty")
    result.stdout.fnmatch_lines(["backdoor_model: nothing to scan in *empty: it holds no model files ([*].keras, *"])
    result.assert_outcomes(passed=1, errors=1)


def test_nothing_in_a_listed_folder_is_passed_over_in_silence(models, pytester):
    models("clean.keras", "unpacked/config.json", "unpacked/model.weights.h5", "a.weights.h5", "out/saved_model.pb")
    (pytester.path / "models/gone.keras").symlink_to("nowhere")
    pytester.makeini(INI)
    pytester.makepyfile("def test_model(backdoor_model, backdoor_scan): backdoor_scan(backdoor_model)")
    result = pytester.runpytest("-v")
    result.stdout.fnmatch_lines(
        [
            "*test_model[[]models/gone.keras] ERROR*",
            "backdoor_model: not scanned: *models/unpacked, an unpacked Keras model. *",
            "not scanned: models/a.weights.h5, weights without a model. *",
            "not scanned: models/out/saved_model.pb, a SavedModel, *",
        ]
    )
    result.assert_outcomes(passed=1, errors=2)


def test_a_folder_of_models_is_no_model(models, pytester):
    models("clean.keras")
    pytester.makepyfile("import pytest\n@pytest.mark.backdoor(model='models')\ndef test_model(backdoor_model): pass")
    pytester.runpytest().stdout.fnmatch_lines(["backdoor_model: *models is a folder. Give the path of a model file*"])


def test_a_tilde_in_the_list_is_the_home(models, pytester, monkeypatch):
    models("home/clean.keras")
    monkeypatch.setenv("HOME", str(pytester.path / "models/home"))
    pytester.makeini("[pytest]\nbackdoor_models = ~/clean.keras ~")
    pytester.makepyfile("def test_model(backdoor_model): pass")
    result = pytester.runpytest("--collect-only")
    result.stdout.fnmatch_lines([f"*test_model[[]models/home/clean.keras{number}]*" for number in (0, 1)])


def test_backdoor_model_is_the_one_of_the_marker(models, pytester):
    models("clean.keras", "other.keras")
    pytester.makeini(INI)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.backdoor(model="models/other.keras")
        def test_model(backdoor_model, backdoor_scan):
            assert backdoor_scan(backdoor_model).path.endswith("models/other.keras")
        """
    )
    pytester.runpytest("--strict-markers").assert_outcomes(passed=1)


def test_backdoor_model_without_a_name_says_what_to_write(models, pytester):
    pytester.makepyfile("def test_model(backdoor_model): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["backdoor_model: no model is named. Write backdoor_models = *"])


def test_the_seeds_of_the_marker_come_before_those_of_the_flag(models, pytester, seeds, asked):
    models("clean.keras")
    seeds("marked.npz")
    seeds("flagged.npz")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.backdoor(model="models/clean.keras", seeds="marked.npz")
        def test_marked(backdoor_model, backdoor_seeds, backdoor_scan):
            assert backdoor_seeds.images.shape == (4, 2, 2, 1)
            backdoor_scan(backdoor_model)

        @pytest.mark.backdoor(model="models/clean.keras")
        def test_flagged(backdoor_model, backdoor_scan):
            backdoor_scan(backdoor_model)
        """
    )
    pytester.runpytest("--backdoor-seeds=flagged.npz").assert_outcomes(passed=2)
    assert [entry["seeds"].rpartition("/")[2] for entry in asked()] == ["marked.npz", "flagged.npz"]


def test_seeds_are_found_beside_the_model(models, pytester, seeds, asked):
    models("clean.keras")
    seeds("models/clean.seeds.npz")
    pytester.makeini(INI)
    pytester.makepyfile(
        """
        def test_seeds(backdoor_model, backdoor_seeds, backdoor_scan):
            assert len(backdoor_seeds.labels) == 4
            backdoor_scan(backdoor_model)
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)
    assert asked()[0]["seeds"].endswith("models/clean.seeds.npz")


def test_missing_seeds_say_where_they_were_looked_for(models, pytester):
    models("clean.keras")
    pytester.makeini(INI)
    pytester.makepyfile("def test_seeds(backdoor_seeds, backdoor_model): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["backdoor_seeds: no seeds: none were given, and there is no <model>.seeds.npz*"])


def test_a_failed_assertion_shows_the_users_line_and_the_report(models, pytester):
    models("backdoor.keras")
    pytester.makepyfile(
        """
        from pytest_backdoor import assert_no_backdoor

        def test_model():
            assert_no_backdoor("models/backdoor.keras")
        """
    )
    result = pytester.runpytest("--junitxml=out.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       assert_no_backdoor("models/backdoor.keras")',
            "E       pytest_backdoor.errors.BackdoorFound: BACKDOOR all-to-one, target class 7: *",
            "E         repeat   pytest *.py::test_model",
            "| backdoor | all-to-one | 7 *| models/backdoor.keras |",
        ]
    )
    result.stdout.no_fnmatch_line("*def assert_no_backdoor*")
    assert "backdoor_verdict" in (pytester.path / "out.xml").read_text()


def test_options_come_from_argument_then_marker_then_flag_then_ini(models, pytester, asked):
    models("clean.keras")
    pytester.makeini(
        "[pytest]\nbackdoor_alpha = 0.1\nbackdoor_seed = 1\nbackdoor_profile = quick\nbackdoor_budget = 1h"
    )
    pytester.makepyfile(
        """
        import pytest
        from pytest_backdoor import assert_no_backdoor

        @pytest.mark.backdoor(alpha=0.3, seed=3)
        def test_model():
            assert_no_backdoor("models/clean.keras", alpha=0.4)
        """
    )
    pytester.runpytest("--backdoor-alpha=0.2", "--backdoor-seed=2", "--backdoor-profile=thorough").assert_outcomes(
        passed=1
    )
    (entry,) = asked()
    assert (entry["alpha"], entry["seed"], entry["profile"], entry["budget"]) == (0.4, 3, "thorough", 3600.0)


def test_the_nearest_marker_counts(models, pytester, asked):
    models("clean.keras")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.backdoor(alpha=0.3, seed=3)
        class TestModels:
            @pytest.mark.backdoor(seed=4)
            def test_model(self, backdoor_scan):
                backdoor_scan("models/clean.keras")
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)
    assert (asked()[0]["alpha"], asked()[0]["seed"]) == (0.3, 4)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("alhpa=1", "@pytest.mark.backdoor: unknown option 'alhpa'. Did you mean 'alpha'?*"),
        ("alpha=1", "@pytest.mark.backdoor, alpha: expected a number from 0 to 1, both excluded, got 1."),
        ("report='json:x'", "@pytest.mark.backdoor: unknown option 'report'.*"),
        ("'model.keras'", "@pytest.mark.backdoor takes names only, got 'model.keras'. Write model='model.keras'."),
    ],
)
def test_a_wrong_marker_fails_its_test_and_names_itself(models, pytester, marker, message):
    pytester.makepyfile(f"import pytest\n@pytest.mark.backdoor({marker})\ndef test_model(): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_wrong_argument_says_what_was_received(models, pytester):
    pytester.makepyfile("def test_model(backdoor_scan): backdoor_scan('models/x.keras', profile='quik')")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(
        ["E *OptionError: profile: unknown profile 'quik'. Did you mean 'quick'? Choose from: *"]
    )


def test_an_error_of_an_assertion_ends_at_the_users_line(models, pytester):
    pytester.makepyfile(
        """
        from pytest_backdoor import assert_covered

        def test_coverage():
            assert_covered("models/nosuch.keras", "nosuch.npz", minimum=3)

        def test_scan(backdoor_scan):
            backdoor_scan("models/nosuch.keras", alpha=3)
        """
    )
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["E *OptionError: minimum takes a share from 0 to 1, got 3.", "*.py:4: OptionError"])
    result.stdout.fnmatch_lines(["E *OptionError: alpha: expected a number *, got 3.", "*.py:7: OptionError"])
    result.stdout.no_fnmatch_line("*assertions.py*")
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_the_random_generator_depends_on_seed_and_test_only(models, pytester):
    pytester.makepyfile(
        """
        def test_first(backdoor_rng): print("first", f"{backdoor_rng.random():.9f};")
        def test_second(backdoor_rng): print("second", f"{backdoor_rng.random():.9f};")
        """
    )

    def drawn(*flags):
        return dict(re.findall(r"(first|second) (0\.\d+)", pytester.runpytest("-s", *flags).stdout.str()))

    both = drawn()
    assert both["first"] != both["second"]
    assert drawn("-k", "second")["second"] == both["second"]
    assert drawn("--backdoor-seed=1")["second"] != both["second"]


def test_results_of_written_tests_are_in_the_json_report(models, pytester):
    models("clean.keras", "backdoor.keras")
    pytester.makepyfile(
        """
        def test_both(backdoor_scan):
            verdicts = [backdoor_scan(f"models/{name}.keras").verdict for name in ("clean", "backdoor")]
            assert verdicts == ["clean", "backdoor"]
        """
    )
    pytester.runpytest("--backdoor-report=json:report.json").assert_outcomes(passed=1)
    document = json.loads((pytester.path / "report.json").read_text())
    # by their paths, in whatever order they were scanned
    assert [entry["verdict"] for entry in document["models"]] == ["backdoor", "clean"]


def test_a_model_that_cannot_be_loaded_fails_in_words(models, pytester):
    pytester.makeconftest(
        """
        import pytest
        from pytest_backdoor import UnsafeModelError

        def refuse(path):
            raise UnsafeModelError("layer 'lambda_1' would run code")

        @pytest.fixture(autouse=True)
        def refused(monkeypatch):
            monkeypatch.setattr("pytest_backdoor.loading.keras_file.load", refuse)
        """
    )
    pytester.makepyfile("import pytest\n@pytest.mark.backdoor(model='x.keras')\ndef test_model(backdoor_model): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["backdoor_model: layer 'lambda_1' would run code"])
