"""What fits memory: runs of arms that go through the network together, and samples of seeds to draw from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.search.arms import Arm, Pool, images_of


def batches(arms: Sequence[Arm], pool: Pool, limit: int) -> list[slice]:
    """Runs of arms that take at most ``limit`` images in one step, or of one arm that alone takes more."""
    cuts, filled = [0], 0
    for number, arm in enumerate(arms):
        images = images_of(arm, pool)
        if filled and filled + images > limit:
            cuts.append(number)
            filled = 0
        filled += images
    return [slice(start, end) for start, end in pairwise([*cuts, len(arms)])]


def bounded(seeds: Sample, limit: int, rng: np.random.Generator) -> Sample:
    """The seeds, or at most ``limit`` of them at random, as many of each class as can be and one at least."""
    if len(seeds) <= limit:
        return seeds
    order = rng.permutation(len(seeds))
    order = order[np.argsort(seeds.labels[order], kind="stable")]
    by_class = seeds.labels[order]
    turn = np.arange(len(order)) - np.searchsorted(by_class, by_class)  # the how-manieth of its class each one is
    taken = order[np.argsort(turn, kind="stable")[: max(limit, int(np.sum(turn == 0)))]]
    return Sample(seeds.images[np.sort(taken)], seeds.labels[np.sort(taken)])
