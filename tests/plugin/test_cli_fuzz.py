"""``pytest-backdoor fuzz``: exit codes, the table, the report, the saved inputs."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image

from pytest_backdoor import cli
from tests.plugin import fake_fuzzed


@pytest.fixture
def fuzz(models, monkeypatch):
    """Runs ``pytest-backdoor fuzz`` in this process on the fake run: arguments -> exit code."""
    monkeypatch.setattr(importlib.import_module("pytest_backdoor.fuzzed"), "fuzz_model", fake_fuzzed.fuzz_model)
    return lambda *arguments: cli.main(["fuzz", *map(str, arguments)])


def test_a_run_ends_with_zero_whatever_it_found(fuzz, capsys):
    assert fuzz("models/clean.keras") == 0
    shown = capsys.readouterr().out
    assert "| adversarial inputs | 2  " in shown
    assert shown.endswith(
        "models/clean.keras: adversarial inputs are no verdict, clean models have them too:"
        " pytest-backdoor scan gives one\n"
    )


def test_what_could_not_be_fuzzed_ends_with_two(fuzz, capsys):
    assert fuzz("models/odd.keras") == 2
    assert capsys.readouterr().out == "models/odd.keras: no seeds to push\n"


@pytest.mark.parametrize(("given", "rule"), [([], None), (["--rule=next"], "next"), (["--rule=7"], "7")])
def test_options_and_the_rule_reach_it(fuzz, pytester, given, rule):
    fuzz("m.keras", "--seed=3", "--seeds=s.npz", "--set=fuzz.box=5", "--set", "fuzz.constraint=box", *given)
    asked = json.loads((pytester.path / "fuzzed.jsonl").read_text())
    assert (asked["seed"], asked["seeds"], asked["rule"]) == (3, "s.npz", rule)
    assert asked["set"] == {"fuzz.box": "5", "fuzz.constraint": "box"}


def test_report_and_inputs_are_written(fuzz, pytester, capsys):
    assert fuzz("m.keras", "-o", "deep/out.json", "--save-inputs=inputs") == 0
    document = json.loads((pytester.path / "deep/out.json").read_text())
    assert (document["schema"], document["tool"]["name"]) == (1, "pytest-backdoor")
    saved = document["fuzzing"]["saved"]
    assert (pytester.path / saved / "results.json").exists()
    assert f"m.keras: saved in {saved}\n" in capsys.readouterr().out


def test_what_cannot_be_written_is_no_success(fuzz, pytester, capsys):
    (pytester.path / "file").write_text("")
    assert fuzz("m.keras", "-o", "file/out.json") == 2
    assert "report not written: file/out.json: " in capsys.readouterr().out
    assert fuzz("m.keras", "--save-inputs=file") == 2
    assert "m.keras: inputs not saved: file/m_" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["m.keras", "--rule=previous"],
            "a rule is next, the number of a class, or classes as '1>7 2>7', got 'previous'",
        ),
        (["m.keras", "--rule=-1"], "a rule is next, the number of a class, or classes as '1>7 2>7', got '-1'"),
        (["m.keras", "--rule="], "a rule is next, the number of a class, or classes as '1>7 2>7', got ''"),
        (["m.keras", "--seed=x"], "--seed: expected a whole number"),
        (["four.keras"], "fuzz.target is 9, but the model knows the classes 0 to 3."),
        ([], "the following arguments are required: MODEL"),
    ],
)
def test_wrong_usage_ends_with_four(fuzz, arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        fuzz(*arguments)
    assert end.value.code == 4
    assert message in capsys.readouterr().err


def test_an_unknown_constraint_is_wrong_usage(pytester, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["fuzz", "m.keras", "--set=fuzz.constraint=bax"])
    assert end.value.code == 4
    assert "fuzz.constraint: unknown constraint 'bax'. Did you mean 'box'?" in capsys.readouterr().err


def test_a_real_model_is_fuzzed_and_its_inputs_are_what_the_model_changed_its_mind_on(examples, pytester, example):
    name = "mnist_pixel_next_digit"
    few = ("--set=fuzz.constraint=box", "--set=fuzz.step=0.2", "--set=fuzz.queue=1", "--set=fuzz.iterations=2")
    assert (
        cli.main(["fuzz", str(examples / f"{name}.keras"), "-oout.json", "--save-inputs=i", "--rule=next", *few]) == 0
    )
    run = json.loads((pytester.path / "out.json").read_text())["fuzzing"]
    folder = pytester.path / run["saved"]
    files = json.loads((folder / "results.json").read_text())["files"]
    assert len(files) == run["adversarial"] == len(list(folder.glob("*.png"))) > 0
    model, seeds, _ = example(name)
    images = np.stack([np.asarray(Image.open(folder / file)) for file in files])
    numbers, before, after = np.array([file.replace("_to", "").split("_")[:3] for file in files]).astype(int).T
    scaled = [np.float32(each).reshape(-1, 28, 28, 1) / 255 for each in (seeds[numbers], images)]
    assert model.predict_on_batch(scaled[0]).argmax(-1).tolist() == before.tolist()
    # Eight bits round a few inputs that lie on the border back.
    assert np.mean(model.predict_on_batch(scaled[1]).argmax(-1) == after) > 0.95
    assert run["activation"] == pytest.approx(np.mean(after == (before + 1) % 10))


@pytest.mark.parametrize("name", ["m.keras", "./m.keras", "old.keras", "m.seeds.npz", "seeds.npz"])
def test_what_is_read_is_never_the_output(fuzz, pytester, capsys, name):
    for each in ("m.keras", "old.keras", "m.seeds.npz", "seeds.npz"):
        (pytester.path / each).write_bytes(b"kept")
    with pytest.raises(SystemExit) as end:
        fuzz("m.keras", "--against=old.keras", "-o", name)
    assert end.value.code == 4
    assert "is to be read, and stays as it is. Give the name of a new file." in capsys.readouterr().err
    assert {each.read_bytes() for each in (pytester.path / "m.keras", pytester.path / name)} == {b"kept"}
