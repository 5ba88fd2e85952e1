"""``pytest-backdoor repair``: exit codes, the new file, the report, and what is refused."""

import contextlib
import dataclasses
import importlib
import json
import shutil
from types import SimpleNamespace

import keras
import pytest

from pytest_backdoor import attacks, cli, cli_repair, deadline, report
from pytest_backdoor.errors import BudgetSpentError
from pytest_backdoor.loading import safety
from pytest_backdoor.options import Options
from pytest_backdoor.results import Repair, ScanResult
from tests.report import samples

NAME = "mnist_pattern_to_one"


@pytest.fixture
def model(examples, pytester):
    """A copy of an example model with its seeds and its trigger in the current folder."""
    for suffix in (".keras", ".seeds.npz"):
        shutil.copy(examples / f"{NAME}{suffix}", pytester.path / f"m{suffix}")
    shutil.copy(examples / "planted" / f"{NAME}.npz", pytester.path / "trigger.npz")
    return pytester.path / "m.keras"


@pytest.fixture
def rescan(monkeypatch):
    """What the scan of the new file will say; returns what it was asked."""
    asked = []

    def answers(verdict):
        def scan(path, seeds, options):
            asked.append((str(path), str(seeds), keras.models.load_model(path).output_shape))
            return ScanResult(str(path), "", verdict, error=None if verdict == "clean" else "reason")

        monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", scan)
        return asked

    return answers


@pytest.fixture
def answered(monkeypatch):
    """The repair that will be made, with a copy or none."""

    def answer(chosen, copy=None):
        repair = Repair("m.keras", "", chosen=chosen, error=None if chosen else "no method does")
        module = importlib.import_module("pytest_backdoor.repaired")
        monkeypatch.setattr(module, "repair_model", lambda *given: (dataclasses.replace(repair), copy))

    return answer


def repair(*arguments):
    return cli.main(["repair", "m.keras", *arguments])


def tiny():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])


def test_a_backdoored_model_is_repaired_into_a_new_file_and_stays_as_it_is(model, rescan, capsys, pytester):
    asked, before = rescan("clean"), safety.sha256(model)
    known = ("--trigger=trigger.npz", "--rule=7", "--method=unlearning")
    assert repair("-o", "deep/new.keras", "--json=out.json", *known) == 0
    assert safety.sha256(model) == before
    assert asked == [("deep/new.keras", "m.seeds.npz", (None, 10))]
    assert [path.name for path in (pytester.path / "deep").iterdir()] == ["new.keras"]
    shown = capsys.readouterr().out
    assert "| unlearning | " in shown
    assert shown.endswith(
        "m.keras: repaired by unlearning, written to deep/new.keras\n"
        "m.keras: a scan of the new file: CLEAN deep/new.keras\n"
    )
    document = json.loads((pytester.path / "out.json").read_text())["repair"]
    assert document["success"][0][0] > 0.95
    assert document["attempts"][0]["success"][0][0] < 0.05


@pytest.mark.parametrize(("verdict", "code"), [("clean", 0), ("backdoor", 1), ("inconclusive", 2), ("error", 2)])
def test_the_exit_code_is_that_of_the_new_file(models, answered, rescan, verdict, code, pytester):
    rescan(verdict)
    answered("unlearning", tiny())
    assert repair("-o", "new.keras") == code
    assert (pytester.path / "new.keras").exists()


