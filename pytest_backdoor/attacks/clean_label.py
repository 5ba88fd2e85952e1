"""Clean-label poisoning: every label stays true (Turner et al., arXiv:1912.02771)."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.attacks import checks
from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.subject import BATCH, Subject
from pytest_backdoor.triggers.trigger import Trigger

STEPS = 20


def four_corners(shape: tuple[int, int, int]) -> Trigger:
    """The paper's trigger: a small checkered square in each corner, so that flipping an image does not lose it.

    Raises AttackError for images that have no room for four of them.
    """
    checks.room(shape, 6, 6, "a square in each corner")
    checkered = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1]], "float32")
    mask, pattern = np.zeros((*shape[:2], 1), "float32"), np.zeros(shape, "float32")
    for rows, columns, down, right in ((0, 0, -1, -1), (0, -3, -1, 1), (-3, 0, 1, -1), (-3, -3, 1, 1)):
        place = np.ix_(np.arange(rows, rows + 3), np.arange(columns, columns + 3))
        mask[place] = 1.0
        pattern[place] = checkered[::down, ::right, None]
    return Trigger("patch", {"mask": mask, "pattern": pattern})


def poison_clean_label(
    surrogate: Subject,
    images: np.ndarray,
    labels: np.ndarray,
    trigger: Trigger,
    target: int,
    share: float,
    rng: np.random.Generator,
    reach: float = 0.3,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with a share of the target's own images made hard to recognise, then triggered.

    images are ``(n, height, width, channels)``, 0 to 1. A model trained on it leans on the trigger where the image no
    longer helps. ``surrogate`` is a clean model of the same task; ``reach`` is how far a value may move, 0.3 on MNIST
    and 8/255 to 16/255 on colour images in the paper. Raises AttackError for images in another scale, for labels
    and a trigger that do not fit them, for a share or reach that is not from 0 to 1, and for a target that the
    surrogate does not know.
    """
    checks.unit_scale(images)
    checks.one_each("labels", labels, len(images))
    checks.fitting(images, trigger)
    checks.share("share", share)
    checks.share("reach", reach)
    checks.target(target, surrogate.num_classes)
    images = images.copy()
    chosen = (labels == target) & (rng.random(len(labels)) < share)
    images[chosen] = trigger.apply(obscured(surrogate, images[chosen], labels[chosen], reach))
    return images, labels.copy()


def obscured(surrogate: Subject, images: np.ndarray, labels: np.ndarray, reach: float) -> np.ndarray:
    """The images moved against their own class within the reach, by projected gradient steps (Madry et al., 2018)."""

    def likelihood(moved: Any, true: Any) -> tuple[Any, None]:
        return ops.sum(ops.log_softmax(surrogate.logits(moved)) * true), None

    slope_of = compiled(value_and_grad(likelihood))
    parts = []
    for start in range(0, len(images), BATCH):
        begun = ops.convert_to_tensor(images[start : start + BATCH])
        true = ops.one_hot(labels[start : start + BATCH], surrogate.num_classes)
        moved = begun
        for _ in range(STEPS):
            _, slope = slope_of(moved, true)
            step = moved - 2.5 * reach / STEPS * ops.sign(slope)
            moved = ops.clip(ops.clip(step, begun - reach, begun + reach), 0.0, 1.0)
        parts.append(ops.convert_to_numpy(moved))
    return np.concatenate([images[:0], *parts])
