"""Scanning model files as pytest items: what is collected, printed and returned."""

import json
import os
import xml.etree.ElementTree as ElementTree

import pytest


def test_each_model_file_is_one_item_and_weights_alone_are_none(models, pytester):
    models("clean.keras", "deep/clean.h5", "clean.HDF5", "clean.weights.h5", "notes.txt")
    result = pytester.runpytest("--backdoor-scan", "--collect-only", "-q")
    result.stdout.fnmatch_lines_random(
        ["models/clean.keras::backdoor", "models/deep/clean.h5::backdoor", "models/clean.HDF5::backdoor"]
    )
    result.stdout.fnmatch_lines(["3 tests collected*"])
    result.stdout.no_fnmatch_line("*not scanned*")


def test_nothing_is_collected_without_the_flag(models, pytester):
    models("backdoor.keras")
    assert pytester.runpytest("models").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_clean_model_passes(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["models/clean.keras::backdoor PASSED*", "| clean *| models/clean.keras |"])
    assert result.ret == 0


def test_a_backdoor_fails_with_the_report_and_no_traceback(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ models/backdoor.keras _*",
            "BACKDOOR all-to-one, target class 7: 8 pixels (1.02 %), success 97 % (93 to 99 %)",
            "  saved    .backdoor/0e0e0e0e0e0e-0.npz",
            '  replay   assert_trigger_inert(model, ".backdoor/0e0e0e0e0e0e-0.npz", seeds, target=7)',
            "  repeat   pytest models/backdoor.keras::backdoor --backdoor-scan",
            "| backdoor | all-to-one | 7 *",
            "models/backdoor.keras, trigger of target class 7: rows 24 to 26, columns 23 to 25 of 28 x 28",
            "FAILED models/backdoor.keras::backdoor - BACKDOOR all-to-one, target class 7*",
        ]
    )
    result.stdout.no_fnmatch_line("*assertions.py*")
    assert result.ret == 1
    assert (pytester.path / ".backdoor/0e0e0e0e0e0e-0.npz").is_file()


def test_the_printed_command_repeats_the_one_model(models, pytester):
    models("backdoor.keras", "clean.keras")
    result = pytester.runpytest("models/backdoor.keras::backdoor", "--backdoor-scan")
    result.assert_outcomes(failed=1)


def test_the_printed_command_has_the_settings_that_pytest_was_given(models, pytester):
    models("backdoor.keras")
    pytester.makefile(".ini", own="[pytest]\naddopts = --import-mode=importlib")
    flags = ("-cown.ini", "--rootdir=models", "-o", "backdoor_models=a b", "--override-ini=backdoor_alpha=0.05")
    result = pytester.runpytest("--backdoor-scan", "models", *flags)
    result.stdout.fnmatch_lines(
        [
            "  repeat   pytest models/backdoor.keras::backdoor --backdoor-scan --backdoor-alpha=0.05"
            " --config-file=own.ini --rootdir=models '--override-ini=backdoor_models=a b'"
            " --override-ini=backdoor_alpha=0.05"
        ]
    )
    result = pytester.runpytest("--backdoor-scan", "models", "--import-mode=append")
    result.stdout.fnmatch_lines(["  repeat   pytest models/*::backdoor --backdoor-scan --import-mode=append"])


def test_a_name_that_pytest_takes_for_syntax_is_repeated_by_the_console_script(models, pytester):
    models("backdoor[1].keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-alpha=0.05")
    result.stdout.fnmatch_lines(["  repeat   pytest-backdoor scan 'models/backdoor?1?.keras' --alpha=0.05"])


def test_models_are_named_from_where_the_user_stands(models, pytester, monkeypatch):
    models("bug.keras", "clean.keras", "unscanned.keras")
    pytester.makeini("[pytest]")
    monkeypatch.chdir(pytester.path / "models")
    result = pytester.runpytest("--backdoor-scan", ".", "--maxfail=1", "--backdoor-report=json:report.json")
    result.stdout.fnmatch_lines(["*bug.keras: the scan itself failed*", "not scanned: clean.keras"])
    document = json.loads((pytester.path / "models/report.json").read_text())
    assert [entry["path"] for entry in document["models"]] == ["bug.keras"]
    assert document["missing"] == ["clean.keras", "unscanned.keras"]


