"""Screening: whether a user's suspicious images bear a trigger, told by STRIP."""

from __future__ import annotations

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
    clean = bounded(contract.known, settings.clean, rng).images
    if len(clean) < 2:
        raise ContractError(f"the model classifies {len(clean)} seeds right, and two are needed. Give more seeds.")
    moves = strip.shifts(len(clean), settings.overlays, rng)
    own = strip.entropies(contract.subject, clean, clean, moves)
    found = strip.entropies(contract.subject, suspects.images, clean, moves)
    boundary = strip.boundary(own, settings)
    return _screening(name, digest, own, found, suspects.names or (), len(moves), boundary, options)


def _screening(
    name: str,
    digest: str,
    clean: np.ndarray,
    suspicious: np.ndarray,
    names: tuple[str, ...],
    overlays: int,
    boundary: strip.Boundary,
    options: Options,
) -> Screening:
    rejected = np.flatnonzero(suspicious < boundary.value)
    count, expected = len(suspicious), boundary.expected
    if too_many(count, count, expected, len(clean)) > options.alpha:
        raise ContractError(
            f"{count} suspicious image{'s' * (count > 1)} cannot be told from falsely rejected ones at alpha "
            f"{options.alpha:g}: the boundary from {len(clean)} seeds rejects {expected:.2g} of clean images. Give "
            f"{math.ceil(1 / options.alpha) - 1} seeds or more, more suspicious images, or a smaller frr."
        )
    return Screening(
        name,
        digest,
        tuple(suspicious.tolist()),
        boundary.value,
        boundary.rule,
        boundary.poor,
        expected,
        len(clean),
        overlays,
        tuple(rejected.tolist()),
        tuple(names[number] for number in rejected) if names else (),
        too_many(len(rejected), count, expected, len(clean)),
        strip.histogram(boundary.value, clean, np.zeros(0), suspicious),
    )
