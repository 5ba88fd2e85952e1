"""``pytest-backdoor selftest``: exit codes, the table, the report."""

import importlib
import json

import pytest

from pytest_backdoor import cli
from pytest_backdoor.loading.safety import sha256
from tests.plugin import fake_selftest

TABLE = """\
| outcome     | family | kind       |          size | success | accuracy     | p-value | seconds |
|-------------|--------|------------|---------------|---------|--------------|---------|---------|
| found       | patch  | all-to-one |          1 px | 97 %    | 98 % -> 97 % |   1e-06 |     9.0 |
| missed      | warp   | all-to-one |    1 px moved | 95 %    | 98 % -> 96 % |     0.4 |    20.0 |
| not planted | tone   | all-to-one | 50 % strength | 70 %    | 98 % -> 98 % |         |     8.0 |

models/clean.keras: found 50 % (99 % interval 0.25 to 99.8 %); would have found: patch from 1 px; \
missed: all-to-one warp of 1 px moved; not planted: all-to-one tone of 50 % strength
"""


@pytest.fixture
def selftest(models, monkeypatch):
    """Runs ``pytest-backdoor selftest`` in this process on the fake self-test: arguments -> exit code."""
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.selftest"), "selftest", fake_selftest.selftest)
    return lambda *arguments: cli.main(["selftest", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "code"), [("clean_all.keras", 0), ("clean.keras", 1), ("clean_none.keras", 2), ("clean_odd.keras", 2)]
)
def test_the_exit_code_says_what_was_found(selftest, name, code, capsys):
    assert selftest(f"models/{name}") == code


def test_the_table_reads_like_this(selftest, capsys):
    selftest("models/clean.keras")
    assert capsys.readouterr().out == TABLE


def test_each_plant_is_said_when_it_is_done(selftest, capsys):
    selftest("models/clean.keras")
    assert capsys.readouterr().err.splitlines() == [
        "pixel: found (9 s)",
        "warp: missed (20 s)",
        "tone: not planted (8 s)",
    ]


def test_options_and_plans_reach_it(selftest, pytester):
    selftest("models/clean.keras", "--seed=3", "--plant=warp", "--plant=pixel", "--seeds=s.npz")
    asked = json.loads((pytester.path / "planted.jsonl").read_text())
    assert (asked["seed"], asked["seeds"], asked["plans"]) == (3, "s.npz", ["warp", "pixel"])


def test_the_report_is_written(selftest, pytester):
    selftest("models/clean.keras", "-o", "deep/out.json", "--alpha=0.05")
    document = json.loads((pytester.path / "deep/out.json").read_text())
    assert (document["schema"], document["tool"]["name"], document["options"]["alpha"]) == (1, "pytest-backdoor", 0.05)
    assert document["self_test"]["smallest"] == {"patch": 1 / 784}


def test_a_report_that_cannot_be_written_is_no_success(selftest, pytester, capsys):
    (pytester.path / "file").write_text("")
    assert selftest("models/clean_all.keras", "-o", "file/out.json") == 2
    assert "report not written: file/out.json: " in capsys.readouterr().out


@pytest.mark.parametrize(("plants", "summary"), [((), "self-test: "), ((fake_selftest.PIXEL,), "found 100 %")])
def test_what_was_done_before_an_interruption_is_kept(models, monkeypatch, pytester, capsys, plants, summary):
    def selftest(model, seeds, options, plans, done):
        for each in plants:
            done(each)
        raise KeyboardInterrupt

    models("clean.keras")
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.selftest"), "selftest", selftest)
    assert cli.main(["selftest", "models/clean.keras", "-o", "out.json", "--plant=pixel", "--plant=warp"]) == 2
    shown, said = capsys.readouterr()
    assert said.splitlines() == ["pixel: found (9 s)"] * len(plants)
    assert summary in shown
    assert shown.endswith(f"interrupted after {len(plants)} of 2 backdoors\n")
    written = json.loads((pytester.path / "out.json").read_text())["self_test"]
    assert [each["name"] for each in written["plants"]] == ["pixel"] * len(plants)
    assert written["error"] == f"interrupted after {len(plants)} of 2 backdoors"
    assert written["sha256"] == sha256(pytester.path / "models/clean.keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.keras", "--plant=pixle"], "unknown plan 'pixle'. Did you mean 'pixel'?"),
        (["m.keras", "--alpha=2"], "--alpha: expected a number from 0 to 1"),
        ([], "the following arguments are required: MODEL"),
    ],
)
def test_wrong_usage_ends_with_four(selftest, arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        selftest(*arguments)
    assert end.value.code == 4
    assert message in capsys.readouterr().err
