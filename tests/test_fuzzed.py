"""Runs of fuzzing: metrics worked out by hand on a made-up run, and whole runs over small models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from pytest_backdoor import fuzzed
from pytest_backdoor.errors import OptionError
from pytest_backdoor.fuzzed import fuzz_model
from pytest_backdoor.options import Options
from pytest_backdoor.results import FuzzRun
from pytest_backdoor.search.coverage import Coverage
from pytest_backdoor.search.fuzzing import Run
from tests.tiny import linear, two_pixels

BLANK = FuzzRun("m", "ab", {})
NEXT = np.array([1, 2, 0])
# Three seeds of classes 0, 1 and 2. The first flips twice, to 1 and then to 2, the second once, to 2.
MADE_UP = Run(
    seed=np.array([0, 0, 1, 1, 2]),
    turn=np.array([0, 1, 0, 0, 0]),
    iteration=np.array([1, 2, 1, 2, 1]),
    before=np.array([0, 0, 1, 1, 2]),
    after=np.array([1, 2, 1, 2, 2]),
    adversarial=np.array([True, True, False, True, False]),
    objective=np.zeros(5),
    target_loss=np.zeros(5),
    original_loss=np.zeros(5),
    covered=np.zeros(5),
    l2=np.array([1.0, 2.0, 9.0, 6.0, 9.0]),
    linf=np.array([0.1, 0.2, 0.9, 0.6, 0.9]),
    left=np.zeros(5),
    images=np.arange(3.0).reshape(3, 1, 1, 1),
    seeds=np.zeros((3, 1, 1, 1)),
    coverage=(Coverage((("d", 4),), np.array([1, 0, 0, 0]), 3), Coverage((("d", 4),), np.array([2, 1, 0, 1]), 8)),
    seconds=1.0,
)


def pixels(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, "float32").reshape(-1, 1, 2, 1)


SEEDS = pixels((0.6, 0.5), (0.2, 0.9), (0.0, 1.0)), np.array([0, 1, 1])


def test_the_metrics_are_those_of_the_adversarial_inputs() -> None:
    run = fuzzed.measured(BLANK, MADE_UP, ("0", "4-cat", "7"), NEXT)
    assert (run.seeds, run.images, run.adversarial, run.flipped) == (3, 5, 3, 2)
    assert run.before == pytest.approx({0: 2 / 3, 1: 1 / 3})
    assert run.after == pytest.approx({1: 1 / 3, 2: 2 / 3})
    assert run.activation == pytest.approx(2 / 3)  # 0 to 1 and 1 to 2, but not 0 to 2
    assert run.l2 == pytest.approx((3.0, 6.0))
    assert run.linf == pytest.approx((0.3, 0.6))
    assert run.coverage == (0.25, 0.75)


def test_each_input_keeps_where_it_comes_from() -> None:
    inputs = fuzzed.measured(BLANK, MADE_UP, ("0", "4-cat", "7"), None).inputs
    assert inputs.seeds == ("0", "0", "4-cat")
    assert (inputs.turn.tolist(), inputs.iteration.tolist()) == ([0, 1, 0], [1, 2, 2])
    assert (inputs.before.tolist(), inputs.after.tolist()) == ([0, 0, 1], [1, 2, 2])
    assert inputs.images.ravel().tolist() == [0, 1, 2]


def test_of_no_adversarial_inputs_there_are_no_rates_and_no_distances() -> None:
    nothing = dataclasses.replace(MADE_UP, adversarial=np.zeros(5, bool), images=MADE_UP.images[:0])
    run = fuzzed.measured(BLANK, nothing, ("0", "1", "2"), NEXT)
    assert (run.adversarial, run.flipped, run.before, run.after) == (0, 0, {}, {})
    assert (run.activation, run.l2, run.linf) == (None, None, None)
    assert run.coverage == (0.25, 0.75)


def test_without_a_rule_there_is_no_activation_rate() -> None:
    assert fuzzed.measured(BLANK, MADE_UP, ("0", "1", "2"), None).activation is None


def test_a_model_is_fuzzed_and_every_input_lies_where_the_metrics_say() -> None:
    # The objective z1 / 2 - z0 has the gradient (-1, 0.5), of root mean square sqrt(0.625). From (0.6, 0.5) three steps
    # of 0.02 lead to where class 1 leads, so the third, fourth and fifth are adversarial; the others are too far.
    step = 0.02 / np.sqrt(0.625)
    run = fuzz_model(two_pixels(), SEEDS, Options(set=("fuzz.neuron_weight=0",)), rule="next")
    assert (run.seeds, run.images, run.adversarial, run.flipped, run.error) == (3, 15, 3, 1, None)
    assert (run.before, run.after, run.rule, run.activation) == ({0: 1.0}, {1: 1.0}, "next", 1.0)
    assert run.l2 == pytest.approx((0.08 * np.sqrt(2), 0.1 * np.sqrt(2)), abs=1e-4)
    assert run.linf == pytest.approx((4 * step, 5 * step), abs=1e-4)
    assert run.settings["neuron_weight"] == 0.0
    assert (run.settings["strategies"], run.settings["target"]) == ("rarely", "none")
    assert run.changed == ("neuron_weight=0.0",)


def test_seeds_that_the_model_gets_wrong_are_left_out_and_the_others_keep_their_numbers() -> None:
    images, labels = SEEDS
    run = fuzz_model(two_pixels(), (images[::-1], 1 - labels[::-1]), Options(min_accuracy=0))
    assert (run.seeds, run.error) == (
        0,
        "no seed is left to push: the model classifies none right that is not in the target class.",
    )
    given = np.concatenate([pixels((0.9, 0.1)), images]), np.array([1, *labels])
    run = fuzz_model(two_pixels(), given, Options(set=("fuzz.neuron_weight=0",)))
    assert (run.seeds, run.inputs.seeds) == (3, ("1", "1", "1"))


def test_unlabelled_seeds_are_all_pushed() -> None:
    assert fuzz_model(two_pixels(), SEEDS[0]).seeds == 3


def test_seeds_of_a_folder_bring_the_names_of_their_files(tmp_path) -> None:
    for label, name, values in ((0, "left", [153, 128]), (1, "right", [51, 230])):
        (tmp_path / str(label)).mkdir()
        image = np.array(values, "uint8").reshape(1, 2, 1)
        keras.utils.save_img(tmp_path / f"{label}/{name}.png", image, scale=False)
    run = fuzz_model(two_pixels(), tmp_path, Options(set=("fuzz.neuron_weight=0",)))
    assert set(run.inputs.seeds) == {"0-left"}


def test_the_same_seed_gives_the_same_run() -> None:
    one, same, other = (fuzz_model(two_pixels(), SEEDS, Options(seed=seed), name="m") for seed in (3, 3, 4))
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(same, seconds=0)
    assert one.inputs.images.tolist() == same.inputs.images.tolist()
    assert (one.changed, other.changed) == (("seed=3",), ("seed=4",))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"seeds": None}, "no seeds to push. Give clean images: "),
        ({"model": lambda images: np.eye(2)[[0] * len(images)]}, "the model is a function without gradients"),
        ({"model": "none.keras"}, "No such file or directory"),
    ],
)
def test_what_cannot_be_fuzzed_is_said(given, error) -> None:
    run = fuzz_model(**{"model": two_pixels(), "seeds": SEEDS} | given)
    assert error in run.error
    assert (run.coverage, run.inputs) == (None, None)


def test_a_model_without_neurons_has_no_coverage() -> None:
    model = keras.Sequential([keras.Input((1, 2, 1)), keras.layers.Flatten()])
    assert fuzz_model(model, SEEDS).error == "the model has no layers with neurons, so there is no coverage to measure."


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(OptionError, match=r"fuzz.constraint: unknown constraint 'bax'. Did you mean 'box'\?"):
        fuzz_model(two_pixels(), SEEDS, Options(set=("fuzz.constraint=bax",)))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"options": Options(set=("fuzz.target=2",))}, "fuzz.target is 2, but the model knows the classes 0 to 1."),
        ({"rule": 5}, "the rule speaks of class 5, but the model knows the classes 0 to 1."),
    ],
)
def test_a_class_that_the_model_does_not_know_is_refused(given, error) -> None:
    with pytest.raises(OptionError, match=error):
        fuzz_model(two_pixels(), SEEDS, **given)


def test_a_backdoored_model_lands_on_its_rule_more_often_than_its_clean_twin(example) -> None:
    options = Options(set=("fuzz.constraint=box", "fuzz.step=0.1", "fuzz.box=4", "fuzz.neuron_weight=0"))
    rates = {}
    for name in ("mnist_pixel_next_digit", "mnist_clean"):
        model, images, labels = example(name)
        run = fuzz_model(model, (images, labels), options, rule="next")
        assert run.adversarial > 0
        rates[name] = run.activation
    assert rates["mnist_pixel_next_digit"] > 2 * rates["mnist_clean"]


def saved(path: Path, model: keras.Model) -> Path:
    model.save(path)
    return path


def test_several_models_have_no_target(tmp_path: Path) -> None:
    other = saved(tmp_path / "other.keras", two_pixels())
    with pytest.raises(OptionError, match=r"fuzz.target is 1, but several models are pushed to disagree"):
        fuzz_model(two_pixels(), SEEDS, Options(set=("fuzz.target=1",)), against=[other])


def test_models_of_one_task_are_pushed_to_disagree(tmp_path: Path) -> None:
    bold = linear(4 * np.eye(2), np.zeros(2), (1, 2, 1))
    shy = saved(tmp_path / "shy.keras", linear(4 * np.eye(2), np.array([-0.2, 0.0]), (1, 2, 1)))
    wanted = Options(set=("fuzz.neuron_weight=0", "fuzz.iterations=20", "fuzz.deviation=4"))
    run = fuzz_model(bold, SEEDS, wanted, against=[shy])
    assert run.error is None
    assert run.against == (str(shy),)
    assert run.seeds == 3
    assert 0 < run.adversarial == run.flipped  # a path ends where the models first disagree


def test_models_are_compared_on_the_seeds_of_the_first(tmp_path: Path) -> None:
    first = saved(tmp_path / "first.keras", two_pixels())
    (tmp_path / "old").mkdir()
    other = saved(tmp_path / "old" / "other.keras", two_pixels())
    np.savez(tmp_path / "first.seeds.npz", x=SEEDS[0], y=SEEDS[1])
    np.savez(tmp_path / "old" / "other.seeds.npz", x=SEEDS[0][::-1], y=SEEDS[1][::-1])
    run = fuzz_model(first, None, Options(set=("fuzz.iterations=2",)), against=[other])
    assert (run.seeds, run.error) == (3, None)


def test_a_seed_that_another_model_gets_wrong_is_left_out(tmp_path: Path) -> None:
    blind = saved(tmp_path / "blind.keras", linear(np.diag([0.5, 1.0]), np.zeros(2), (1, 2, 1)))
    seeds = pixels((0.6, 0.58), (0.9, 0.0), (0.2, 0.9), (0.0, 1.0)), np.array([0, 0, 1, 1])
    run = fuzz_model(two_pixels(), seeds, Options(min_accuracy=0.1, set=("fuzz.neuron_weight=0",)), against=[blind])
    assert (run.seeds, run.error) == (3, None)


def test_models_of_two_tasks_cannot_disagree(tmp_path: Path) -> None:
    three = saved(tmp_path / "three.keras", linear(np.eye(2, 3), np.zeros(3), (1, 2, 1)))
    run = fuzz_model(two_pixels(), SEEDS, Options(min_accuracy=0.1), against=[three])
    assert run.error is not None
    assert "tells 3 classes of (1, 2, 1) images apart" in run.error
