"""Unlearning: triggers that were found are stamped on seeds of all classes, which keep their true classes.

Wang et al., Neural Cleanse, IEEE S&P 2019, section VI-C.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.network import layers_of
from pytest_backdoor.repair import tuning
from pytest_backdoor.repair.tuning import Settings
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger


def unlearned(
    model: keras.Model,
    subject: Subject,
    seeds: Sample,
    triggers: Sequence[Trigger],
    settings: Settings,
    rng: np.random.Generator,
    others: Sequence[Trigger] = (),
) -> keras.Model:
    """A copy of the model that answers triggered seeds as it answers them without the triggers.

    Those under ``others``, which may be natural, are half of them. The first half of the layers stays as it is.

    The paper trains all layers, on labels. Of a few hundred seeds the model's own answers, which are right for most of
    them, teach the same and keep the accuracy, and so do the first layers (docs/repair.md).
    """
    return tuning.tuned(model, subject, seeds, triggers, later(model), settings, rng, others)


def later(model: keras.Model) -> list[np.ndarray]:
    """For each of the model's weights, 0 where it belongs to the first half of the layers that have any, else 1."""
    weighted = [layer for layer in layers_of(model) if layer.weights and not hasattr(layer, "layers")]
    first = {id(weight) for layer in weighted[: len(weighted) // 2] for weight in layer.weights}
    return [np.full(weight.shape, id(weight) not in first, "float32") for weight in model.weights]