def test_what_the_scan_of_the_new_file_finds_is_repaired_with_what_was_known(models, monkeypatch, pytester):
    first, second = (attacks.pixel((4, 4, 1), 0, column) for column in (1, 2))
    left = dataclasses.replace(samples.backdoor().findings[0], target=1, source=None, mapping=None, trigger=second)
    scans = [
        ScanResult("new.keras", "", "backdoor", findings=(left,), classes=3),
        ScanResult("new.keras", "", "clean", classes=3),
    ]
    rounds = []

    def repair_model(path, seeds, options, methods, max_loss, known):
        rounds.append(known)
        triggers = tuple(trigger for trigger, _ in known) or (first,)
        rules = ("0>2 1>2", "0>1 2>1")[: len(triggers)]
        return Repair("m.keras", "", rules=rules, triggers=triggers, chosen="unlearning"), tiny()

    monkeypatch.setattr(importlib.import_module("pytest_backdoor.repaired"), "repair_model", repair_model)
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", lambda *given: scans.pop(0))
    assert repair("-o", "new.keras") == 0
    assert rounds == [[], [(first, {0: 2, 1: 2}), (second, {0: 1, 2: 1})]]


@pytest.mark.parametrize(("budget", "late"), [("10s", True), ("1h", False)])
def test_a_budget_is_for_the_repair_and_the_scan_of_the_new_file_together(models, monkeypatch, budget, late):
    """The repair takes a minute."""
    clock, ends = SimpleNamespace(now=0.0), []

    def repair_model(*given):
        clock.now = 60.0
        return Repair("m.keras", "", chosen="unlearning"), tiny()

    def scan(*given):
        with contextlib.suppress(BudgetSpentError):
            deadline.ask()
            ends.append("in time")
        return ScanResult("new.keras", "", "clean" if ends else "inconclusive")

    for module in (cli_repair, deadline):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.repaired"), "repair_model", repair_model)
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", scan)
    assert repair("-o", "new.keras", f"--budget={budget}") == (2 if late else 0)


def test_where_a_second_round_is_refused_the_first_one_stays(models, answered, monkeypatch, pytester):
    left = dataclasses.replace(samples.backdoor().findings[0], trigger=attacks.pixel((4, 4, 1), 0, 1))
    scans = [dataclasses.replace(samples.backdoor(left), classes=10)]
    answers = [(Repair("m.keras", "", chosen="unlearning"), tiny()), (Repair("m.keras", "", error="too much"), None)]
    monkeypatch.setattr(
        importlib.import_module("pytest_backdoor.repaired"), "repair_model", lambda *given: answers.pop(0)
    )
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", lambda *given: scans.pop(0))
    assert repair("-o", "new.keras") == 1
    assert answers == []
    assert (pytester.path / "new.keras").exists()


def test_a_filter_is_not_scanned(models, answered, rescan, capsys):
    asked = rescan("backdoor")
    answered("input-filter", tiny())
    assert repair("-o", "new.keras", "--method=input-filter") == 0
    assert asked == []
    assert "its backdoor is still inside, behind the filter" in capsys.readouterr().out


def test_a_refusal_writes_nothing_and_ends_with_two(models, answered, capsys, pytester):
    answered(None)
    assert repair("-o", "new.keras") == 2
    assert capsys.readouterr().out == "m.keras: no method does\n"
    assert not (pytester.path / "new.keras").exists()


