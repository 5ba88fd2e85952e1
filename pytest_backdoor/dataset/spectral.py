"""Spectral signatures: poisoned images lie far out on the first singular vector (Tran et al., arXiv:1811.00636)."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.dataset.halves import Halves, two_means

REMOVED = 1.5  # times the share of poisoned images


def outlier_scores(features: np.ndarray) -> np.ndarray:
    """The squared correlation of features ``(n, features)`` around 0 with their top right singular vector: ``(n,)``."""
    return np.asarray(np.square(_along(features)))


def spectral_signatures(features: np.ndarray) -> Halves:
    """The two halves of one class along its top right singular vector.

    As many images as are suspected have the largest outlier scores: 1.5 times the smaller half, half of the class at
    most.
    """
    # The paper is told the share of poisoned images. Here the smaller half of the split along the vector stands for it.
    along = _along(features)
    split = two_means(along[:, None])
    suspects = min(round(REMOVED * len(split.smaller)), len(along) // 2)
    return Halves(split.separation, np.argsort(-outlier_scores(features), kind="stable")[:suspects])


def _along(features: np.ndarray) -> np.ndarray:
    _, axes = np.linalg.eigh(features.T @ features)
    return np.asarray(features @ axes[:, -1])
