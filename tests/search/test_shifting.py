"""Shifted seeds on a linear model: copies that keep their class, never far from where they were."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.contract import Sample
from pytest_backdoor.search.shifting import COPIES, REACH, shift, shifted
from tests.tiny import bright_pixels, linear, subject_of


def test_a_shift_moves_the_image_and_repeats_its_border():
    image = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    down_left = shift(image, 1, -1)[0, :, :, 0]
    assert down_left.tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]
    assert np.array_equal(shift(image, 0, 0), image)
    assert shift(image, -2, 0)[0, :, :, 0].tolist() == [[7, 8, 9]] * 3


def test_shifted_copies_keep_the_class_and_the_seeds_come_first():
    subject, seeds = bright_pixels()
    few = Sample(seeds.images[::5], seeds.labels[::5])
    copies = shifted(subject, few, np.random.default_rng(0))
    assert np.array_equal(subject.classes(copies.images), copies.labels)
    assert np.array_equal(copies.images[: len(few)], few.images)
    assert len(few) < len(copies) < (COPIES + 1) * len(few)  # a shift across the first row changes the class


@pytest.mark.parametrize(("fit", "copies"), [(30, 0), (29, 0), (89, 1), (90, 2), (750, 24), (10_000, 24)])
def test_there_are_no_more_copies_than_memory_allows(fit, copies):
    subject = subject_of(linear(np.zeros((64, 2)), [1, 0], (8, 8, 1)), (8, 8, 1))  # sees class 0 everywhere
    tight = dataclasses.replace(subject, memory=fit * 4 * 8 * 8 * 4)
    seeds = Sample(np.zeros((30, 8, 8, 1), "float32"), np.zeros(30, int))
    assert len(shifted(tight, seeds, np.random.default_rng(0))) == 30 * (1 + copies)


def test_the_same_generator_gives_the_same_copies():
    subject, seeds = bright_pixels()
    first, again, other = (shifted(subject, seeds, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert len(first) != len(other) or not np.array_equal(first.images, other.images)


def test_no_shift_is_longer_than_the_limit():
    subject = subject_of(linear(np.zeros((196, 2)), [1, 0], (14, 14, 1)), (14, 14, 1))
    spot = np.zeros((1, 14, 14, 1), "float32")
    spot[0, 6, 6] = 1.0
    copies = shifted(subject, Sample(spot, np.array([0])), np.random.default_rng(0)).images[..., 0]
    _, rows, columns = np.nonzero(copies)
    assert len(rows) == COPIES + 1
    assert max(np.abs(rows - 6).max(), np.abs(columns - 6).max()) == 14 // REACH == 2
