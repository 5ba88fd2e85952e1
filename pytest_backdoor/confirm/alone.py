"""The trigger alone: whether it works on images without content (Guo et al., TABOR, arXiv:1908.01763).

A planted trigger decides wherever it is seen; a natural perturbation pushes what an image holds.
"""

from __future__ import annotations

import numpy as np

from pytest_backdoor.confirm.transfer import given
from pytest_backdoor.results import Evidence
from pytest_backdoor.search.synthetic import smooth
from pytest_backdoor.stats import share
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger

IMAGES = 100  # of noise, and as many smooth ones
ENOUGH = 20  # that are not in the target class by themselves


def trigger_alone(subject: Subject, trigger: Trigger, target: int, rng: np.random.Generator) -> Evidence | None:
    """Share of random images of other classes that the trigger sends to the target, with its 99 % interval.

    The images are noise of every brightness and smooth random images. None where too few of them are of other classes.
    """
    noise = rng.random((IMAGES, *subject.image_shape), "float32") * rng.random((IMAGES, 1, 1, 1), "float32")
    images = np.concatenate([noise, smooth(IMAGES, subject.image_shape, rng)])
    images = images[subject.classes(images) != target]
    if len(images) < ENOUGH:
        return None
    hits = given(subject, trigger, images) == target
    return share("trigger alone", int(hits.sum()), len(hits))
