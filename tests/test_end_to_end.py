"""Real runs on two example models, nothing faked: what users get."""

import functools
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "example_models"
GOOD, BAD = "mnist_clean", "mnist_pattern_to_one"  # twins: same data, same network
# A search that a scan of a clean model must finish and nothing here is about: source-specific triggers.
QUICK = ("profile=quick", "set=search.pair_steps=5", "set=search.refine_steps=20")
CONSOLE = "import sys; from pytest_backdoor.cli import main; sys.exit(main())"  # what an installer writes


def flags(prefix):
    return [prefix + option for option in QUICK]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a clean and a backdoored model, each with its seeds beside it."""
    made = tmp_path_factory.mktemp("project")
    (made / "models").mkdir()
    for name in (GOOD, BAD):
        for suffix in (".keras", ".seeds.npz"):
            shutil.copy(EXAMPLES / f"{name}{suffix}", made / "models")
    return made


@pytest.fixture(scope="module")
def command(folder):
    """Runs Python in the project: arguments -> the finished process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "120"}
    environment = {name: value for name, value in environment.items() if name not in ("CI", "PYTEST_ADDOPTS")}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def run(command):
    """Runs pytest in the project, where any warning is an error: arguments -> the finished process."""
    return functools.partial(command, "-m", "pytest", "-Werror", "-ppytest_backdoor.plugin", *flags("--backdoor-"))


@pytest.fixture(scope="module")
def reported(run):
    """The one run whose output and reports are looked at."""
    return run("--backdoor-scan", "models", "--backdoor-report=json:out.json", "--junitxml=out.xml")


@pytest.fixture(scope="module")
def entries(reported, folder):
    """The models of the run's JSON report, by name."""
    models = json.loads((folder / "out.json").read_text())["models"]
    return {Path(model["path"]).stem: model for model in models}


def test_the_run_fails_with_the_verdict_and_what_to_do_about_it(reported, entries):
    assert reported.returncode == 1, reported.stdout + reported.stderr
    lines = reported.stdout.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.strip("_ ") == f"models/{BAD}.keras")
    (finding,) = entries[BAD]["findings"]
    assert lines[heading + 1].startswith(f"BACKDOOR all-to-one, target class 7: {finding['pixels']} pixel")
    assert f"  saved    {finding['trigger']}" in lines
    assert f'  replay   assert_trigger_inert(model, "{finding["trigger"]}", seeds, target=7)' in lines
    assert f"  repeat   pytest models/{BAD}.keras::backdoor --backdoor-scan {' '.join(flags('--backdoor-'))}" in lines
    assert sum(line.startswith("  next     ") for line in lines) == 1
    assert "1 failed, 1 passed" in lines[-1]


def test_the_table_and_the_picture_show_what_was_found(reported):
    lines = reported.stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("backdoor", "all-to-one", "7", f"models/{BAD}.keras"),
        ("clean", "", "", f"models/{GOOD}.keras"),
    ]
    title = f"models/{BAD}.keras, trigger of target class 7: "
    picture = next(index for index, line in enumerate(lines) if line.startswith(title))
    assert lines[picture].endswith("of 28 x 28")
    assert "@@" in "".join(lines[picture : picture + 8])  # the planted pattern has white cells


def test_the_json_report_says_what_was_planted(entries):
    truth = json.loads((EXAMPLES / f"{BAD}.json").read_text())
    (finding,) = entries[BAD]["findings"]
    assert {name: finding[name] for name in ("kind", "source", "target")} == {
        name: truth[name] for name in ("kind", "source", "target")
    }
    estimate, low, high = finding["attack_success"]
    assert 0.8 <= low <= estimate <= high <= 1
    assert finding["evidence"][0] == {"check": "transfer", "value": estimate, "interval": [low, high]}
    assert (entries[GOOD]["verdict"], entries[GOOD]["findings"]) == ("clean", [])
    assert entries[BAD]["score"] > entries[GOOD]["score"] >= 0


