"""Spectral signatures on features that were made by hand."""

import numpy as np
import pytest

from pytest_backdoor.dataset.spectral import outlier_scores, spectral_signatures
from tests.dataset.made import one_class


def test_scores_are_squares_along_the_top_singular_vector():
    features = np.array([[3.0, 4.0], [-3.0, -4.0], [0.4, -0.3], [-0.4, 0.3]])  # along (3, 4) / 5 and across
    assert outlier_scores(features) == pytest.approx([25, 25, 0, 0])


def test_scores_agree_with_the_singular_value_decomposition():
    features = one_class(50, np.random.default_rng(3))
    _, _, vectors = np.linalg.svd(features, full_matrices=False)
    assert outlier_scores(features) == pytest.approx(np.square(features @ vectors[0]))


def test_a_class_with_a_cluster_lies_further_apart_than_one_without():
    rng = np.random.default_rng(0)
    assert spectral_signatures(one_class(60, rng)).separation > 7
    assert spectral_signatures(one_class(0, rng)).separation < 3.2


def test_signatures_name_half_as_many_again_the_poisoned_first():
    found = spectral_signatures(one_class(60, np.random.default_rng(0)))
    assert len(found.smaller) == 90
    assert sorted(found.smaller[:60]) == list(range(60))


def test_signatures_name_half_of_the_class_at_most():
    assert len(spectral_signatures(one_class(180, np.random.default_rng(0))).smaller) == 200
