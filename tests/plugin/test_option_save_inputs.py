"""--backdoor-save-inputs: after a scan the seeds are fuzzed, and the adversarial inputs are saved there."""

import importlib
import json

import pytest

from tests.plugin import fake_fuzzed

FOLDER = "clean_0123456789ab_fedcba987654_step=0.1_constraint=box"


@pytest.fixture(autouse=True)
def fake(monkeypatch, models):
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.fuzzed"), "fuzz_model", fake_fuzzed.fuzz_model)


@pytest.fixture
def fuzzed(pytester):
    """What the fake run was asked: () -> list of dictionaries."""

    def read():
        log = pytester.path / "fuzzed.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return read


def test_the_inputs_are_saved_and_the_summary_says_what_became_of_the_seeds(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-save-inputs=found/inputs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "backdoor: *repeat with --backdoor-save-inputs=found/inputs",
            f"models/clean.keras: fuzzing: 2 adversarial inputs of 2 of 20 seeds; *; saved in found/inputs/{FOLDER}",
        ]
    )
    names = sorted(path.name for path in (pytester.path / "found/inputs" / FOLDER).iterdir())
    assert names == ["0-cat_3_to_8_i2.png", "12_7_to_8_t1_i5.png", "results.json"]


def test_the_metrics_are_in_the_report(models, pytester):
    models("clean.keras")
    flags = ("--backdoor-save-inputs=inputs", "--backdoor-report=json:out.json")
    pytester.runpytest("--backdoor-scan", "models", *flags)
    document = json.loads((pytester.path / "out.json").read_text())
    (model,) = document["models"]
    assert (model["verdict"], model["fuzzing"]["adversarial"], model["fuzzing"]["l2"]) == ("clean", 2, [1.25, 2.5])
    assert model["fuzzing"]["saved"] == f"inputs/{FOLDER}"
    assert model["seconds"] == 5.75  # of the scan and of the run
    assert document["options"]["save_inputs"] == "inputs"


def test_the_rule_of_a_found_backdoor_is_under_test(models, pytester, fuzzed):
    models("backdoor.keras", "clean.keras", "shifted.keras", "broken.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-save-inputs=inputs")
    asked = {entry["model"].rpartition("/")[2]: entry["rule"] for entry in fuzzed()}
    shifts = "0>1 1>2 2>3 3>4 4>5 5>6 6>7 7>8 8>9 9>0"
    assert asked == {"backdoor.keras": "7", "clean.keras": None, "shifted.keras": shifts}


def test_what_cannot_be_fuzzed_changes_no_verdict(models, pytester):
    models("clean_odd.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-save-inputs=inputs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["models/clean_odd.keras: fuzzing: no seeds to push"])
    assert not (pytester.path / "inputs").exists()


def test_a_target_that_a_model_does_not_know_changes_no_verdict(models, pytester):
    models("clean_four.keras", "clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-save-inputs=inputs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "models/clean.keras: fuzzing: 2 adversarial inputs of 2 of 20 seeds; *",
            "models/clean_four.keras: fuzzing: fuzz.target is 9, but the model knows the classes 0 to 3.",
        ]
    )


def test_a_folder_that_cannot_be_written_is_said(models, pytester):
    models("clean.keras")
    (pytester.path / "file").write_text("")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-save-inputs=file")
    result.stdout.fnmatch_lines([f"models/clean.keras: fuzzing: *; inputs not saved: *file/{FOLDER}/0-cat_3_to_8*"])


def test_without_it_nothing_is_fuzzed(models, pytester, fuzzed):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:out.json")
    assert fuzzed() == []
    assert json.loads((pytester.path / "out.json").read_text())["models"][0]["fuzzing"] is None


def test_the_ini_file_sets_it_from_its_own_folder_and_a_marker_from_the_root(models, pytester, fuzzed):
    models("clean.keras")
    pytester.makepyprojecttoml('[tool.pytest]\nbackdoor_save_inputs = "of_ini"')
    pytester.makepyfile(
        """
        import pytest

        def test_plain(backdoor_scan):
            backdoor_scan("models/clean.keras")

        @pytest.mark.backdoor(save_inputs="of_marker")
        def test_marked(backdoor_scan):
            backdoor_scan("models/clean.keras")

        def test_argument(backdoor_scan):
            backdoor_scan("models/clean.keras", save_inputs=None)
        """
    )
    pytester.runpytest().assert_outcomes(passed=3)
    assert len(fuzzed()) == 2
    assert (pytester.path / "of_ini" / FOLDER / "results.json").exists()
    assert (pytester.path / "of_marker" / FOLDER / "results.json").exists()


def test_it_takes_a_folder(models, pytester):
    result = pytester.runpytest("--backdoor-save-inputs=")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --backdoor-save-inputs: expected a path, got ''."])
