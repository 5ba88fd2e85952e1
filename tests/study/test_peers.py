"""Published decision rules by hand."""

import numpy as np
import pytest
from scipy import stats

from example_models.peers import anomaly_index, margin_p_value


def test_the_anomaly_index_is_the_distance_of_the_smallest_in_median_deviations():
    # The median is 40, the deviations are 38, 2, 0, 1, 2: their median is 2.
    assert anomaly_index(np.array([2.0, 38, 40, 41, 42])) == pytest.approx(38 / (1.4826 * 2))


def test_with_two_classes_the_index_is_always_the_same():
    assert anomaly_index(np.array([1.0, 100.0])) == anomaly_index(np.array([50.0, 60.0])) == pytest.approx(1 / 1.4826)


def test_classes_without_a_trigger_are_left_out():
    assert anomaly_index(np.array([2.0, np.nan, 38, 40, 41, 42])) == anomaly_index(np.array([2.0, 38, 40, 41, 42]))
    assert anomaly_index(np.array([np.nan, 3.0])) == 0.0


def test_the_margin_p_value_is_of_the_largest_of_so_many_by_a_gamma_fit_to_the_others():
    others = np.array([4.0, 5.0, 6.0, 5.5, 4.5])
    shape, _, scale = stats.gamma.fit(others, floc=0)
    expected = 1 - stats.gamma.cdf(9.0, shape, scale=scale) ** 6
    assert margin_p_value(np.append(others, 9.0)) == pytest.approx(expected)


@pytest.mark.parametrize("margins", [[3.0, 2.0, 1.0], [2.0, 2.0, 2.0, 2.0], [5.0, 1.0, -1.0, 2.0]])
def test_margins_that_no_gamma_fits_say_nothing(margins):
    assert margin_p_value(np.array(margins)) == 1.0