def test_models_outside_the_root_folder_are_told_apart_by_their_folders(models, pytester):
    models("a/bug.keras", "b/bug.keras", "b/unscanned.keras")
    pytester.makefile(".ini", **{"settings/own": "[pytest]"})
    flags = ("-csettings/own.ini", "--maxfail=2", "--backdoor-report=json:report.json")
    result = pytester.runpytest("--backdoor-scan", "models/a", "models/b", *flags)
    result.stdout.fnmatch_lines(["FAILED models/a/bug.keras::backdoor *", "FAILED models/b/bug.keras::backdoor *"])
    document = json.loads((pytester.path / "report.json").read_text())
    assert [entry["path"] for entry in document["models"]] == ["models/a/bug.keras", "models/b/bug.keras"]
    assert document["missing"] == ["models/b/unscanned.keras"]


def test_an_error_does_not_pass_and_the_rest_is_scanned(models, pytester):
    models("broken.keras", "clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["ERROR models/broken.keras: not a zip archive", "| error *", "| clean *"])


def test_a_mistake_of_ours_is_an_error_in_the_reports_too(models, pytester):
    models("bug.keras", "clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:report.json")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*fake_scan.py:*: ZeroDivisionError",
            "*bug.keras: the scan itself failed: ZeroDivisionError: a mistake of ours",
        ]
    )
    result.stdout.no_fnmatch_line("*_pytest*")
    entries = json.loads((pytester.path / "report.json").read_text())["models"]
    assert [entry["verdict"] for entry in entries] == ["error", "clean"]