def test_where_nothing_can_be_written_nothing_is_repaired(models, pytester, capsys):
    (pytester.path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        repair("-o", "file/new.keras")
    assert end.value.code == 4
    assert f"--output: nothing can be written in {pytester.path / 'file'}." in capsys.readouterr().err


def test_what_cannot_be_written_is_no_success(models, answered, rescan, capsys, pytester, monkeypatch):
    (pytester.path / "file").write_text("")
    rescan("clean")
    answered("unlearning", tiny())
    with monkeypatch.context() as patch:
        patch.setattr(cli_repair, "_check_output", lambda model, output: None)  # the disk is full later
        assert repair("-o", "file/new.keras") == 2
    assert "m.keras: not written: file/new.keras: " in capsys.readouterr().out
    assert repair("-o", "new.keras", "--json=file/out.json") == 2
    assert "report not written: file/out.json: " in capsys.readouterr().out


def test_the_model_itself_is_never_the_output_by_whatever_name(models, pytester, capsys):
    (pytester.path / "m.keras").write_bytes(b"kept")
    (pytester.path / "other.keras").hardlink_to(pytester.path / "m.keras")
    for output in ("m.keras", "./m.keras", "other.keras"):
        with pytest.raises(SystemExit) as end:
            repair("-o", output)
        assert end.value.code == 4
        assert "is to be read, and stays as it is" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        repair("-o", "new.keras", "--json=m.keras")
    assert (pytester.path / "m.keras").read_bytes() == b"kept"


def test_what_exists_is_never_the_output(models, pytester, capsys):
    (pytester.path / "other.keras").write_bytes(b"kept")
    (pytester.path / "folder.keras").mkdir()
    (pytester.path / "broken.keras").symlink_to("nowhere")
    for output in ("other.keras", "folder.keras", "broken.keras"):
        with pytest.raises(SystemExit) as end:
            repair("-o", output)
        assert end.value.code == 4
        assert f"--output: {output} exists. Give the name of a new file, or delete it first." in capsys.readouterr().err
    assert (pytester.path / "other.keras").read_bytes() == b"kept"


def test_where_a_second_round_cannot_be_written_the_first_one_is_still_named(models, answered, monkeypatch, pytester):
    left = dataclasses.replace(samples.backdoor().findings[0], trigger=attacks.pixel((4, 4, 1), 0, 1))
    answered("unlearning", tiny())
    found = dataclasses.replace(samples.backdoor(left), classes=10)
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.scan"), "scan", lambda *given: found)
    problems = [None, "no room"]
    write = report.write_with
    monkeypatch.setattr(report, "write_with", lambda path, save: problems.pop(0) or write(path, save))
    done = cli_repair.repair(pytester.path / "m.keras", pytester.path / "new.keras", Options())
    assert (done.output, done.error) == ((pytester.path / "new.keras").as_posix(), "not written: no room")
    assert done.rescan == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: -o/--output"),
        (("-o", "new.h5"), "--output: expected the name of a .keras file, got 'new.h5'"),
        (("-o", "n.keras", "--method=unlerning"), "unknown method 'unlerning'. Did you mean 'unlearning'?"),
        (("-o", "n.keras", "--max-loss=many"), "--max-loss: expected a number from 0 to 100, got 'many'"),
        (("-o", "n.keras", "--rule=7"), "--trigger and --rule belong together"),
        (("-o", "n.keras", "--trigger=none.npz", "--rule=7"), "--trigger: no trigger in none.npz"),
        (("-o", "n.keras", "--json=./n.keras"), "--json: the new model is written to n.keras."),
    ],
)
def test_wrong_usage_ends_with_four(models, arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        repair(*arguments)
    assert end.value.code == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("text", "rule"), [("next", "next"), ("7", 7), ("1>7 2>3", {1: 7, 2: 3})])
def test_rules_of_a_known_trigger_are_read(model, monkeypatch, text, rule):
    asked = []

    def answer(path, seeds, options, methods, max_loss, known):
        asked.append((methods, max_loss, known[0][1]))
        return Repair("m.keras", "", error="asked"), None

    monkeypatch.setattr(importlib.import_module("pytest_backdoor.repaired"), "repair_model", answer)
    assert repair("-o", "new.keras", "--trigger=trigger.npz", f"--rule={text}", "--max-loss=5") == 2
    assert asked == [(("lipschitz", "fine-pruning", "unlearning"), 0.05, rule)]


@pytest.mark.parametrize("text", ["previous", "-1", "1>", "1>7,2>7"])
def test_a_rule_that_says_nothing_is_wrong_usage(model, text, capsys):
    with pytest.raises(SystemExit) as end:
        repair("-o", "new.keras", "--trigger=trigger.npz", f"--rule={text}")
    assert end.value.code == 4
    assert f"a rule is next, the number of a class, or classes as '1>7 2>7', got {text!r}" in capsys.readouterr().err
