"""--backdoor-folder: where found triggers are saved."""

import json

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


def test_a_trigger_that_other_options_led_to_is_not_replaced(models, pytester):
    models("backdoor.keras")
    with np.load(_saved(pytester)) as stored:
        arrays = dict(stored)
    np.savez_compressed(pytester.path / ".backdoor/0e0e0e0e0e0e-0.npz", **arrays | {"pattern": 1 - arrays["pattern"]})
    before = (pytester.path / ".backdoor/0e0e0e0e0e0e-0.npz").read_bytes()
    for _ in range(2):  # the same trigger has the same name again
        result = pytester.runpytest("--backdoor-scan", "models")
        result.stdout.re_match_lines([r"  saved    \.backdoor/0e0e0e0e0e0e-0-[0-9a-f]{8}\.npz"])
    assert (pytester.path / ".backdoor/0e0e0e0e0e0e-0.npz").read_bytes() == before
    assert len(list((pytester.path / ".backdoor").iterdir())) == 2


def test_a_test_that_leaves_the_folder_takes_nothing_with_it(models, pytester):
    models("backdoor.keras")
    pytester.makepyfile(
        """
        from pytest_backdoor import assert_no_backdoor

        def test_elsewhere(tmp_path, monkeypatch, request):
            monkeypatch.chdir(tmp_path)
            assert_no_backdoor(request.config.rootpath / "models/backdoor.keras")
        """
    )
    result = pytester.runpytest("--backdoor-folder=found", "--backdoor-report=json:report.json")
    saved = f"{pytester.path}/found/0e0e0e0e0e0e-0.npz"
    result.stdout.fnmatch_lines([f"*  saved    {saved}"])
    with np.load(saved) as stored:
        assert stored["mask"].sum() == 8
    (entry,) = json.loads((pytester.path / "report.json").read_text())["models"]
    assert entry["path"] == "models/backdoor.keras"


def test_a_clean_model_leaves_no_folder(models, pytester):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models")
    assert not (pytester.path / ".backdoor").exists()


def _saved(pytester):
    """The one trigger of a first run."""
    pytester.runpytest("--backdoor-scan", "models")
    (path,) = (pytester.path / ".backdoor").iterdir()
    return path