def test_without_files_it_says_that_nothing_was_scanned(models, pytester):
    models("clean.weights.h5")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.stdout.fnmatch_lines(["nothing was scanned: looked for [*].keras, [*].h5, [*].hdf5 (not [*].weights.h5*"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_folder_without_models_beside_passing_tests_does_not_pass(models, pytester):
    pytester.makepyfile(**{"tests/test_own": "def test_nothing(): pass"})
    for name in ("models/.gitkeep", "docs/guide.md"):
        path = pytester.path / name
        path.parent.mkdir()
        path.write_text(">>> 1 + 1\n2\n")
    result = pytester.runpytest("--backdoor-scan", "tests", "models", "docs", "--doctest-glob=*.md")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["nothing to scan in models: it holds no model files ([*].keras, *) and no tests. *"])
    result.stdout.no_fnmatch_line("nothing to scan in tests*")
    result.stdout.no_fnmatch_line("nothing to scan in docs*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert pytester.runpytest("--backdoor-scan", "models").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_weights_without_a_model_are_named_and_are_no_failure(models, pytester):
    models("clean.keras", "deep/clean.weights.h5", "env/pyvenv.cfg", "env/clean.weights.h5", "out/saved_model.pb")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.stdout.fnmatch_lines(["not scanned: models/deep/clean.weights.h5, weights without a model. Save the model*"])
    result.stdout.fnmatch_lines(["not scanned: models/out/saved_model.pb, a SavedModel, which model.export wrote. *"])
    result.stdout.no_fnmatch_line("*models/env/clean*")
    assert result.ret == 0


UNPACKED = ("unpacked/config.json", "unpacked/model.weights.h5", "own/config.json", "own/a.weights.h5")


def test_an_unpacked_model_is_named_and_is_no_clean_one(models, pytester):
    models("clean.keras", *UNPACKED)
    result = pytester.runpytest("--backdoor-scan", "models")
    result.stdout.fnmatch_lines(
        [
            "not scanned: models/own/a.weights.h5, weights without a model. *",
            "not scanned: models/unpacked, an unpacked Keras model. Zip what is in it to a .keras file to have it*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_deselected_models_are_counted_when_none_is_left(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-m", "not backdoor")
    result.stdout.fnmatch_lines(["nothing was scanned: *; 1 deselected"])


def test_models_are_chosen_by_name(models, pytester):
    models("clean.keras", "backdoor.keras")
    pytester.runpytest("--backdoor-scan", "models", "-k", "clean").assert_outcomes(passed=1, deselected=1)


def test_only_what_failed_is_scanned_again(models, pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_backdoor.plugin -p fake_scan")
    models("clean.keras", "backdoor.keras")
    pytester.runpytest("--backdoor-scan", "models").assert_outcomes(passed=1, failed=1)
    pytester.runpytest("--backdoor-scan", "models", "--lf").assert_outcomes(failed=1)


def test_stopping_at_the_first_failure_says_what_was_not_scanned(models, pytester):
    models("backdoor.keras", "clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-x", "--backdoor-report=json:report.json")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["not scanned: models/clean.keras"])
    assert json.loads((pytester.path / "report.json").read_text())["missing"] == ["models/clean.keras"]


def test_an_interrupted_run_reports_what_was_finished(models, pytester):
    models("backdoor.keras", "interrupted.keras", "unscanned.keras")
    flags = ("--backdoor-scan", "models", "--backdoor-report=json:report.json")
    result = pytester.runpytest_inprocess(*flags, no_reraise_ctrlc=True)
    result.stdout.fnmatch_lines(["| backdoor *", "not scanned: models/interrupted.keras", "not scanned: models/uns*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
    document = json.loads((pytester.path / "report.json").read_text())
    assert [entry["path"] for entry in document["models"]] == ["models/backdoor.keras"]
    assert document["missing"] == ["models/interrupted.keras", "models/unscanned.keras"]


def test_a_run_that_ends_in_the_debugger_reports_what_it_scanned(models, pytester):
    models("backdoor.keras", "clean.keras")
    pytester.makeconftest("import pytest\ndef pytest_exception_interact(): pytest.exit('left')")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.stdout.fnmatch_lines(["| backdoor *| models/backdoor.keras |", "not scanned: models/clean.keras"])
    result.stdout.no_fnmatch_line("not scanned: models/backdoor.keras")


def test_a_scan_that_is_run_again_is_reported_once_more(models, pytester):
    models("backdoor.keras")
    pytester.makeconftest(  # as pytest-rerunfailures does
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            return [runtestprotocol(item, nextitem=nextitem) for _ in range(2)]
        """
    )
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:report.json")
    entries = json.loads((pytester.path / "report.json").read_text())["models"]
    assert [entry["verdict"] for entry in entries] == ["backdoor", "backdoor"]


def test_junit_holds_the_result_as_properties(models, pytester):
    models("backdoor.keras")
    pytester.runpytest("--backdoor-scan", "models", "--junitxml=out.xml")
    (case,) = ElementTree.parse(pytester.path / "out.xml").iter("testcase")
    properties = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert case.get("classname") == "models.backdoor.keras"
    assert properties["backdoor_verdict"] == "backdoor"
    assert properties["backdoor_p_value"] == "1e-06"
    assert (properties["backdoor_kind"], properties["backdoor_target"]) == ("all-to-one", "7")
    assert json.loads(properties["backdoor_result"])["findings"][0]["trigger"] == ".backdoor/0e0e0e0e0e0e-0.npz"
    (failure,) = case.iter("failure")
    assert failure.text.startswith("BACKDOOR all-to-one, target class 7")


def test_the_plugin_can_be_turned_off(models, pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:pytest_backdoor.plugin")
    models("backdoor.keras")
    assert pytester.runpytest("models").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_quiet_keeps_the_table_and_drops_the_pictures(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-q")
    result.stdout.fnmatch_lines(["| backdoor | all-to-one | 7 *"])
    result.stdout.no_fnmatch_line("*rows 24 to 26*")


def test_colour_shows_the_trigger_in_half_blocks(models, pytester, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--color=yes")
    assert "▀" in result.stdout.str()
    assert "\x1b[1;31mbackdoor" in result.stdout.str()


def test_without_colour_nothing_is_an_escape(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--color=no")
    assert "\x1b" not in result.stdout.str()


def test_a_name_cannot_command_the_terminal(models, pytester):
    models("broken\x1b[2J[red].keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-v")
    assert "\x1b" not in result.stdout.str()
    result.stdout.fnmatch_lines(["| error *models/broken\\x1b[[]2J[[]red].keras*"])


def test_a_name_cannot_command_the_terminal_when_it_is_only_listed(models, pytester):
    models("clean\x1b[2J.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--collect-only")
    assert "\x1b" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*<ModelFile clean\\x1b[[]2J.keras>"])


def test_a_read_only_folder_for_triggers_is_said_and_nothing_crashes(models, pytester):
    models("backdoor.keras")
    pytester.path.joinpath("taken").write_text("a file where the folder should be")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-folder=taken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  skipped  trigger not saved: taken/*", "  next     *, scan again", "| backdoor *"])


def test_the_header_says_what_decides_and_what_repeats_the_run(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-alpha=0.05", "--backdoor-budget=10m")
    result.stdout.fnmatch_lines(
        ["backdoor: *, profile standard, alpha 0.05, seed 0; repeat with --backdoor-budget=10m --backdoor-alpha=0.05"]
    )


def test_the_header_is_silent_in_runs_that_do_not_scan(models, pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest()
    result.stdout.no_fnmatch_line("*backdoor*")


def test_scanning_outside_the_project_warns_that_python_files_there_run(models, pytester, tmp_path_factory):
    stranger = tmp_path_factory.mktemp("stranger")
    (stranger / "clean.keras").write_bytes(b"")
    result = pytester.runpytest("--backdoor-scan", stranger)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"backdoor: WARNING: {stranger} is outside this project*use: pytest-backdoor scan"])


def test_scanning_inside_the_project_does_not_warn(models, pytester):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models").stdout.no_fnmatch_line("*WARNING*")


def test_an_item_takes_options_from_a_marker_that_a_conftest_adds(models, pytester, asked):
    models("clean.keras")
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.backdoor(alpha=0.03))
        """
    )
    pytester.runpytest("--backdoor-scan", "models").assert_outcomes(passed=1)
    assert asked()[0]["alpha"] == 0.03


def test_a_mark_that_a_conftest_adds_skips_one_model(models, pytester):
    models("backdoor.keras", "clean.keras")
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            items[0].add_marker(pytest.mark.skip(reason="known"))
        """
    )
    result = pytester.runpytest("--backdoor-scan", "models", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["not scanned: models/backdoor.keras", "SKIPPED [[]1] models/backdoor.keras*: known"])


def test_model_files_in_folders_that_pytest_leaves_out_are_no_clean_ones(models, pytester):
    models("clean.keras", "build/clean.keras", ".hidden/deep/clean.h5", "env/lib/build/clean.keras")
    (pytester.path / "models/env/pyvenv.cfg").write_text("")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "not scanned: models/build/clean.keras, in a folder that pytest leaves out. With -o norecursedirs= it is*",
            "not scanned: models/.hidden/deep/clean.h5, *",
        ]
    )
    result.stdout.no_fnmatch_line("*env/lib*")
    assert result.ret == 1
    scanned = pytester.runpytest("--backdoor-scan", "models", "-o", "norecursedirs=")
    scanned.assert_outcomes(passed=3)
    assert scanned.ret == 0


def test_nothing_that_pytest_passes_over_is_passed_over_in_silence(models, pytester):
    models("clean.keras", "old/runs/a.keras", "__pycache__/b.keras")
    store = pytester.path / "store"
    (store / "build").mkdir(parents=True)
    (store / "build" / "c.keras").write_text("")
    (pytester.path / "models/linked").symlink_to(store)
    (pytester.path / "models/gone.keras").symlink_to("nowhere")
    os.mkfifo(pytester.path / "models/pipe.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "-o", "norecursedirs=models/old build")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "not scanned: models/old/runs/a.keras, in a folder that pytest leaves out. With -o norecursedirs= it*",
            "not scanned: models/__pycache__/b.keras, in __pycache__, which pytest always leaves out. Move it",
            "not scanned: models/linked/build/c.keras, in a folder that pytest leaves out.*",
            "not scanned: models/gone.keras, not a regular file",
            "not scanned: models/pipe.keras, not a regular file",
        ]
    )
    assert result.ret == 1


def test_a_link_to_the_folder_that_it_lies_in_is_not_followed(models, pytester):
    models("clean.keras")
    (pytester.path / "models/loop").symlink_to(".")
    result = pytester.runpytest("--backdoor-scan", "models")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
