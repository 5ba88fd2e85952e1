"""The console script: exit codes, what it finds, and that nothing it scans runs."""

import importlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_backdoor import cli, cli_fuzz, cli_repair, cli_trajectories

ROOT = Path(__file__).parents[2]
MAIN = (sys.executable, "-c", "import sys; from pytest_backdoor.cli import main; sys.exit(main())")


@pytest.fixture
def scan(models, pytester, monkeypatch):
    """Runs ``pytest-backdoor scan`` in this process on the fake scan: arguments -> exit code."""
    fake_scan = importlib.import_module("fake_scan")
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", fake_scan.scan)

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", sys.path.copy())
            return cli.main(["scan", *map(str, arguments)])

    return run


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["clean.keras"], 0),
        (["clean.keras", "backdoor.keras", "broken.keras"], 1),
        (["clean.keras", "unsure.keras"], 2),
        (["clean.keras", "broken.keras"], 2),
        (["clean.keras", "bug.keras"], 2),
        (["clean.keras", "unpacked/config.json", "unpacked/model.weights.h5"], 2),
        (["weights.weights.h5", "notes.txt"], 5),
    ],
)
def test_the_exit_code_says_what_was_found(models, scan, names, code):
    models(*names)
    assert scan("models") == code


def test_hints_of_tensorflow_are_not_shown(models, scan, caplog):
    logger = logging.getLogger("tensorflow")
    kept = logger.level
    logger.setLevel(logging.WARNING)
    models("clean.keras")
    assert scan("models") == 0
    logger.warning("triggered tf.function retracing")
    logger.setLevel(kept)
    assert "retracing" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["fuzz", "m.keras"], 2, "m.keras: the file cannot be opened"), (["scan", ".", "--set=fuzz.box=5"], 5, "nothing")],
    ids=["fuzz", "scan"],
)
def test_what_the_backend_says_of_the_machine_is_not_shown(tmp_path, arguments, code, said):
    (tmp_path / "keras.py").write_text("raise SystemExit('a module of the current folder ran')")
    hiding = {"TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES"}
    result = subprocess.run(
        [*MAIN, *arguments],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in hiding} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (code, "")
    assert said in result.stdout


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_pipe_that_nobody_reads_is_no_backdoor(tmp_path, buffered):
    reading, writing = os.pipe()
    os.close(reading)
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": buffered}
    result = subprocess.run([*MAIN, "scan", "."], cwd=tmp_path, env=env, stdout=writing, stderr=writing, check=False)
    os.close(writing)
    assert result.returncode == 2


@pytest.mark.parametrize("given", ["models", "models/clean.weights.h5"])
def test_weights_without_a_model_are_named_once(models, scan, capsys, given):
    models("clean.keras", "clean.weights.h5")
    assert scan("models/clean.keras", given) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "without a model" in line]
    assert said == [
        f"not scanned: {Path.cwd()}/models/clean.weights.h5, weights without a model. Save the model as .keras to have "
        "it scanned"
    ]


def test_of_files_alike_in_one_folder_the_first_is_named(models, scan, capsys):
    models("clean.keras", *(f"run/{epoch}.weights.h5" for epoch in range(3)), "run/a.pt", "old/1.weights.h5")
    assert scan("models") == 0
    said = [line.partition("/models/")[2] for line in capsys.readouterr().out.splitlines() if "not scanned" in line]
    assert [line.partition(". ")[0] for line in said] == [
        "old/1.weights.h5, weights without a model",
        "run/0.weights.h5 and 2 more beside it, weights without a model",
        "run/a.pt, by its name a model of PyTorch",
    ]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("exported/saved_model.pb", "a SavedModel, which model.export wrote"),
        ("10/orbax.checkpoint", "a checkpoint of Orbax"),
        ("a.tflite", "a model of TensorFlow Lite"),
        ("a.onnx", "a model of ONNX"),
        ("a.pt", "by its name a model of PyTorch"),
        ("A.PTH", "by its name a model of PyTorch"),
        ("a.safetensors", "weights without a model"),
    ],
)
def test_a_model_in_another_form_is_named(models, scan, capsys, name, form):
    models(name)
    assert scan("models") == 5
    assert f"/models/{name}, {form}. Save the model as .keras" in capsys.readouterr().out
    models("clean.keras")
    assert scan("models") == 0


def test_a_folder_without_models_among_others_is_no_clean_one(models, scan, pytester, capsys):
    models("clean.keras", "deep/clean.keras")
    (pytester.path / "empty").mkdir()
    assert scan("models/clean.keras", "empty") == 2
    assert "nothing to scan in empty: it holds no model files (*.keras, *.h5, *.hdf5)" in capsys.readouterr().out
    assert scan("models", "models/deep") == 0
    assert scan("empty") == 5


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("outcome", ["skip", "warn"])
def test_an_inconclusive_model_passes_on_request(models, scan, outcome):
    models("clean.keras", "unsure.keras")
    assert scan("models", f"--inconclusive={outcome}") == 0


