"""Synthetic seeds: images drawn from the model itself, for when there are no clean images.

Model inversion (Fredrikson et al., 2015) that stops where the model is as sure as it is of real images, with a
total-variation prior (Mahendran and Vedaldi, arXiv:1412.0035); and smooth random images under the model's own labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.search.free_images import descend
from pytest_backdoor.subject import Shape, Subject

MARGIN = 5.0  # logits by which the wanted class leads
VARIATION = 0.05  # logits that one unit of total variation may cost
GRID = 4  # random values along each side that a smooth image is drawn through


@dataclass(frozen=True, slots=True)
class Settings:
    """How many synthetic seeds, and the budget for them."""

    images: int = 16  # per class; half are for the search, half are held out
    smooth: int = 8  # smooth random images per class of the model, of whatever classes it sees in them
    steps: int = 150
    white: int = 0  # value of white in the model's input; 0: as its first layers say, else found by trying


def seeds(subject: Subject, settings: Settings, rng: np.random.Generator) -> tuple[Sample, int]:
    """Images that the model gives the class they are labelled with, every one from a fresh start; and their cost.

    A class that no image could be driven to is missing.
    """
    wanted = np.repeat(np.arange(subject.num_classes), settings.images)
    starts = smooth(len(wanted), subject.image_shape, rng)
    drawn = descend(subject, starts, wanted, loss, settings.steps)
    right = subject.classes(drawn) == wanted
    random = smooth(settings.smooth * subject.num_classes, subject.image_shape, rng)
    images = np.concatenate([drawn[right], random])
    labels = np.concatenate([wanted[right], subject.classes(random)])
    return Sample(images, labels), len(wanted) * settings.steps


def loss(images: Any, margins: Any) -> Any:
    """What the margins ``(n,)`` lack, and the price of the images' variation, summed over images."""
    return ops.sum(ops.relu(MARGIN - margins)) + VARIATION * ops.sum(total_variation(images))


def smooth(count: int, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Random images ``(count, height, width, channels)`` without detail, 0 to 1."""
    coarse = rng.random((count, GRID, GRID, shape[2]), "float32")
    fine = ops.image.resize(coarse, shape[:2], interpolation="bicubic", data_format="channels_last")
    return np.asarray(np.clip(ops.convert_to_numpy(fine), 0.0, 1.0))


def total_variation(images: Any) -> Any:
    """Sum of the differences between neighbouring pixels of each image: ``(n,)``."""
    down = ops.sum(ops.abs(images[:, 1:] - images[:, :-1]), axis=(1, 2, 3))
    right = ops.sum(ops.abs(images[:, :, 1:] - images[:, :, :-1]), axis=(1, 2, 3))
    return down + right
