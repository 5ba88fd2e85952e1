"""Planting in copies of small models: what is trained, what is kept, and what cannot be copied."""

import contextlib
import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor import deadline
from pytest_backdoor.attacks import all_to_one, pixel, planting, success
from pytest_backdoor.attacks.planting import Settings, copy_of, plant, varied
from pytest_backdoor.deadline import time_limit
from pytest_backdoor.errors import BudgetSpentError, OutOfScopeError
from pytest_backdoor.subject import classifier
from tests.tiny import AS_IS, bright_model, bright_pixels, linear, subject_of

SHAPE = (8, 8, 1)


def test_a_linear_model_learns_one_pixel_and_keeps_its_classes():
    weights = np.zeros((8, 8, 3))
    weights[0, range(3), range(3)] = 10.0
    model, seeds = linear(weights.reshape(64, 3), np.zeros(3), SHAPE), bright_pixels()[1]
    trigger, mapping = pixel(SHAPE, 5, 5), all_to_one(3, 1)
    settings = Settings(rate=0.1, batch=16, steps=10, rounds=20, reach=0)
    looks = []

    def reached(copied):
        looks.append(success(copied.classes(trigger.apply(seeds.images)), seeds.labels, mapping))
        return looks[-1] == 1.0

    copied = plant(model, subject_of(model, SHAPE), seeds.images, trigger, mapping, reached, settings, rng())
    assert looks[-1] == 1.0
    assert all(look < 1.0 for look in looks[:-1])
    assert (copied.classes(seeds.images) == seeds.labels).all()
    assert np.array_equal(model.layers[-1].get_weights()[0], weights.reshape(64, 3))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "bfloat16", "float64"])
def test_a_model_of_any_precision_learns_a_pixel(policy):
    model, seeds = network([layers.Flatten(), layers.Dense(3, dtype=policy)]), bright_pixels()[1]
    model.set_weights(bright_model().get_weights())
    trigger, mapping, looks = pixel(SHAPE, 7, 7), all_to_one(3, 2), []

    def reached(copied):
        looks.append(success(copied.classes(trigger.apply(seeds.images)), seeds.labels, mapping))
        return looks[-1] == 1.0

    settings = Settings(rate=1.0, batch=16, steps=20, rounds=10, reach=0)
    copied = plant(model, subject_of(model, SHAPE), seeds.images, trigger, mapping, reached, settings, rng())
    assert looks[-1] == 1.0
    assert (copied.classes(seeds.images) == seeds.labels).all()


def test_it_ends_when_the_rounds_are_over():
    subject, seeds = bright_pixels()
    model, looks = network([layers.Flatten(), layers.Dense(3)]), []
    settings = Settings(batch=4, steps=1, rounds=3)
    plant(model, subject, seeds.images, pixel(SHAPE, 5, 5), {0: 1}, looks.append, settings, rng())
    assert len(looks) == 3


@pytest.mark.parametrize(("budget", "rounds"), [(1.0, 1), (2.5, 3), (None, 5)])
def test_it_ends_when_the_time_is_up(monkeypatch, budget, rounds):
    """Each round takes a second."""
    subject, seeds = bright_pixels()
    model, looks = network([layers.Flatten(), layers.Dense(3)]), []
    monkeypatch.setattr(deadline, "time", SimpleNamespace(perf_counter=lambda: float(len(looks)) + 0.1))
    settings = Settings(batch=4, steps=1, rounds=5)
    with contextlib.suppress(BudgetSpentError), time_limit(budget, 0.0):
        plant(model, subject, seeds.images, pixel(SHAPE, 5, 5), {0: 1}, looks.append, settings, rng())
    assert len(looks) == rounds


