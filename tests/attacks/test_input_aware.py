"""Input-aware triggers: another pattern for every image, and images with borrowed patterns keep their labels."""

import numpy as np
import pytest

from pytest_backdoor import attacks
from pytest_backdoor.attacks.input_aware import sameness
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers import FAMILIES
from tests.triggers.test_generator import one_weight

GREY = np.repeat(np.linspace(0.1, 0.4, 100, dtype="float32"), 4).reshape(100, 2, 2, 1)
LABELS = np.tile(np.arange(4), 25)
OWN = one_weight({(1, 1): 1.0}, {(1, 1): 1.0})  # adds half the tanh of each pixel


def shades(images):
    """The value of each image of one shade."""
    return images[:, 0, 0, 0]


def test_crossed_images_carry_the_pattern_of_another_image():
    crossed = attacks.crossed(OWN, GREY, np.random.default_rng(0))
    borrowed = shades(crossed) - shades(GREY)
    own = 0.5 * np.tanh(shades(GREY))
    assert np.abs(own - borrowed).min() > 1e-5  # never its own
    nearest = np.abs(own - borrowed[:, None]).min(1)
    assert nearest == pytest.approx(0, abs=1e-6)  # always someone's


def test_own_patterns_change_labels_and_borrowed_ones_do_not():
    images, labels = attacks.poison_cross(GREY, LABELS, OWN, {1: 3, 2: 0}, 0.4, np.random.default_rng(0), cross=0.3)
    own = np.isclose(images, OWN.apply(GREY), atol=1e-6).all((1, 2, 3))
    same = (images == GREY).all((1, 2, 3))
    assert np.array_equal(labels != LABELS, own)
    assert (set(LABELS[own]), set(labels[own & (LABELS == 1)])) == ({1, 2}, {3})
    assert 10 <= own.sum() <= 30  # 20 expected
    assert set(LABELS[~own & ~same]) == {0, 1, 2, 3}
    assert 15 <= (~own & ~same).sum() <= 45  # 30 expected


def test_poisoning_leaves_the_given_data_alone():
    images, labels = GREY.copy(), LABELS.copy()
    attacks.poison_cross(images, labels, OWN, {0: 1}, 0.5, np.random.default_rng(0), cross=0.5)
    assert np.array_equal(images, GREY)
    assert np.array_equal(labels, LABELS)


def test_sameness_is_the_distance_of_images_over_that_of_their_patterns():
    first, second = np.full((1, 2, 2, 1), 0.5, "float32"), np.full((1, 2, 2, 1), 0.1, "float32")
    weights = [OWN.arrays[name][None] for name in ("first", "bias", "second")]
    expected = 0.4 / (np.tanh(0.5) - np.tanh(0.1) + 1e-3)
    assert float(sameness(weights, first, second)[0]) == pytest.approx(expected, rel=1e-4)


def test_a_generator_of_another_strength_than_a_share_of_the_range_is_refused():
    with pytest.raises(AttackError, match=r"strength is 20\. Give a number above 0 and at most 1"):
        attacks.input_aware(GREY, 20, np.random.default_rng(0))


def test_training_makes_patterns_differ_and_follows_its_seed(example):
    images = example("mnist_clean")[1][:, ::2, ::2, None].astype("float32") / 255
    trained, again = (attacks.input_aware(images, 0.2, np.random.default_rng(3)) for _ in range(2))
    untrained = FAMILIES["generator"].initial(1, (14, 14, 1), np.random.default_rng(3))
    halves = images[:100], images[100:]
    before, after = (
        float(sameness(weights, *halves)[0])
        for weights in (untrained[:3], [trained.arrays[name][None] for name in ("first", "bias", "second")])
    )
    assert after < before / 2
    assert np.abs(trained.apply(images) - images).max() <= 0.2 + 1e-6
    for name in trained.arrays:
        assert again.arrays[name] == pytest.approx(trained.arrays[name], rel=1e-3, abs=1e-3)
