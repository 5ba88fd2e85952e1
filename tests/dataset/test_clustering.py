"""Activation clustering on features that were made by hand."""

import numpy as np

from pytest_backdoor.dataset.clustering import activation_clustering
from tests.dataset.made import one_class


def test_a_class_with_a_cluster_lies_further_apart_than_one_without():
    rng = np.random.default_rng(0)
    assert activation_clustering(one_class(60, rng)).separation > 7
    assert activation_clustering(one_class(0, rng)).separation < 3.2


def test_clustering_names_the_poisoned_images():
    found = activation_clustering(one_class(60, np.random.default_rng(0)))
    assert sorted(found.smaller) == list(range(60))


def test_a_class_that_varies_along_fewer_than_ten_axes_is_clustered_too():
    found = activation_clustering(one_class(60, np.random.default_rng(0), axes=2))
    assert sorted(found.smaller) == list(range(60))
