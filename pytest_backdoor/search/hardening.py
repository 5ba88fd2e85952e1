"""Hardened seeds: shifted copies of the seeds, each moved deeper into its own class.

A few pixels turn a weak 4 into a 9 in any model. Such natural pairs need images near the border between the classes,
and a search on a dozen seeds finds accidents besides. A planted trigger needs neither: it was trained to overrule its
source class, so it stays small on images that are surer of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.contract import Sample
from pytest_backdoor.subject import BATCH, Subject

COPIES = 12  # shifted copies of each seed
SHIFT = 2  # pixels, at most, in each direction
REACH = 0.1  # of the value range that a pixel may move towards its own class
STEPS = 10


def harden(subject: Subject, seeds: Sample, rng: np.random.Generator) -> Sample:
    """The seeds with shifted copies that keep their class, all with a raised margin; 0 to 1."""
    spread = shifted(subject, seeds, rng)
    raise_margin = compiled(value_and_grad(lambda images, labels: (margin(subject, images, labels), None)))
    parts = [slice(start, start + BATCH) for start in range(0, len(spread), BATCH)]
    images = [_deeper(raise_margin, spread.images[part], spread.labels[part]) for part in parts]
    return Sample(np.concatenate(images), spread.labels)


def shifted(subject: Subject, seeds: Sample, rng: np.random.Generator) -> Sample:
    """The seeds and randomly shifted copies of them, where the model still sees the same class."""
    moves = rng.integers(-SHIFT, SHIFT + 1, (COPIES, 2))
    images = np.concatenate([seeds.images, *(shift(seeds.images, int(down), int(right)) for down, right in moves)])
    labels = np.tile(seeds.labels, COPIES + 1)
    same = subject.classes(images) == labels
    return Sample(images[same], labels[same])


def shift(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images moved by so many pixels, the border repeated where nothing was."""
    reach = max(abs(down), abs(right), 1)
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    return padded[:, reach - down : reach - down + height, reach - right : reach - right + width]


def margin(subject: Subject, images: Any, labels: Any) -> Any:
    """Sum over images of the true class's logit minus the largest other."""
    logits = subject.logits(images)
    true = ops.one_hot(labels, subject.num_classes)
    return ops.sum(ops.sum(logits * true, -1) - ops.max(logits - 1e9 * true, -1))


def _deeper(raise_margin: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Signed gradient ascent on the margin within the reach, as PGD does on a loss (Madry et al., 2018)."""
    start = ops.convert_to_tensor(images)
    moved = start
    for _ in range(STEPS):
        _, slope = raise_margin(moved, labels)
        step = moved + 2.5 * REACH / STEPS * ops.sign(slope)
        moved = ops.clip(ops.clip(step, start - REACH, start + REACH), 0.0, 1.0)
    return np.asarray(ops.convert_to_numpy(moved))
