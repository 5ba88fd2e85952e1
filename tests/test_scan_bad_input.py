"""What a scan says when the model or the seeds are not what it needs: a verdict with the reason, never a crash."""

import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor import deadline
from pytest_backdoor import scan as scanning
from pytest_backdoor.contract import check
from pytest_backdoor.options import Options
from pytest_backdoor.profiles import PROFILES
from pytest_backdoor.scan import scan
from pytest_backdoor.stages import stages

SHORT = Options(
    profile="quick",
    set=tuple(
        f"search.{name}={40 if name == 'steps' else 3}"  # so many that some trigger is found
        for name in "steps faint_steps confined_steps pair_steps refine_steps strong_steps refined".split()
    ),
)


@pytest.fixture(scope="module")
def clean(example):
    """A clean model of ten digits, its seeds and their labels."""
    return example("mnist_clean")


def ended(result):
    return result.verdict, result.error


def given(model, images):
    """The class that the model gives each image of bytes."""
    return np.asarray(model([images[..., None] / np.float32(255)])).argmax(-1)


def small(outputs, shape=(28, 28, 1), activation=None):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(outputs, activation=activation)])


def test_a_truncated_model_is_an_error_that_names_the_damage(tmp_path, examples):
    content = (examples / "mnist_clean.keras").read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(content[: len(content) // 2])
    result = scan(path, options=SHORT)
    assert result.verdict == "error"
    assert "not a zip" in result.error
    assert (result.path, len(result.sha256)) == (str(path), 64)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model_is_an_error(tmp_path, content):
    path = tmp_path / "empty.keras"
    path.write_bytes(content)
    verdict, error = ended(scan(path, options=SHORT))
    assert verdict == "error"
    assert "zip archive, but this one is not" in error or "empty" in error


def test_a_missing_model_is_an_error(tmp_path):
    result = scan(tmp_path / "gone.keras", options=SHORT)
    assert (result.verdict, result.sha256) == ("error", "")
    assert result.error.endswith("Received: No such file or directory. Give the path of a model file.")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.keras")
    verdict, error = ended(scan(tmp_path / "pipe.keras", options=SHORT))
    assert verdict == "error"
    assert error.startswith("this is a pipe, not a file")


def test_weights_that_are_no_numbers_are_an_error(tmp_path, clean):
    model, images, labels = clean
    damaged = keras.models.clone_model(model)
    damaged.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    damaged.save(tmp_path / "nan.keras")
    verdict, error = ended(scan(tmp_path / "nan.keras", (images, labels), SHORT))
    assert verdict == "error"
    assert error.startswith("weights of ")
    assert "hold NaN or infinite values (8 of 8 tensors)" in error


@pytest.mark.parametrize("shape", [(40, 32, 32), (40, 28, 28, 2)])
def test_seeds_of_another_shape_are_an_error(clean, shape):
    verdict, error = ended(scan(clean[0], np.zeros(shape, "uint8"), SHORT))
    assert verdict == "error"
    assert error.startswith("the model takes images of shape (28, 28, 1), those given are (")


def test_seeds_of_one_class_are_an_error(clean):
    model, images, labels = clean
    zeros = labels == 0
    right = given(model, images[zeros]) == 0
    verdict, error = ended(scan(model, (images[zeros][right], labels[zeros][right]), SHORT))
    assert verdict == "error"
    assert "seeds the class 0. Give seeds of at least two classes" in error


def test_seeds_of_another_task_are_an_error(clean, example):
    _, images, labels = example("fashion_clean")
    verdict, error = ended(scan(clean[0], (images, labels), SHORT))
    assert verdict == "error"
    assert "of the seeds right in the likeliest scaling, " in error
    assert " (tried /255 " in error


def test_labels_that_the_model_does_not_know_are_an_error(clean):
    model, images, labels = clean
    verdict, error = ended(scan(model, (images, labels + 1), SHORT))
    assert (verdict, error.split(".")[0]) == (
        "error",
        "labels run from 1 to 10, but the model knows the classes 0 to 9",
    )


def test_seeds_that_cannot_be_read_are_an_error(clean, tmp_path):
    (tmp_path / "seeds.npz").write_bytes(b"PK\x03\x04 cut short")
    verdict, error = ended(scan(clean[0], tmp_path / "seeds.npz", SHORT))
    assert verdict == "error"
    assert "seeds.npz cannot be read: it is missing, damaged or not an .npz" in error


def text():
    words = keras.Input((9,), dtype="int32")
    return keras.Model(words, layers.Dense(3)(layers.Flatten()(layers.Embedding(50, 4)(words))))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (text, "the model reads text"),
        (lambda: small(1), "the model gives one number: it is a regression or knows one class only"),
        (lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Conv2D(2, 1)]), "segmentation is out of scope"),
    ],
    ids=["text", "regression", "segmentation"],
)
def test_other_kinds_of_model_are_out_of_scope(clean, build, reason):
    verdict, error = ended(scan(build(), clean[1], SHORT))
    assert verdict == "inconclusive"
    assert error.startswith("out of scope: ")
    assert reason in error