def test_seeds_that_lie_beside_a_model_are_said_to_be_strange(models, scan, capsys):
    models("clean.keras", "deep/clean.keras", "other/clean.keras")
    said = "seeds from beside the models: "
    assert scan("models") == 0
    assert said not in capsys.readouterr().out
    for name in ("deep/clean.seeds.npz", "other/seeds.npz"):
        Path("models", name).touch()
    assert scan("models") == 0
    assert f"{said}{Path.cwd()}/models/deep/clean.seeds.npz and 1 more. Those that" in capsys.readouterr().out
    assert scan("models", "--seeds=own.npz") == 0
    assert said not in capsys.readouterr().out


def test_options_go_by_their_short_and_their_long_names(models, scan, asked):
    models("clean.keras")
    assert scan("models", "--alpha=0.05", "--backdoor-budget", "10m", "--set=search.steps=3") == 0
    assert (asked()[0]["alpha"], asked()[0]["budget"], asked()[0]["set"]) == (0.05, 600.0, {"search.steps": "3"})


def test_the_failure_names_the_command_that_repeats_it(models, scan, capsys):
    models("backdoor.keras")
    scan("models", "--alpha=0.05")
    assert "  repeat   pytest-backdoor scan models/backdoor.keras --alpha=0.05\n" in capsys.readouterr().out


def test_it_says_how_many_models_it_found(models, scan, capsys):
    models("clean.keras", "deep/clean.h5")
    scan("models")
    assert "collected 2 items" in capsys.readouterr().out


def test_reports_are_written(models, scan, pytester):
    models("backdoor.keras")
    scan("models", "--report=json:out.json", "--junitxml=out.xml", "-q")
    assert json.loads((pytester.path / "out.json").read_text())["models"][0]["verdict"] == "backdoor"
    assert "backdoor_verdict" in (pytester.path / "out.xml").read_text()


def test_models_hide_in_no_folder_and_behind_no_name(models, scan, asked, pytester):
    hidden = ["build/clean.keras", ".git/clean.h5", "venv/pyvenv.cfg", "venv/clean.keras", "__pycache__/clean.keras"]
    models(*hidden, "a[1]/clean::x.keras", "node_modules/clean.hdf5")
    assert scan("models") == 0
    names = {entry["name"].removeprefix("models/") for entry in asked()}
    assert names == {*hidden, "a[1]/clean::x.keras", "node_modules/clean.hdf5"} - {"venv/pyvenv.cfg"}


def test_links_in_a_circle_end(models, scan, pytester, asked, capsys):
    models("clean.keras")
    (pytester.path / "models/loop").symlink_to(pytester.path / "models")
    assert scan("models") == 0
    assert len(asked()) == 1
    assert "link to a folder, not followed: " in capsys.readouterr().out


def test_a_link_to_a_model_is_scanned(models, scan, pytester, asked):
    models("blobs/1234")
    (pytester.path / "models/clean.keras").symlink_to("blobs/1234")
    assert scan("models/clean.keras") == 0
    assert [entry["name"] for entry in asked()] == ["models/clean.keras"]


def test_a_pipe_is_not_opened_and_is_no_clean_model(models, scan, pytester, capsys):
    models("clean.keras")
    os.mkfifo(pytester.path / "models/trap.keras")
    assert scan("models") == 2
    assert "not a regular file: " in capsys.readouterr().out


def test_a_named_file_that_is_no_model_is_mentioned(models, scan, capsys):
    models("clean.keras", "notes.txt")
    assert scan("models/clean.keras", "models/notes.txt") == 0
    assert "not a model file by its name: " in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_is_no_clean_folder(models, scan, monkeypatch, capsys):
    models("clean.keras")

    def refuse(top, onerror):
        onerror(PermissionError(13, "Permission denied", f"{top}/secret"))
        yield str(top), [], ["clean.keras"]

    monkeypatch.setattr(os, "walk", refuse)
    assert scan("models") == 2
    assert "secret: Permission denied" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file or folder: nowhere"),
        (["/dev/null"], "/dev/null is a device, not a file"),
        (["models", "--alpha=2"], "--alpha: expected a number from 0 to 1, both excluded, got '2'."),
        (["models", "--set=search.stepz=3"], "unknown setting 'search.stepz'. Did you mean 'search.steps'?"),
        (["models", f"--seed={'9' * 5000}"], "--seed: expected a whole number from 0 up"),
        (["models", "--report=jsn:x"], "unknown report format 'jsn'. Did you mean 'json'?"),
        (["models", "--junitxml=models/clean.keras/o.xml"], "--junitxml: nothing can be written in"),
        (["models", "--junitxml=models/clean.keras"], "models/clean.keras is to be read, and stays as it is"),
        (["models", "--colour"], "unrecognized arguments: --colour"),
        ([], "the following arguments are required: PATH"),
    ],
)
def test_wrong_usage_ends_with_four(models, scan, capsys, arguments, message):
    models("clean.keras")
    try:
        code = scan(*arguments)
    except SystemExit as end:
        code = end.code
    assert code == 4
    assert message in capsys.readouterr().err


