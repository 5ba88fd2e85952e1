"""What fuzzing pushes an image towards: weights of each model's logits, ``(models, n, classes)``."""

from __future__ import annotations

import numpy as np


def deviate(logits: np.ndarray, labels: np.ndarray, competitors: int, weight: float) -> np.ndarray:
    """Away from the present class, towards the next likeliest ones (DLFuzz).

    logits ``(n, classes)`` are those of the image; each competitor has the weight, the present class -1.
    """
    classes = logits.shape[1]
    ranked = np.argsort(-np.where(one_hot(labels, classes) > 0, np.inf, logits), axis=1, kind="stable")
    others = one_hot(ranked[:, 1 : 1 + competitors], classes).sum(1)
    return np.asarray((weight * others - one_hot(labels, classes))[None])


def towards(target: int, labels: np.ndarray, classes: int) -> np.ndarray:
    """To a target class and away from the present one: the target's logit less that of the present class."""
    return np.asarray((one_hot(np.full(len(labels), target), classes) - one_hot(labels, classes))[None])


def disagree(deviating: np.ndarray, labels: np.ndarray, models: int, classes: int, weight: float) -> np.ndarray:
    """All models keep the class but the deviating one ``(n,)``, whose logit of it counts -weight (DeepXplore)."""
    signs = np.where(np.arange(models)[:, None] == deviating, -weight, 1.0)  # (models, n)
    return np.asarray(signs[..., None] * one_hot(labels, classes))


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """1 at each label, 0 elsewhere: ``(...)`` -> ``(..., classes)``."""
    return np.asarray(np.eye(classes)[labels])
