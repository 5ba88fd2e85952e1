"""Unlearning: triggers that were found are stamped on seeds of all classes, which keep their true classes.

Wang et al., Neural Cleanse, IEEE S&P 2019, section VI-C.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.repair import tuning
from pytest_backdoor.repair.channels import masks
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

    Those under ``others``, which may be natural, are half of them.

    The paper trains on labels. Of a few hundred seeds the model's own answers, which are right for most of them, teach
    the same and keep the accuracy.
    """
    return tuning.tuned(model, subject, seeds, triggers, masks(model, []), settings, rng, others)
