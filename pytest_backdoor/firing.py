"""Firing: how often images wake each place of each layer, and how much more often than others (BackFuzz)."""

from __future__ import annotations

import numpy as np
from keras import ops

from pytest_backdoor.subject import Subject


def rates(subject: Subject, images: np.ndarray) -> list[np.ndarray]:
    """The share of the images that fire each place of each layer: one array ``(..., neurons)`` for each layer."""
    fired: list[np.ndarray] = []
    for start in range(0, len(images), subject.together):
        _, outputs = subject.activations(images[start : start + subject.together])
        counts = [np.sum(ops.convert_to_numpy(output) > 0, 0) for output in outputs]
        fired = counts if not fired else [sum_ + count for sum_, count in zip(fired, counts, strict=True)]
    return [count / len(images) for count in fired]


def differences(subject: Subject, suspects: np.ndarray, clean: np.ndarray) -> list[np.ndarray]:
    """How much more often the suspects fire each place than the clean images do, 0 to 1 (BackFuzz).

    One array ``(..., neurons)`` for each layer: heat maps.
    """
    pairs = zip(rates(subject, suspects), rates(subject, clean), strict=True)
    return [np.maximum(0.0, suspect - usual) for suspect, usual in pairs]
