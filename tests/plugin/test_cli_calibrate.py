"""``pytest-backdoor calibrate``: what it prints, writes and ends with."""

import json

import numpy as np
import pytest

from pytest_backdoor import calibrate, calibration, cli
from pytest_backdoor.results import ScanResult, SeedsUsed


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``pytest-backdoor calibrate`` on four files, one of them broken: arguments -> exit code."""
    (tmp_path / "models").mkdir()
    for name in ("a.keras", "b.keras", "broken.keras", "notes.txt"):
        (tmp_path / "models" / name).write_text(name)

    def survey(file, seeds, options):
        if file.stem == "broken":
            return ScanResult(str(file), "", "error", error="not a zip archive")
        digest = calibrate.safety.sha256(file)
        kind = {"image_shape": (8, 8, 1), "batch_norm": False, "classes": 3}
        used = None if seeds is None else SeedsUsed(len(seeds), "as is", 1.0, 1, 1)
        p_value = 0.001 if file.stem == "b" else 0.5
        return ScanResult(str(file), digest, "clean", statistics={"patch": 1.0}, p_value=p_value, seeds=used, **kind)

    monkeypatch.setattr(calibrate, "survey", survey)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.main(["calibrate", *arguments])


def test_clean_models_are_kept_and_others_named(run, capsys):
    assert run("models", "--alone", "-o", "reference.json") == cli.NO_VERDICT
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("/")[2] for line in lines] == [
        "a.keras: kept",
        "b.keras: left out: unusual for a clean model (p-value 0.001), and a backdoored one among the clean would hide"
        " others. Scan it; with --keep-unusual it is kept.",
        "broken.keras: left out: not a zip archive",
        "1 clean model in reference.json",
    ]


def test_a_name_that_would_command_the_terminal_is_written_out(run, capsys, tmp_path):
    (tmp_path / "esc\x1b[31mred.keras").write_text("")
    run("esc\x1b[31mred.keras", "--alone", "-o", "reference.json")
    assert "\x1b" not in capsys.readouterr().out


def test_all_kept_ends_with_zero(run, tmp_path):
    assert run("models/a.keras", "models/b.keras", "--alone", "-o", "reference.json", "--keep-unusual") == cli.CLEAN
    assert [entry.name for entry in calibration.read(tmp_path / "reference.json")] == ["a", "b"]
    assert run("models/b.keras", "--alone", "-o", "other.json", "--alpha=0.0005") == cli.CLEAN


def test_it_begins_with_the_reference_that_is_named(run, tmp_path):
    run("models/a.keras", "--alone", "-o", "first.json")
    run("models/b.keras", "--reference=first.json", "-o", "both.json", "--keep-unusual")
    stored = json.loads((tmp_path / "both.json").read_text())
    assert [model["name"] for model in stored["models"]] == ["a", "b"]


def test_it_begins_with_the_shipped_reference(run, tmp_path):
    run("models/a.keras", "-o", "all.json")
    assert len(calibration.read(tmp_path / "all.json")) == len(calibration.read()) + 1


def test_the_profile_is_the_mode_of_the_entries(run, tmp_path):
    np.savez(tmp_path / "models/a.seeds.npz", x=np.zeros((3, 8, 8)))
    run("models/a.keras", "models/b.keras", "--alone", "--profile=quick", "-o", "quick.json", "--keep-unusual")
    modes = [entry.mode for entry in calibration.read(tmp_path / "quick.json")]
    assert modes == ["quick", "quick without seeds"]


def test_without_model_files_no_reference_is_written(run, tmp_path, capsys):
    assert run("models/notes.txt", "--alone", "-o", "reference.json") == cli.NOTHING
    assert not (tmp_path / "reference.json").exists()
    assert "not a model file by its name" in capsys.readouterr().out


def test_a_model_that_is_scanned_in_two_ways_is_one(run, capsys):
    run("models/a.keras", "--alone", "-o", "reference.json")
    run("models/a.keras", "--reference=reference.json", "--profile=quick", "-o", "reference.json")
    assert capsys.readouterr().out.splitlines()[-1] == "1 clean model in reference.json"


def test_a_reference_for_few_seeds_takes_the_first_of_each_class(run, tmp_path):
    np.savez(tmp_path / "models/seeds.npz", x=np.zeros((9, 8, 8)), y=[0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert run("models/a.keras", "--alone", "--each=3", "-o", "few.json") == cli.CLEAN
    assert run("models/a.keras", "--reference=few.json", "-o", "both.json") == cli.CLEAN
    assert [entry.seeds for entry in calibration.read(tmp_path / "both.json")] == [7, 9]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing", "-o", "out.json"], "no such file or folder: missing"),
        (["models", "--alone", "-o", "missing/out.json"], "the reference cannot be written to missing/out.json"),
        (["models", "--reference=models/notes.txt", "-o", "out.json"], "no reference in models/notes.txt"),
        (["models", "--reference=deep.json", "-o", "out.json"], "no reference in deep.json: maximum recursion"),
        (["models", "--each=0", "-o", "out.json"], "expected a whole number above 0, got '0'"),
        (["models"], "the following arguments are required: -o/--output"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_four(run, arguments, complaint, capsys, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == cli.USAGE
    assert complaint in capsys.readouterr().err
