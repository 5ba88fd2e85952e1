"""Activation clustering and spectral signatures on features that were made by hand."""

import numpy as np
import pytest

from pytest_backdoor.dataset.clustering import activation_clustering
from pytest_backdoor.dataset.features import within_classes
from pytest_backdoor.dataset.spectral import outlier_scores, spectral_signatures


def one_class(poisoned, rng, count=400, axes=20):
    """Features of a class around 0; the first ``poisoned`` are moved by 9 along the last axis."""
    features = rng.normal(size=(count, axes))
    features[:poisoned, -1] += 9
    return features - features.mean(0)


def test_scores_are_squares_along_the_top_singular_vector():
    features = np.array([[3.0, 4.0], [-3.0, -4.0], [0.4, -0.3], [-0.4, 0.3]])  # along (3, 4) / 5 and across
    assert outlier_scores(features) == pytest.approx([25, 25, 0, 0])


def test_scores_agree_with_the_singular_value_decomposition():
    features = one_class(50, np.random.default_rng(3))
    _, _, vectors = np.linalg.svd(features, full_matrices=False)
    assert outlier_scores(features) == pytest.approx(np.square(features @ vectors[0]))


@pytest.mark.parametrize("check", [activation_clustering, spectral_signatures])
def test_a_class_with_a_cluster_lies_further_apart_than_one_without(check):
    rng = np.random.default_rng(0)
    assert check(one_class(60, rng)).separation > 7
    assert check(one_class(0, rng)).separation < 3.2


def test_clustering_names_the_poisoned_images():
    found = activation_clustering(one_class(60, np.random.default_rng(0)))
    assert sorted(found.smaller) == list(range(60))


def test_signatures_name_half_as_many_again_the_poisoned_first():
    found = spectral_signatures(one_class(60, np.random.default_rng(0)))
    assert len(found.smaller) == 90
    assert sorted(found.smaller[:60]) == list(range(60))


def test_signatures_name_half_of_the_class_at_most():
    assert len(spectral_signatures(one_class(180, np.random.default_rng(0))).smaller) == 200


def test_features_within_classes_have_mean_zero_and_covariance_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    features = rng.normal(size=(3000, 2)) @ np.array([[5.0, 2.0], [0.0, 1.0]]) + 100 * labels[:, None]
    scaled = within_classes(features, labels)
    for label in range(3):
        assert scaled[labels == label].mean(0) == pytest.approx([0, 0], abs=1e-9)
    covariance = scaled.T @ scaled / 3000  # a hundredth of the mean variance is added before, to each
    assert covariance == pytest.approx(np.eye(2), abs=0.3)
    assert abs(covariance[0, 1]) < 1e-9


def test_features_that_do_not_vary_stay_zero():
    assert within_classes(np.ones((4, 2)), np.array([0, 0, 1, 1])).tolist() == [[0, 0]] * 4
