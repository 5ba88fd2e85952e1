"""Activation clustering: poisoned images of a class lie in a cluster of their own (Chen et al., arXiv:1811.03728)."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.dataset.halves import Halves, two_means

AXES = 10  # that features are reduced to


def activation_clustering(features: np.ndarray) -> Halves:
    """The two clusters of one class, of its features ``(n, features)`` around 0, on their ten principal axes."""
    # Principal instead of independent components, which the paper prefers: on features that are scaled within classes
    # they separate better. The paper calls a cluster poisoned by its size or by retraining; judge.py goes by distance.
    _, axes = np.linalg.eigh(features.T @ features)
    return two_means(features @ axes[:, -AXES:])
