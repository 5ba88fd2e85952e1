"""From fuzzing's findings to triggers: flips that agree on a place and a label rule share a perturbation.

A single image that flips is no finding, a clean model yields many. So some seeds of every class are pushed towards
every other class inside every window of the image, each on its own. Where seeds of one or more classes flip by what
they are given in the same window, the mean of what they were given there is a candidate patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the search by fuzzing."""

    images: int = 2  # of each class
    iterations: int = 12
    step: float = 0.5  # of the value range, times a gradient of root mean square 1


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """What each seed becomes when it is pushed towards each class in each window."""

    places: np.ndarray  # (windows, height, width, 1)
    labels: np.ndarray  # (seeds,)
    flipped: np.ndarray  # (windows, classes, seeds) whether the push succeeded
    images: np.ndarray  # (windows, classes, seeds, height, width, channels) where it ended
    image_gradients: int
