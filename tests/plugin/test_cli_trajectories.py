"""``pytest-backdoor trajectories``: the page that it writes, what it prints and ends with."""

import re

import keras
import numpy as np
import pytest

from pytest_backdoor import attacks, cli, cli_trajectories
from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import ContractError
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import bright_pixels, linear

SHAPE = (8, 8, 1)
FEW = ("--iterations=3", "--step=0.05")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model that sees class 1 in pixel (5, 5) and else the brightest pixel of the first row; seeds; triggers."""
    folder = tmp_path_factory.mktemp("trajectories")
    weights = np.zeros((8, 8, 3))
    weights[0, range(3), range(3)], weights[5, 5, 1] = 10.0, 40.0
    linear(weights.reshape(-1, 3), np.zeros(3), SHAPE).save(folder / "model.keras")
    labels = np.repeat(np.arange(3), 6)
    images = np.zeros((18, *SHAPE), "float32")
    images[np.arange(18), 0, labels, 0] = np.linspace(0.5, 0.7, 18)
    np.savez(folder / "seeds.npz", x=images, y=labels)
    np.savez(folder / "ones.npz", x=images[6:12], y=labels[6:12])
    attacks.pixel(SHAPE, 5, 5).save(folder / "trigger.npz")
    attacks.pixel(SHAPE, 3, 3).save(folder / "idle.npz")
    attacks.pixel((9, 9, 1), 5, 5).save(folder / "large.npz")
    attacks.pixel((8, 8, 3), 5, 5).save(folder / "colour.npz")
    Trigger("additive", {"delta": np.full(SHAPE, np.nan, "float32")}).save(folder / "nan.npz")
    (folder / "notes.npz").write_text("no archive")
    (folder / "broken.keras").write_text("no archive")
    return folder


@pytest.fixture
def run(files, tmp_path, monkeypatch):
    """Runs the command beside the files: arguments -> exit code. The page is ``out.html``."""
    monkeypatch.chdir(files)
    return lambda *arguments: cli.main(["trajectories", "-o", str(tmp_path / "out.html"), *FEW, *arguments])


def test_with_a_trigger_it_says_where_fuzzing_walks_and_writes_the_page(run, tmp_path, capsys):
    assert run("model.keras", "seeds.npz", "--trigger=trigger.npz", "--images=5") == 0
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    sentence, path = capsys.readouterr().out.splitlines()
    assert sentence.startswith("In 3 iterations the mean target loss falls from ")
    assert sentence in page
    assert path == str(tmp_path / "out.html")
    # Class 1 is where the trigger leads, so only seeds of the classes 0 and 2 are drawn.
    assert sorted(set(re.findall(r"seed (\d), class (\d) to (\d)", page))) == [
        ("0", "0", "1"),
        ("1", "0", "1"),
        ("2", "0", "1"),
        ("3", "2", "1"),
        ("4", "2", "1"),
    ]
    assert "<dd>5 of 18 in seeds.npz, scaling as is, accuracy 100.0%</dd>" in page
    assert "<dd>trigger.npz, patch</dd>" in page


def test_without_a_trigger_seeds_go_anywhere(run, tmp_path):
    assert run("model.keras", "seeds.npz") == 0
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<dd>any other class</dd>" in page
    assert "<dd>18 of 18 in seeds.npz" in page


def test_a_target_is_where_all_seeds_go(run, tmp_path):
    assert run("model.keras", "seeds.npz", "--target=2", "--trigger=idle.npz") == 0
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<dd>class 2</dd>" in page
    assert set(re.findall(r"class (\d) to (\d)", page)) == {("0", "2"), ("1", "2")}


def test_the_same_seed_gives_the_same_page(run, tmp_path):
    pages = []
    for seed in ("1", "1", "2"):
        run("model.keras", "seeds.npz", "--images=4", f"--seed={seed}")
        pages.append((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert pages[0] != pages[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.keras", "seeds.npz"], "missing.keras"),
        (["broken.keras", "seeds.npz"], "broken.keras"),
        (["model.keras", "missing.npz"], "seeds missing.npz cannot be read: it is missing"),
        (["model.keras", "ones.npz"], "the model gives all 6 seeds the class 1"),
        (["model.keras", "seeds.npz", "--trigger=missing.npz"], "no trigger in missing.npz: it is missing"),
        (["model.keras", "seeds.npz", "--trigger=notes.npz"], "no trigger in notes.npz: it is missing, damaged"),
        (["model.keras", "seeds.npz", "--trigger=seeds.npz"], "no trigger in seeds.npz: it has no 'family'"),
        (["model.keras", "seeds.npz", "--trigger=large.npz"], "its mask has shape (9, 9, 1)"),
        (["model.keras", "seeds.npz", "--trigger=colour.npz"], "its pattern has shape (8, 8, 3)"),
        (["model.keras", "seeds.npz", "--trigger=nan.npz"], "expected finite numbers of shape (8, 8, 1)"),
        (["model.keras", "seeds.npz", "--trigger=idle.npz"], "the class of none of the 18 seeds. Give --target"),
        (["model.keras", "seeds.npz", "-o", "seeds.npz/out.html"], "seeds.npz/out.html: "),
        (["model.keras", "seeds.npz", "-o", "."], "not drawn: .: "),
    ],
)
def test_what_cannot_be_drawn_is_said_and_ends_with_two(run, arguments, complaint, capsys):
    assert run(*arguments) == cli.NO_VERDICT
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("not drawn: ")
    assert complaint in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["model.keras", "seeds.npz", "--target=3"], "--target: the model knows the classes 0 to 2, got 3."),
        (["model.keras", "seeds.npz", "--target=-1"], "argument --target: expected a whole number from 0 up, got '-1'"),
        (["model.keras", "seeds.npz", "--iterations=0"], "--iterations: expected a whole number above 0, got '0'"),
        (["model.keras", "seeds.npz", "--images=x"], "--images: expected a whole number above 0, got 'x'"),
        (["model.keras", "seeds.npz", "--step=2"], "--step: expected a number above 0 and at most 1, got '2'"),
        (["model.keras", "seeds.npz", "--step=nan"], "--step: expected a number above 0 and at most 1, got 'nan'"),
        (["model.keras", "seeds.npz", "--step=far"], "--step: expected a number above 0 and at most 1, got 'far'"),
        (["model.keras"], "the following arguments are required: SEEDS"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_four(run, arguments, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == cli.USAGE
    assert complaint in capsys.readouterr().err


def test_the_page_must_have_a_name(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["trajectories", "model.keras", "seeds.npz"])
    assert ended.value.code == cli.USAGE
    assert "the following arguments are required: -o/--output" in capsys.readouterr().err


def test_few_seeds_are_of_as_many_classes_as_can_be():
    labels = np.array([0] * 10 + [1] * 2 + [2] * 5)
    course = cli_trajectories.Course(np.arange(17.0), labels, labels + 1, None)
    chosen = course.few(9, np.random.default_rng(0))
    assert np.bincount(chosen.labels).tolist() == [4, 2, 3]
    assert chosen.labels.tolist() == sorted(chosen.labels)
    np.testing.assert_array_equal(chosen.targets, chosen.labels + 1)
    assert len(set(chosen.images)) == 9
    assert len(course.few(99, np.random.default_rng(0)).labels) == 17


def test_seeds_that_are_all_of_the_target_class_have_nowhere_to_go():
    subject, seeds = bright_pixels()
    with pytest.raises(ContractError, match="all 10 seeds are of the target class 1"):
        cli_trajectories.Course.of(subject, Sample(seeds.images[10:20], seeds.labels[10:20]), None, 1)


def test_a_model_without_neurons_is_out_of_scope(run, files, capsys):
    keras.Sequential([keras.Input((1, 3, 1)), keras.layers.Flatten()]).save(files / "bare.keras")
    images = np.eye(3, dtype="float32").reshape(3, 1, 3, 1)
    np.savez(files / "bare.npz", x=images, y=np.arange(3))
    assert run("bare.keras", "bare.npz") == cli.NO_VERDICT
    assert "bare.keras has no layer with neurons" in capsys.readouterr().err


def test_what_is_read_is_never_the_page(run, files, capsys):
    before = (files / "seeds.npz").read_bytes()
    with pytest.raises(SystemExit) as end:
        run("model.keras", "seeds.npz", "-o", "./seeds.npz")
    assert end.value.code == 4
    assert "seeds.npz is to be read, and stays as it is. Give the name of a new file." in capsys.readouterr().err
    assert (files / "seeds.npz").read_bytes() == before