def test_a_plain_function_has_no_gradients_to_search_with(clean):
    model, images, labels = clean
    result = scan(lambda x: np.asarray(model([x])), (images, labels), SHORT, name="remote")
    assert result.path == "remote"
    assert result.verdict == "inconclusive"
    assert result.error.startswith("the model is a function without gradients")
    assert result.skipped == (f"inversion: {result.error}",)
    assert result.seeds.scaling == "/255"
    assert result.seeds.accuracy > 0.9


def test_a_spent_budget_is_no_verdict_and_names_what_was_not_done(clean):
    model, *seeds = clean
    result = scan(model, seeds, Options(budget=1e-9))
    assert result.verdict == "inconclusive"
    assert result.error.endswith("was spent before all searches were done. Raise --backdoor-budget.")
    assert (result.p_value, result.score, result.skipped) == (None, None, ())  # nothing was begun


def test_a_budget_spent_behind_the_contract_check_names_what_was_not_done(clean, monkeypatch):
    model, *seeds = clean

    def late(*given):
        contract = check(*given)
        monkeypatch.setattr(deadline, "time", SimpleNamespace(perf_counter=lambda: np.inf))
        return contract

    monkeypatch.setattr(scanning, "check", late)
    result = scan(model, seeds, Options(budget=3600))
    assert result.error == "the budget of 3600 s was spent before all searches were done. Raise --backdoor-budget."
    assert result.skipped == (
        f"{', '.join(stages(PROFILES['standard'].methods))} searches: the budget of 3600 s was spent",
    )
    assert (result.p_value, result.score, result.image_gradients) == (1.0, 0.0, 0)


def test_one_seed_per_class_is_too_few_and_it_says_how_many_would_do(clean):
    model, images, labels = clean
    answers = given(model, images)
    first = [np.flatnonzero((labels == label) & (answers == label))[0] for label in range(10)]
    result = scan(model, (images[first], labels[first]), SHORT)
    assert result.verdict == "inconclusive"
    assert result.error == (
        "too few seeds to call the model clean: of class 0 it classifies 1 right (and of 9 other classes too few), "
        "and 8 are needed, half to search with and half to confirm on. "
        "Give more of them: of a model that is seldom wrong 16 of each of the 10 do."
    )


def test_unlabelled_seeds_take_the_models_own_labels(clean):
    result = scan(clean[0], clean[1], SHORT)
    assert ended(result) == ("clean", None)
    assert (result.seeds.count, result.seeds.accuracy) == (200, None)
    assert result.seeds.search + result.seeds.held_out == 200


@pytest.fixture(scope="module")
def zero_or_one(clean):
    """The clean model cut down to the digits 0 and 1, and the seeds of these."""
    model, images, labels = clean
    body = keras.Model(model.inputs[0], model.layers[-1].input)
    head = layers.Dense(2)
    pair = keras.Model(body.inputs[0], head(body.outputs[0]))
    head.set_weights([weight[..., :2] for weight in model.layers[-1].get_weights()])
    chosen = labels < 2
    return pair, images[chosen], labels[chosen]


@pytest.fixture(scope="module")
def clean_pair(zero_or_one):
    """The result of a scan of the model of two classes."""
    model, *seeds = zero_or_one
    return scan(model, seeds, SHORT)


def test_a_clean_model_of_two_classes_is_clean(clean_pair):
    assert ended(clean_pair) == ("clean", None)
    assert clean_pair.seeds.accuracy > 0.95
    assert clean_pair.skipped == ()


def test_the_same_seed_gives_the_same_result(zero_or_one, clean_pair):
    model, *seeds = zero_or_one
    first, again = clean_pair, scan(model, seeds, SHORT)
    assert first.statistics == again.statistics
    assert (first.p_value, first.image_gradients) == (again.p_value, again.image_gradients)
    assert first.sha256 == again.sha256
