"""Shifted seeds: copies of the seeds, each moved by a few pixels, where the model still sees the same class.

A few pixels on the right stroke turn a 4 into a 9 in any model, but only where the stroke is. A planted trigger does
not look where the object is, so it stays small on shifted images while natural triggers grow.
"""

from __future__ import annotations

import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.subject import Subject

COPIES = 24  # of each seed, at most
REACH = 7  # an image is shifted by at most this part of its smaller side


def shifted(subject: Subject, seeds: Sample, rng: np.random.Generator) -> Sample:
    """The seeds and as many randomly shifted copies of them as memory allows, where the model sees the same class."""
    furthest = max(1, min(subject.image_shape[:2]) // REACH)
    copies = min(COPIES, subject.pooled // len(seeds) - 1) if len(seeds) else 0
    moves = rng.integers(-furthest, furthest + 1, (COPIES, 2))[: max(0, copies)]
    images = np.concatenate([seeds.images, *(shift(seeds.images, int(down), int(right)) for down, right in moves)])
    labels = np.tile(seeds.labels, len(moves) + 1)
    same = subject.classes(images) == labels
    return Sample(images[same], labels[same])


def shift(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images moved by so many pixels, the border repeated where nothing was."""
    reach = max(abs(down), abs(right), 1)
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    return padded[:, reach - down : reach - down + height, reach - right : reach - right + width]
