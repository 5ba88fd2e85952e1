"""--backdoor-folder: where found triggers are saved."""

import numpy as np


def test_triggers_are_saved_there_and_named_in_the_failure(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-folder=found/triggers")
    result.stdout.fnmatch_lines(["  saved    found/triggers/0e0e0e0e0e0e-0.npz"])
    with np.load(pytester.path / "found/triggers/0e0e0e0e0e0e-0.npz") as stored:
        assert stored["mask"].sum() == 8


def test_no_other_file_is_left_there(models, pytester):
    models("backdoor.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert [path.name for path in (pytester.path / ".backdoor").iterdir()] == ["0e0e0e0e0e0e-0.npz"]


def test_a_clean_model_leaves_no_folder(models, pytester):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert not (pytester.path / ".backdoor").exists()
