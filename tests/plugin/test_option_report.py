"""--backdoor-report: reports to write."""

import json
import os
import stat
import subprocess

import pytest


def test_several_reports_are_written(models, pytester):
    models("backdoor.keras", "clean.keras")
    pytester.runpytest(
        "--backdoor-scan", "models", "--backdoor-report=json:a.json", "--backdoor-report=json:deep/b.json"
    )
    first, second = ((pytester.path / name).read_text() for name in ("a.json", "deep/b.json"))
    assert first == second
    assert [entry["path"] for entry in json.loads(first)["models"]] == ["models/backdoor.keras", "models/clean.keras"]


def test_an_unknown_format_is_wrong_usage_and_the_right_one_is_named(models, pytester):
    result = pytester.runpytest("--backdoor-report=jsn:a.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: unknown report format 'jsn'. Did you mean 'json'? Choose from: json."])


@pytest.mark.parametrize("text", ["a.json", "json:", ":a.json"])
def test_what_is_no_format_and_path_is_wrong_usage(models, pytester, text):
    result = pytester.runpytest(f"--backdoor-report={text}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        [f"ERROR: --backdoor-report: expected FORMAT:PATH such as json:report.json, got '{text}'."]
    )


def test_a_report_that_cannot_be_written_is_said_and_the_run_does_not_pass(models, pytester):
    models("clean.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:models/clean.keras/report.json")
    result.stdout.fnmatch_lines(["report not written: models/clean.keras/report.json: *"])
    assert result.ret == 1


def test_a_report_does_not_take_the_place_of_a_model_or_of_the_seeds(models, pytester):
    models("clean.keras", "seeds.npz")
    reports = [f"--backdoor-report=json:{path}" for path in ("models/clean.keras", "models/seeds.npz", "out.json")]
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-seeds=models/seeds.npz", *reports)
    result.stdout.fnmatch_lines(["report not written: models/clean.keras is to be read, and stays as it is.*"])
    result.stdout.fnmatch_lines(["report not written: models/seeds.npz is to be read, and stays as it is.*"])
    assert [path.read_bytes() for path in sorted(pytester.path.glob("models/*"))] == [b"", b""]
    assert (result.ret, (pytester.path / "out.json").exists()) == (1, True)


def test_the_command_that_repeats_a_run_leaves_the_report_alone(models, pytester):
    models("backdoor.keras")
    result = pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:a.json")
    result.stdout.fnmatch_lines(["  repeat   pytest models/backdoor.keras::backdoor --backdoor-scan"])


def test_what_a_link_leads_to_is_written_and_a_pipe_stays_one(models, pytester):
    models("clean.keras")
    real, link, pipe = (pytester.path / name for name in ("real.json", "link.json", "pipe"))
    link.symlink_to(real)
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    flags = [f"--backdoor-report=json:{name}" for name in ("link.json", "pipe")]
    assert pytester.runpytest("--backdoor-scan", "models", *flags).ret == 0
    assert link.is_symlink()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert json.loads(reader.communicate(timeout=60)[0]) == json.loads(real.read_text())


@pytest.mark.parametrize("flag", ["--co", "--fixtures", "--fixtures-per-test", "--cache-show=*", "--setup-plan"])
def test_looking_without_running_leaves_the_last_report(models, pytester, monkeypatch, flag):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_backdoor.plugin -p fake_scan")
    models("clean.keras")
    (pytester.path / "r.json").write_text("kept")
    result = pytester.runpytest("--backdoor-scan", "models", flag, "--backdoor-report=json:r.json")
    assert (result.ret, (pytester.path / "r.json").read_text()) == (0, "kept")
    result.stdout.no_fnmatch_line("*scanned:*")


def test_a_report_is_written_where_pytest_cannot_write_its_own(models, pytester):
    models("clean.keras")
    pytester.runpytest("--backdoor-scan", "models", "--backdoor-report=json:r.json", "--junitxml=models/clean.keras/x")
    assert json.loads((pytester.path / "r.json").read_text())["models"][0]["verdict"] == "clean"
