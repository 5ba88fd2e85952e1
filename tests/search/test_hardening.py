"""Hardened seeds on a linear model: deeper in their class, never far from where they were."""

import numpy as np
import pytest

from pytest_backdoor.contract import Sample
from pytest_backdoor.search import hardening
from pytest_backdoor.search.hardening import COPIES, REACH, harden, margin, shift, shifted
from tests.tiny import bright_pixels, linear, subject_of


def test_a_shift_moves_the_image_and_repeats_its_border():
    image = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    down_left = shift(image, 1, -1)[0, :, :, 0]
    assert down_left.tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]
    assert np.array_equal(shift(image, 0, 0), image)
    assert shift(image, -2, 0)[0, :, :, 0].tolist() == [[7, 8, 9]] * 3


def test_the_margin_is_the_true_logit_minus_the_largest_other():
    subject = subject_of(linear(np.eye(4), np.zeros(4), (2, 2, 1)), (2, 2, 1))
    images = np.array([[0.9, 0.1, 0.3, 0.2], [0.5, 0.8, 0.0, 0.6]], "float32").reshape(2, 2, 2, 1)
    assert float(margin(subject, images, np.array([0, 3]))) == pytest.approx((0.9 - 0.3) + (0.6 - 0.8))


@pytest.fixture(scope="module")
def hardened():
    """The subject, the shifted seeds as they were, and the same after hardening."""
    subject, seeds = bright_pixels()
    few = Sample(seeds.images[::5], seeds.labels[::5])
    return subject, shifted(subject, few, np.random.default_rng(0)), harden(subject, few, np.random.default_rng(0))


def margins(subject, seeds):
    logits = subject.predict(seeds.images)
    rows = np.arange(len(seeds))
    true = logits[rows, seeds.labels]
    logits[rows, seeds.labels] = -np.inf
    return true - logits.max(-1)


def test_every_margin_rises(hardened):
    subject, before, after = hardened
    assert np.array_equal(before.labels, after.labels)
    assert (margins(subject, after) > margins(subject, before)).all()


def test_a_pixel_that_speaks_for_the_class_moves_by_the_whole_reach(hardened):
    _, before, after = hardened
    ours = before.labels == 1
    assert after.images[ours, 5, 5] == pytest.approx(np.clip(before.images[ours, 5, 5] + REACH, 0, 1))
    assert after.images[~ours, 5, 5].max() <= before.images[~ours, 5, 5].max()


def test_hardened_images_stay_in_reach_and_between_black_and_white(hardened):
    _, before, after = hardened
    assert np.abs(after.images - before.images).max() <= REACH + 1e-6
    assert 0 <= after.images.min() <= after.images.max() <= 1


def test_shifted_copies_keep_the_class_and_the_seeds_come_first(hardened):
    subject, before, _ = hardened
    assert np.array_equal(subject.classes(before.images), before.labels)
    few = bright_pixels()[1].images[::5]
    assert np.array_equal(before.images[: len(few)], few)
    assert len(few) < len(before) < (COPIES + 1) * len(few)  # a shift across the first row changes the class


def test_the_same_generator_gives_the_same_copies():
    subject, seeds = bright_pixels()
    first, again, other = (shifted(subject, seeds, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert len(first) != len(other) or not np.array_equal(first.images, other.images)


def test_no_shift_is_longer_than_the_limit():
    subject = subject_of(linear(np.zeros((144, 2)), [1, 0], (12, 12, 1)), (12, 12, 1))
    spot = np.zeros((1, 12, 12, 1), "float32")
    spot[0, 6, 6] = 1.0
    copies = shifted(subject, Sample(spot, np.array([0])), np.random.default_rng(0)).images[..., 0]
    _, rows, columns = np.nonzero(copies)
    assert len(rows) == COPIES + 1
    assert max(np.abs(rows - 6).max(), np.abs(columns - 6).max()) == hardening.SHIFT