def test_junit_has_the_same_result_as_properties(reported, entries, folder):
    cases = {Path(case.get("classname")).stem: case for case in ElementTree.parse(folder / "out.xml").iter("testcase")}
    properties = {entry.get("name"): entry.get("value") for entry in cases[f"models.{BAD}"].iter("property")}
    assert json.loads(properties["backdoor_result"]) == entries[BAD]
    assert properties["backdoor_verdict"] == "backdoor"
    assert (properties["backdoor_kind"], properties["backdoor_target"]) == ("all-to-one", "7")
    assert properties["backdoor_device"] in ("cpu", "gpu")


REPLAY = """
from pytest_backdoor import assert_trigger_inert, read_seeds

def replay(load, name):
    model, seeds = load(f"models/{{name}}.keras"), read_seeds("models/{good}.seeds.npz")
    assert_trigger_inert(model, "{trigger}", seeds, target=7)

def test_bad(load_backdoor_model):
    replay(load_backdoor_model, "{bad}")

def test_good(load_backdoor_model):
    replay(load_backdoor_model, "{good}")
"""


def test_the_saved_trigger_works_on_its_model_and_not_on_the_clean_twin(run, entries, folder):
    trigger = entries[BAD]["findings"][0]["trigger"]
    (folder / "test_replay.py").write_text(REPLAY.format(trigger=trigger, good=GOOD, bad=BAD))
    done = run("test_replay.py")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert f"BACKDOOR {trigger} works: success " in done.stdout
    assert f"  model    models/{BAD}.keras\n" in done.stdout


ASSERTION = """
import pytest
from pytest_backdoor import assert_no_backdoor

@pytest.mark.parametrize("name", ["{bad}", "{good}"])
def test_model(load_backdoor_model, name):
    assert_no_backdoor(load_backdoor_model(f"models/{{name}}.keras"))
"""


@pytest.fixture(scope="module")
def parallel(run, folder):
    """A run of assertions and of one model file, side by side."""
    pytest.importorskip("xdist")
    (folder / "test_models.py").write_text(ASSERTION.format(good=GOOD, bad=BAD))
    report = "--backdoor-report=json:parallel.json"
    return run("-pxdist", "-n2", "--dist=loadfile", "--backdoor-scan", "test_models.py", f"models/{BAD}.keras", report)


def test_the_assertion_passes_a_clean_model_and_fails_a_backdoored_one_with_the_report(parallel):
    assert "2 failed, 1 passed" in parallel.stdout, parallel.stdout + parallel.stderr
    assert "BACKDOOR all-to-one, target class 7: " in parallel.stdout.partition(f"test_model[{BAD}]")[2]
    assert f"test_models.py::test_model[{BAD}]" in parallel.stdout


def test_the_same_seed_gives_the_same_report_in_parallel_too(parallel, reported, folder):
    first, second = (json.loads((folder / name).read_text()) for name in ("out.json", "parallel.json"))
    alone = {model["path"]: model | {"seconds": None} for model in first["models"]}
    assert len(second["models"]) == 3  # from a file or from a loaded model: each comes to the same
    assert [model | {"seconds": None} for model in second["models"]] == [
        alone[each["path"]] for each in second["models"]
    ]
    assert {name: first[name] for name in ("tool", "options")} == {name: second[name] for name in ("tool", "options")}


@pytest.mark.parametrize(("name", "code"), [(GOOD, 0), (BAD, 1)])
def test_the_console_script_ends_with_the_code_of_the_verdict_and_finds_the_same(command, entries, folder, name, code):
    done = command("-c", CONSOLE, "scan", f"models/{name}.keras", "-q", "--report=json:alone.json", *flags("--"))
    assert done.returncode == code, done.stdout + done.stderr
    (model,) = json.loads((folder / "alone.json").read_text())["models"]
    assert model | {"seconds": None} == entries[name] | {"seconds": None}
