"""When the two groups of a class of training data are too far apart: p-values of separations."""

import numpy as np
import pytest

from pytest_backdoor import judge

CHECKS = tuple(judge.SEPARATION)


@pytest.mark.parametrize("check", CHECKS)
def test_classes_alike_are_not_suspicious(check):
    center, _ = judge.SEPARATION[check]
    assert judge.split_p_values(np.full(10, np.exp(center)), check).tolist() == [1.0] * 10


@pytest.mark.parametrize("check", CHECKS)
def test_one_class_far_apart_is_suspicious_and_the_others_are_not(check):
    p_values = judge.split_p_values(np.array([3.0, 3.2, 9.0, 2.9, 3.1]), check)
    assert p_values[2] < 0.001
    assert (np.delete(p_values, 2) > 0.5).all()


@pytest.mark.parametrize("check", CHECKS)
def test_all_classes_far_apart_are_suspicious_though_alike(check):
    assert (judge.split_p_values(np.full(10, 12.0), check) < 0.01).all()


@pytest.mark.parametrize("check", CHECKS)
def test_a_data_set_whose_classes_are_all_somewhat_further_apart_is_not(check):
    assert (judge.split_p_values(np.full(10, 4.5), check) > 0.1).all()


def test_a_class_alone_is_compared_with_other_data_sets_only():
    center, between = judge.SEPARATION[CHECKS[0]]
    deviation = np.hypot(between, judge.SPLIT_SPREAD)
    (p_value,) = judge.split_p_values(np.exp([center + 1.5 * deviation]), CHECKS[0])
    assert p_value == pytest.approx(2 * 0.0779, rel=0.01)  # Student's t of 14 degrees at 1.5, and two checks


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("others", [[3.1], [3.1, 2.9]])
def test_a_class_without_two_groups_makes_no_other_class_suspicious(check, others):
    # Behind a ReLU all images of a class may have features of zero.
    assert judge.split_p_values(np.array([*others, 0.0, 0.0]), check).tolist() == [1.0] * (len(others) + 2)


def test_the_smaller_of_the_two_comparisons_counts_twice():
    center, between = judge.SEPARATION[CHECKS[0]]
    apart = np.exp(center + 1.5 * np.hypot(between, judge.SPLIT_SPREAD))
    p_values = judge.split_p_values(np.array([apart, apart]), CHECKS[0])
    # As above, and one half beside the other class: two comparisons, two classes, two checks.
    assert p_values == pytest.approx(2 * 2 * 2 * 0.0779, rel=0.01)


def test_false_alarms_are_as_rare_as_stated():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):  # data sets: each is judged by itself
        least = []
        for check in CHECKS:
            center, between = judge.SEPARATION[check]
            level = center + between * rng.normal()
            least.append(judge.split_p_values(np.exp(level + judge.SPLIT_SPREAD * rng.normal(size=10)), check).min())
        alarms += min(least) <= 0.05
    assert alarms <= 20


def test_images_of_a_class_can_be_too_few():
    assert judge.images_short(judge.ENOUGH_IMAGES) == ""
    assert judge.images_short(99) == "99 images, and 100 are needed"
