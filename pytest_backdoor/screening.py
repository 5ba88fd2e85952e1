"""Screening: whether a user's suspicious images bear a trigger, told by STRIP."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor.check_results import Screening
from pytest_backdoor.confirm import strip
from pytest_backdoor.contract import check, fit_suspects
from pytest_backdoor.errors import ContractError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.scan import generator, sha256_of
from pytest_backdoor.search.memory import bounded
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.stats import too_many
from pytest_backdoor.subject import classifier

CERTAIN = 1e-9  # bits, of an entropy that is zero


def screen(model: Any, images: Any, seeds: Any, settings: strip.Settings, options: Options) -> Screening:
    """The entropies of the images and of the seeds, blended with seeds that the model classifies right.

    The model is as for ``scan``, images and seeds are paths, arrays or Seeds. Raises ContractError where model, images
    and seeds do not fit each other, or where there are too few to tell.
    """
    name, digest = str(model) if isinstance(model, str | Path) else getattr(model, "name", "model"), sha256_of(model)
    form = classifier(keras_file.opened(model), name, options.memory)
    given, rng = as_seeds(seeds), generator(options.seed, f"{digest} strip")
    suspects = fit_suspects(form, given, images)
    contract = check(form, given, options.min_accuracy, rng)
    clean = bounded(contract.known, settings.clean, rng)
    if len(clean) < 2:
        raise ContractError(f"the model classifies {len(clean)} seeds right, and two are needed. Give more seeds.")
    moves = strip.shifts(len(clean), settings.overlays, rng)
    own = strip.entropies(contract.subject, clean.images, clean.images, moves)
    if own.max() < CERTAIN:
        raise ContractError(
            "the model is certain of every blend of two seeds, as a function is that answers classes, so that no image "
            "stands out by being certain. Give the Keras model, or a function from images to probabilities."
        )
    found = strip.entropies(contract.subject, suspects.images, clean.images, moves)
    boundary = strip.boundary(own, settings)
    rejected, once = np.flatnonzero(found < boundary.value), _different(suspects.images)
    seen = contract.subject.classes(suspects.images[once])
    expected, known = false_rejections(own < boundary.value, clean.labels, seen, boundary.expected)
    _refuse_few(len(once), expected, known, options.alpha)
    names = suspects.names or ()
    return Screening(
        name,
        digest,
        tuple(found.tolist()),
        boundary.value,
        boundary.rule,
        boundary.poor,
        expected,
        len(clean),
        len(moves),
        tuple(rejected.tolist()),
        tuple(names[number] for number in rejected) if names else (),
        too_many(len(np.intersect1d(rejected, once)), len(once), expected, known),
        strip.histogram(boundary.value, own, np.zeros(0), found),
    )


def false_rejections(
    rejected: np.ndarray, labels: np.ndarray, classes: np.ndarray, least: float
) -> tuple[float, float]:
    """Share of clean images that are rejected where their classes are mixed as here, and how many seeds say so.

    ``rejected (n,)`` says which seeds with the labels ``(n,)`` are; ``classes (m,)`` are those of other images. Some
    classes are surer by nature. The share is as large as the next seed that is rejected would make it: exact for the
    mix of the seeds, on the safe side for images of one class. It is ``least``, that of all seeds, or more. Of classes
    without seeds one seed's worth is known.
    """
    present, counts = np.unique(classes, return_counts=True)
    weights, members = counts / counts.sum(), labels == present[:, None]
    known = np.maximum(1, members.sum(1))
    shares = np.where(members.any(1), (members & rejected).sum(1) / known, least)
    worth = float(1 / np.sum(weights**2 / known))
    return max(least, (float(weights @ shares) * worth + 1) / (worth + 1)), worth


def _different(images: np.ndarray) -> np.ndarray:
    """The numbers of the images without those that repeat an earlier one, which say nothing new."""
    first: dict[bytes, int] = {}
    for number, image in enumerate(images):
        first.setdefault(hashlib.sha256(image.tobytes()).digest(), number)
    return np.array(list(first.values()))


def _refuse_few(count: int, expected: float, known: float, alpha: float) -> None:
    """Raises ContractError where so many images could not be told from falsely rejected ones if all were rejected."""
    if too_many(count, count, expected, known) > alpha:
        raise ContractError(
            f"{count} suspicious image{'s' * (count > 1)} cannot be told from falsely rejected ones at alpha "
            f"{alpha:g}: the boundary rejects {expected:.2g} of the clean images that the model takes for the same "
            f"classes, as {known:.0f} seeds say. Give {math.ceil(1 / alpha) - 1} seeds or more of each class, more "
            "suspicious images, or a smaller frr."
        )
