"""Margin: how far above all others a class' logit can rise, without any seed (Wang et al., MM-BD, IEEE S&P 2024).

An all-to-one backdoor teaches the model one class that a few pixels decide, whose logit then rises further than the
others'. A label map or a source-specific trigger favours no class, and the margins do not show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from pytest_backdoor.search.free_images import descend, margin
from pytest_backdoor.subject import Subject


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the margin search."""

    starts: int = 8  # uniform random images per class
    together: int = 512  # of all classes, where there are many; each keeps two
    steps: int = 120


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """The largest margin that any image in the value range was found to have, by class."""

    largest: np.ndarray  # (classes,) in logits
    image_gradients: int

    @property
    def score(self) -> float:
        """log of the largest margin over the median one: 0 or more, whatever the scale of the logits."""
        top = float(self.largest.max())
        return float(np.log(top / max(float(np.median(self.largest)), 1e-3 * top))) if top > 0 else 0.0


def margins(subject: Subject, settings: Settings, rng: np.random.Generator) -> Margins:
    """Climbs each class' margin from several starts and keeps the best of them."""
    starts_each = starts_of(subject.num_classes, settings)
    wanted = np.repeat(np.arange(subject.num_classes), starts_each)
    starts = rng.random((len(wanted), *subject.image_shape), "float32")
    images = descend(subject, starts, wanted, lambda _, reached: -ops.sum(reached), settings.steps)
    classes = np.eye(subject.num_classes, dtype="float32")[wanted]
    reached = ops.convert_to_numpy(margin(subject.predict(images), classes))  # (classes * starts,)
    return Margins(reached.reshape(-1, starts_each).max(1), len(wanted) * settings.steps)


def starts_of(classes: int, settings: Settings) -> int:
    """How many images of each class are climbed with."""
    return min(settings.starts, max(2, settings.together // classes))