def test_what_goes_wrong_in_the_tool_itself_is_no_backdoor(models, scan, capsys, monkeypatch):
    models("clean.keras")
    monkeypatch.setattr(cli, "_exit_code", lambda *given: 1 / 0)
    assert scan("models") == 2
    assert "pytest-backdoor: no verdict: what is said above went wrong." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "run", "arguments"),
    [
        (cli, "_run_selftest", ["selftest", "m.keras"]),
        (cli, "_run_calibrate", ["calibrate", "m.keras", "-o", "r.json"]),
        (cli_fuzz, "_run", ["fuzz", "m.keras", "-o", "f.json"]),
        (cli_repair, "_run", ["repair", "m.keras", "-o", "new.keras"]),
        (cli_trajectories, "_run", ["trajectories", "m.keras", "s.npz", "-o", "page.html"]),
    ],
)
def test_what_is_interrupted_has_no_verdict_and_shows_no_traceback(monkeypatch, capsys, module, run, arguments):
    def interrupted(given, options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, run, interrupted)
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == "pytest-backdoor: interrupted\n"


def test_version_and_help_are_given(capsys):
    for flag, wanted in (("--version", "pytest-backdoor "), ("--help", "scan model files, of strangers too")):
        with pytest.raises(SystemExit) as end:
            cli.main([flag])
        assert end.value.code == 0
        assert wanted in capsys.readouterr().out


def test_help_of_scan_lists_each_option_once(capsys):
    with pytest.raises(SystemExit):
        cli.main(["scan", "--help"])
    shown = capsys.readouterr().out
    assert shown.count("--min-accuracy") == 2  # usage and description
    assert "--backdoor-" not in shown


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("fuzz", "--save-inputs FOLDER save the inputs that change the model's mind there"),
        ("selftest", "--budget TIME time for all training and scans together"),
        ("repair", "--budget TIME time for all training and scans together"),
    ],
)
def test_help_says_what_an_option_does_in_its_command(capsys, command, wanted):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert wanted in " ".join(capsys.readouterr().out.split())


def test_environment_and_import_path_are_as_before(models, scan, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nonsense")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # every pytest sets it and takes it away
    before = dict(os.environ)
    models("clean.keras")
    assert scan("models") == 0
    assert dict(os.environ) == before


EVIL = "import pathlib\npathlib.Path({marker!r}).touch()\n"
PYTHON = ("conftest.py", "sub/conftest.py", "__init__.py", "test_x.py", "evilplug.py", "sitecustomize.py", "numpy.py")
SETTINGS = {
    "pytest.ini": "[pytest]\naddopts = -p evilplug\npythonpath = .\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p evilplug'\npythonpath = '.'\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p evilplug\npythonpath = .\n",
    "tox.ini": "[pytest]\naddopts = -p evilplug\npythonpath = .\n",
}
OTHERS = ("keras.py", "rich.py", "pytest.py", "pytest_backdoor.py", "usercustomize.py", "sub/__init__.py", "setup.py")


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_nothing_under_the_scanned_path_runs(tmp_path, inside):
    stranger, elsewhere = tmp_path / "stranger", tmp_path / "elsewhere"
    (stranger / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    markers = {name: tmp_path / f"ran-{name.replace('/', '-')}" for name in (*PYTHON, *OTHERS)}
    for name, marker in markers.items():
        (stranger / name).write_text(EVIL.format(marker=str(marker)))
    for name, text in SETTINGS.items():
        (stranger / name).write_text(text)
    for name in ("model.keras", "sub/model.h5"):
        (stranger / name).write_bytes(b"not a model")
    script = elsewhere / "pytest-backdoor"  # what an installer writes
    script.write_text("import sys\nfrom pytest_backdoor.cli import main\nsys.exit(main())\n")
    result = subprocess.run(
        [sys.executable, script, "scan", "." if inside else str(stranger)],
        cwd=stranger if inside else elsewhere,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_PLUGINS": "evilplug", "PYTEST_ADDOPTS": "-p evilplug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [name for name, marker in markers.items() if marker.exists()] == []
    assert result.returncode == 2, result.stdout + result.stderr
    assert "model.keras" in result.stdout
    assert "sub/model.h5" in result.stdout
    assert not list(stranger.rglob("*.pyc"))
