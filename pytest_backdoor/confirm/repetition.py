"""Repetition: whether searches from fresh starts come to the same trigger.

A planted trigger is one solution, which every start falls into; where there is none, many perturbations do as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pytest_backdoor.results import Evidence
from pytest_backdoor.triggers.cells import cell_strength
from pytest_backdoor.triggers.trigger import Trigger


def repetition(triggers: Sequence[Trigger], images: np.ndarray) -> Evidence | None:
    """How alike triggers of one family are, 0 to 1: the mean over all pairs; None of fewer than two.

    Of patches the intersection over union of their masks, of other families the cosine of what they do to the images
    ``(n, height, width, channels)``.
    """
    if len(triggers) < 2:
        return None
    alike = overlap if triggers[0].family == "patch" else cosine
    shown = [cell_strength(each) if alike is overlap else each.apply(images) - images for each in triggers]
    pairs = [alike(first, second) for first, second in combinations(shown, 2)]
    return Evidence("repetition", round(float(np.clip(np.mean(pairs), 0.0, 1.0)), 4))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks with values from 0 to 1; of two empty ones 0."""
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union else 0.0


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine of two changes; 0 where there is none."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / norms if norms else 0.0