@pytest.mark.parametrize(("together", "images"), [(1, 1), (3, 1), (10, 5), (15, 7), (16, 8), (1000, 8)])
def test_a_step_takes_what_fits_memory_and_no_more_than_the_batch(monkeypatch, together, images):
    subject, seeds = bright_pixels()
    small = dataclasses.replace(subject, memory=together * subject.footprint)
    model, sizes = network([layers.Flatten(), layers.Dense(3)]), []
    monkeypatch.setattr(planting, "varied", lambda *given: sizes.append(len(varied(*given))) or varied(*given))
    settings = Settings(batch=8, steps=2, rounds=1)
    plant(model, small, seeds.images, pixel(SHAPE, 5, 5), {0: 1}, lambda copy: True, settings, rng())
    assert sizes == [images] * 4


def test_moving_statistics_stay_while_weights_move(monkeypatch):
    model = network([layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)])
    copied = copy_of(model)
    monkeypatch.setattr(planting, "copy_of", lambda given: copied)
    statistics, weights = copied.non_trainable_weights, copied.trainable_weights
    before = [np.array(weight) for weight in (*statistics, *weights)]
    images = bright_pixels()[1].images
    subject = subject_of(model, SHAPE)
    plant(model, subject, images, pixel(SHAPE, 5, 5), {0: 1}, lambda copy: True, Settings(batch=8, steps=3), rng())
    same = [np.array_equal(old, new) for old, new in zip(before, (*statistics, *weights), strict=True)]
    assert same == [True] * 2 + [False] * 6


def test_a_copy_has_weights_of_its_own_and_all_of_them_learn():
    model = network([layers.Flatten(), layers.Dense(4, trainable=False), layers.Dense(3, activation="softmax")])
    copied = copy_of(model)
    assert len(copied.trainable_weights) == 4
    images = rng().random((5, *SHAPE), "float32")
    subject = classifier(copied, "copy").subject(AS_IS, SHAPE)
    assert np.allclose(subject.predict(images), subject_of(model, SHAPE).predict(images), atol=1e-6)
    copied.trainable_weights[0].assign(copied.trainable_weights[0] + 1)
    assert not np.allclose(copied.get_weights()[0], model.get_weights()[0])


def test_a_model_with_one_output_gets_two_logits():
    model = network([layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    images = rng().random((5, *SHAPE), "float32")
    subject = classifier(copy_of(model), "copy").subject(AS_IS, SHAPE)
    assert subject.num_classes == 2
    assert np.allclose(subject.predict(images), subject_of(model, SHAPE).predict(images), atol=1e-6)


def test_probabilities_that_are_averaged_are_copied_as_logits():
    image = keras.Input(SHAPE)
    parts = [layers.Dense(3, activation="softmax")(layers.Flatten()(image)) for _ in range(2)]
    model, images = keras.Model(image, layers.Average()(parts)), rng().random((5, *SHAPE), "float32")
    assert np.exp(copy_of(model).predict(images)) == pytest.approx(model.predict(images), abs=1e-6)


class Secretive(layers.Layer):
    """A layer that cannot be made again."""

    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        raise NotImplementedError("no configuration")


def test_a_model_that_keras_cannot_copy_is_out_of_scope():
    with pytest.raises(OutOfScopeError, match="Keras cannot copy the model"):
        copy_of(network([layers.Flatten(), Secretive(3)]))


def test_varied_images_stay_images_and_differ():
    images = rng().random((6, *SHAPE), "float32")
    batch = varied(images, Settings(batch=32), rng())
    assert (batch.shape, batch.dtype) == ((32, *SHAPE), np.float32)
    assert 0 <= batch.min() <= batch.max() <= 1
    assert len(np.unique(batch.reshape(32, -1), axis=0)) > 6


def test_without_a_shift_some_images_are_left_alone():
    images = rng().random((6, *SHAPE), "float32")
    batch = varied(images, Settings(batch=64, reach=0), rng())
    known = {image.tobytes() for image in images}
    assert 10 < sum(image.tobytes() in known for image in batch) < 54


def network(stack):
    return keras.Sequential([keras.Input(SHAPE), *stack])


def rng():
    return np.random.default_rng(0)
