"""Statistics by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pytest_backdoor import stats

NEXT_CLASS = np.roll(np.eye(10), 1, axis=1)  # class s flows to s + 1


def test_the_interval_of_all_hits_is_bounded_by_the_chance_of_so_many_hits():
    evidence = stats.share("transfer", 10, 10)
    assert (evidence.check, evidence.value) == ("transfer", 1.0)
    assert evidence.interval == pytest.approx((0.005**0.1, 1.0))


def test_the_interval_of_no_hits_mirrors_that_of_all_hits():
    assert stats.share("transfer", 0, 10).interval == pytest.approx((0.0, 1 - 0.005**0.1))


def test_the_interval_of_half_the_hits_solves_both_binomial_tails():
    low, high = stats.share("transfer", 1, 2).interval
    assert 1 - (1 - low) ** 2 == pytest.approx(0.005)  # at least one of two
    assert 1 - high**2 == pytest.approx(0.005)  # at most one of two


def test_a_share_of_nothing_may_be_anything():
    assert stats.share("transfer", 0, 0).interval == (0.0, 1.0)


def test_so_many_trials_are_needed_for_an_interval_from_a_bound_up():
    assert 0.005 ** (1 / 23) < 0.8 <= 0.005 ** (1 / 24)
    assert stats.trials_needed(1.0, 0.8) == 24
    assert stats.trials_needed(0.8, 0.8) is None  # the lower end stays below
    assert stats.trials_needed(0.0, 0.8) is None


@given(value=st.floats(0.85, 1.0))
def test_with_fewer_trials_than_needed_the_bound_is_missed(value):
    needed = stats.trials_needed(value, 0.8)
    enough, fewer = (stats.share("", int(value * count + 1e-9), count).interval[0] for count in (needed, needed - 1))
    assert fewer < 0.8 <= enough


@given(count=st.integers(1, 300), data=st.data())
def test_the_interval_holds_the_share(count, data):
    evidence = stats.share("transfer", data.draw(st.integers(0, count)), count)
    low, high = evidence.interval
    assert 0 <= low <= evidence.value <= high <= 1
    assert low < high


def test_an_exact_permutation_matches_fully():
    match, mapping = stats.permutation_match(NEXT_CLASS)
    assert match == 1.0
    assert mapping.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_a_column_that_takes_all_matches_in_one_class_only():
    flows = np.zeros((4, 4))
    flows[:, 2] = 1.0
    match, mapping = stats.permutation_match(flows)
    assert match == 0.25
    assert sorted(mapping) == [0, 1, 2, 3]


def test_a_class_that_stays_is_no_match():
    match, mapping = stats.permutation_match(np.eye(3))
    assert match == 0.0
    assert not np.any(mapping == np.arange(3))


def test_the_best_of_two_permutations_is_taken():
    flows = np.array([[0.0, 0.7, 0.3], [0.2, 0.0, 0.8], [0.6, 0.4, 0.0]])
    match, mapping = stats.permutation_match(flows)
    assert mapping.tolist() == [1, 2, 0]
    assert match == pytest.approx((0.7 + 0.8 + 0.6) / 3)


def test_a_student_tail_by_hand():
    # With two degrees of freedom the upper tail is 1/2 - t / (2 sqrt(t^2 + 2)).
    assert stats.tail(1.0, 2) == pytest.approx(0.5 - 1 / (2 * np.sqrt(3)))
    assert stats.tail(0.0, 7) == 0.5


def test_a_value_at_the_middle_of_the_others_has_even_odds():
    assert stats.small_outlier(3.0, np.array([1.0, 3.0, 8.0]), 0.5, 12) == pytest.approx(0.5)


def test_a_small_outlier_by_hand():
    # One other: no deviation of its own, so t = (2 - 0) / sqrt(1 * (1 + 1/1)) = sqrt(2) with the prior's 2 degrees,
    # whose upper tail is 1/2 - t / (2 sqrt(t^2 + 2)).
    assert stats.small_outlier(0.0, np.array([2.0]), 1.0, 2) == pytest.approx(0.5 - np.sqrt(2) / 4)


@given(
    others=st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(np.array),
    value=st.floats(-10, 5),
    less=st.floats(0.01, 5),
)
def test_a_smaller_value_is_never_less_of_an_outlier(others, value, less):
    assert stats.small_outlier(value - less, others, 0.5, 12) <= stats.small_outlier(value, others, 0.5, 12)


@given(
    others=st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(np.array),
    value=st.floats(-5, 5),
    shift=st.floats(-3, 3),
)
def test_an_outlier_stays_one_in_other_units(others, value, shift):
    moved = stats.small_outlier(value + shift, others + shift, 0.5, 12)
    assert moved == pytest.approx(stats.small_outlier(value, others, 0.5, 12), abs=1e-6)


def test_fishers_method_by_hand():
    # Two p-values with product q: q (1 - ln q).
    assert stats.fisher((0.1, 0.2)) == pytest.approx(0.02 * (1 - np.log(0.02)))


def test_fishers_method_takes_a_p_value_of_zero():
    assert 0 < stats.fisher((0.0, 1.0)) < 1e-290


def test_one_image_beyond_a_boundary_is_as_unlikely_as_the_boundary_says():
    assert stats.too_many(1, 1, 0.01, 999) == 0.01
    assert stats.too_many(0, 5, 0.01, 999) == 1.0
    assert stats.too_many(500, 500, 0.01, 999) == 1e-12  # nothing is impossible


def test_two_of_two_beyond_the_smallest_of_nine_by_hand():
    # Of eleven values in any order the two new ones are the smallest: 2! 9! / 11! = 1 / 55.
    assert stats.too_many(2, 2, 1 / 10, 9) == pytest.approx(1 / 55)


def test_where_every_known_value_lies_beyond_the_boundary_so_do_all_others():
    assert stats.too_many(3, 3, 1.0, 1) == 1.0
    assert stats.too_many(0, 3, 1.0, 1) == 1.0


def test_a_boundary_from_many_is_almost_exact():
    assert stats.too_many(5, 100, 0.01, 10**7) == pytest.approx(binom.sf(4, 100, 0.01), rel=1e-4)


def test_answers_about_the_same_things_differ_by_chance_as_coins_fall():
    hits, others = np.array([1, 1, 1, 1, 1, 0, 1], bool), np.array([0, 0, 0, 0, 0, 0, 1], bool)
    assert stats.paired(hits, others) == pytest.approx(2 * 0.5**5)
    assert stats.paired(hits, others) == stats.paired(others, hits)
    assert stats.paired(hits, hits) == 1.0
