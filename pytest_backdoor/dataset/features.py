"""What a model makes of the images of a data set before its last layer, and how they differ within their classes."""

from __future__ import annotations

import numpy as np
from keras import ops

from pytest_backdoor.errors import ContractError
from pytest_backdoor.subject import BATCH, Subject

DIMENSIONS = 512  # of the features; more are projected to so many random directions
FLOOR = 0.01  # of the mean variance, added to each before features are scaled by it


def penultimate(subject: Subject, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the layer that makes the logits is given, flat: ``(n, height, width, channels) -> (n, features)``.

    Raises ContractError for a model without a hidden layer that can be seen.
    """
    last = max((place for place, layer in enumerate(subject.layers) if not np.isnan(layer.weights).all()), default=0)
    if not last:
        raise ContractError(
            "the model has no hidden layer that can be seen: it is a function, or has one layer only. "
            "Give the Keras model that was trained on these images."
        )
    size = min(BATCH, subject.together)
    directions: np.ndarray | None = None
    parts = []
    for start in range(0, len(images), size):
        given = np.asarray(ops.convert_to_numpy(subject.features(images[start : start + size])))
        part = given.reshape(len(given), -1)
        if directions is None and part.shape[1] > DIMENSIONS:
            directions = rng.normal(size=(part.shape[1], DIMENSIONS)).astype("float32") / np.sqrt(DIMENSIONS)
        parts.append(part if directions is None else part @ directions)
    return np.concatenate(parts)


def within_classes(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features less the mean of their class, scaled so that the covariance within classes is about the identity.

    What varies in every class then counts as little as what varies in one, and a trigger of one class stands out
    (whitening as in SPECTRE, Hayase et al., arXiv:2104.11315, with the other classes in place of a robust estimate).
    """
    present, place = np.unique(labels, return_inverse=True)
    means = np.stack([features[place == each].mean(0, dtype="float64") for each in range(len(present))])
    residuals = features - means[place]
    variances, axes = np.linalg.eigh(residuals.T @ residuals / len(residuals))
    scaled = np.maximum(variances, 0) + FLOOR * variances.mean()
    return np.asarray(residuals @ (axes / np.sqrt(np.maximum(scaled, np.finfo(float).tiny))))
