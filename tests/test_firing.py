"""How often images fire each place, counted by hand."""

import dataclasses

import numpy as np

from pytest_backdoor.firing import differences, rates
from tests.search.test_coverage import small_network

CLEAN = np.zeros((2, 2, 2, 1), "float32")
SUSPECTS = CLEAN.copy()
SUSPECTS[:, 0, 1] = 1.0  # fires the copy there, and silences its negative


def test_rates_are_shares_of_images_that_fire_a_place():
    copies, sums = rates(small_network(), np.concatenate([CLEAN, SUSPECTS[:1]]))
    np.testing.assert_allclose(copies[..., 0], [[0, 1 / 3], [0, 0]])
    np.testing.assert_allclose(copies[..., 1], [[1, 2 / 3], [1, 1]])
    assert sums.tolist() == [1, 0]


def test_rates_are_the_same_where_memory_holds_one_image_only():
    subject, images = small_network(), np.random.default_rng(0).random((7, 2, 2, 1)).astype("float32")
    tight = dataclasses.replace(subject, memory=1)
    for whole, part in zip(rates(subject, images), rates(tight, images), strict=True):
        np.testing.assert_allclose(whole, part)


def test_differences_are_rates_of_suspects_beyond_those_of_clean_images_at_each_place():
    copies, sums = differences(small_network(), SUSPECTS, CLEAN)
    assert copies[..., 0].tolist() == [[0, 1], [0, 0]]
    assert not copies[..., 1].any()
    assert not sums.any()
