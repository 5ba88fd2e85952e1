"""Two groups of points, worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_backdoor.dataset.halves import separation, two_means


def blobs(apart, few, rng, many=300):
    """Many points around 0 and few around ``apart`` on the first of three axes, which are centred together."""
    points = rng.normal(size=(many + few, 3))
    points[many:, 0] += apart
    return points - points.mean(0)


def test_separation_is_the_distance_of_means_in_deviations():
    assert separation(np.array([-1.0, 1.0]), np.array([9.0, 11.0])) == 10.0
    assert separation(np.array([0.0, 0.0]), np.array([8.0, 12.0])) == pytest.approx(10 / np.sqrt(2))


def test_separation_has_no_unit():
    left, right = np.array([0.0, 1.0]), np.array([5.0, 7.0])
    assert separation(1e-4 * left, 1e-4 * right) == pytest.approx(separation(left, right))


def test_groups_without_deviation_are_far_apart():
    assert separation(np.zeros(2), np.ones(2)) == 1e6


def test_a_gaussian_cut_in_the_middle_has_what_the_docstring_says():
    points = np.random.default_rng(0).normal(size=(100_000, 1))
    assert two_means(points).separation == pytest.approx(2.65, abs=0.02)


def test_the_smaller_of_two_blobs_is_found_whole():
    found = two_means(blobs(12, 40, np.random.default_rng(0)))
    assert sorted(found.smaller) == list(range(300, 340))
    assert found.separation == pytest.approx(12, abs=1)


def test_few_points_far_out_are_found_though_the_middle_is_wide():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(500, 3)) * [3, 1, 1]
    points[480:, 1] += 14
    assert sorted(two_means(points - points.mean(0)).smaller) == list(range(480, 500))


def test_the_furthest_come_first():
    points = np.array([[-1.0], [-1.0], [-1.0], [-1.0], [1.0], [3.0], [2.0]])
    assert two_means(points).smaller.tolist() == [5, 6, 4]


def test_points_that_are_all_the_same_have_no_groups():
    found = two_means(np.zeros((10, 2)))
    assert found.separation == 0
    assert not len(found.smaller)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), few=st.integers(20, 100), apart=st.floats(0, 20))
def test_the_order_of_points_does_not_matter(seed, few, apart):
    rng = np.random.default_rng(seed)
    points = blobs(apart, few, rng)
    order = rng.permutation(len(points))
    first, second = two_means(points), two_means(points[order])
    assert second.separation == pytest.approx(first.separation)
    assert sorted(order[second.smaller]) == sorted(first.smaller)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), factor=st.floats(0.01, 100))
def test_the_scale_of_points_does_not_matter(seed, factor):
    points = blobs(6, 50, np.random.default_rng(seed))
    assert two_means(factor * points).separation == pytest.approx(two_means(points).separation)
