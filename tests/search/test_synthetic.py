"""Synthetic seeds are what the model takes them for, and no two searches need to share them."""

import numpy as np
import pytest

from pytest_backdoor.scalings import up_to
from pytest_backdoor.search.synthetic import Settings, loss, seeds, smooth, total_variation
from pytest_backdoor.subject import classifier
from tests.tiny import linear, subject_of

FEW = Settings(images=3, smooth=2, steps=80)


@pytest.fixture(scope="module")
def digits(example):
    """A model of handwritten digits as a search sees it."""
    return classifier(example("mnist_clean")[0], "digits").subject(up_to(1, 1, "assumed"), (28, 28, 1))


def test_every_seed_is_of_the_class_that_the_model_sees_in_it_and_every_class_has_its_own(digits):
    drawn, _ = seeds(digits, FEW, np.random.default_rng(0))
    assert (digits.classes(drawn.images) == drawn.labels).all()
    assert np.bincount(drawn.labels, minlength=10).min() >= 3
    assert len(drawn) == 10 * 3 + 10 * 2


def test_seeds_are_images_between_0_and_1_and_no_two_are_alike(digits):
    images = seeds(digits, FEW, np.random.default_rng(0))[0].images
    assert images.shape[1:] == (28, 28, 1)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_an_image_is_driven_until_the_margin_is_reached_and_no_further():
    flat = np.full((3, 2, 2, 1), 0.5, "float32")
    assert float(loss(flat, np.array([2.0, 5.0, 50.0], "float32"))) == pytest.approx(5 - 2)


def test_variation_has_its_price():
    edge = np.array([[0.0, 1.0], [0.0, 1.0]], "float32")[None, ..., None]
    assert float(loss(edge, np.array([9.0], "float32"))) == pytest.approx(0.05 * 2)


def test_a_class_that_no_image_reaches_is_missing():
    subject = subject_of(linear(np.eye(4)[:, :3], np.array([0.0, 0.0, -9.0]), (2, 2, 1)), (2, 2, 1))
    drawn, cost = seeds(subject, FEW, np.random.default_rng(0))
    assert set(drawn.labels) == {0, 1}
    assert cost == 3 * 3 * 80


def test_the_same_seed_draws_the_same_images(digits):
    few = Settings(images=1, smooth=1, steps=5)
    first, again, other = (seeds(digits, few, np.random.default_rng(seed))[0].images for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smooth_images_have_less_variation_than_noise_and_use_the_range():
    rng = np.random.default_rng(0)
    images, noise = smooth(20, (16, 16, 3), rng), rng.random((20, 16, 16, 3), "float32")
    assert np.asarray(total_variation(images)).mean() < np.asarray(total_variation(noise)).mean() / 3
    assert (images.min(), images.max()) == (0, 1)


def test_variation_is_the_sum_of_the_steps_down_and_right():
    image = np.array([[0.0, 1.0], [0.5, 0.5]], "float32")[None, ..., None]
    assert np.asarray(total_variation(image)) == pytest.approx([1 + 0 + 0.5 + 0.5])
