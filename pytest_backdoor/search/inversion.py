"""Trigger inversion over many arms: every class, free label maps, away from the true class, pairs of classes.

After Wang et al. (Neural Cleanse, IEEE S&P 2019) with the arms of K-Arm (Shen et al., arXiv:2102.05123); the free
label map is what finds all-to-all backdoors, which a search per target class cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.search import optimiser
from pytest_backdoor.search.arms import Arm, Pool, draw
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers import FAMILIES, Family
from pytest_backdoor.triggers.trigger import Trigger

CHECK = 10  # steps between looks of the scheduler
FIRST_CHECK = 40  # the step of the first look: sizes are comparable from here on
SETTLED_RATIO, SETTLED_CHECKS = 0.25, 3  # an arm below a quarter of the median size, three looks in a row
DROP_RATIO = 2.0  # arms above the median and above twice the smallest cannot win


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the searches; every number is a count per arm."""

    steps: int = 130  # of the patch family
    faint_steps: int = 70  # of the additive family
    images: int = 24  # per step of a target arm
    away_images: int = 32
    map_images: int = 4  # per source class and step
    restarts: int = 4  # of the free label map
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7  # an all-to-all backdoor succeeds no more often than the model is right
    pair_steps: int = 60
    pair_images: int = 6
    refined: int = 12  # pairs that go to the second stage
    refine_steps: int = 150
    refine_images: int = 12


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """What one family's arms came to: sizes at equal budget, and the triggers."""

    family: str
    arms: tuple[Arm, ...]
    sizes: np.ndarray  # (arms,), NaN where no trigger met the level
    triggers: tuple[Trigger, ...]
    image_gradients: int

    def of(self, goal: str) -> np.ndarray:
        """Indices of the arms with that goal."""
        return np.flatnonzero([arm.goal == goal for arm in self.arms])


def universal(subject: Subject, name: str, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """Arms for each target class, for the free label map and away from the true class, in one batched graph."""
    arms = [Arm("target", settings.images, settings.level, target=label) for label in range(subject.num_classes)]
    arms += [Arm("map", settings.map_images, settings.map_level)] * settings.restarts
    arms += [Arm("away", settings.away_images, settings.level)]
    steps = settings.steps if name == "patch" else settings.faint_steps
    return invert(subject, FAMILIES[name], arms, seeds, steps, rng)


def screen_pairs(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for every (source, target) pair."""
    present = np.unique(seeds.labels)
    arms = [
        Arm("target", settings.pair_images, settings.level, target=target, source=int(source))
        for source in present
        for target in range(subject.num_classes)
        if source != target
    ]
    return invert(subject, FAMILIES["patch"], arms, seeds, settings.pair_steps, rng)


def refine_pairs(
    subject: Subject, screened: Sequence[Arm], seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """A longer search, from fresh starts, for the pairs that the screening left."""
    arms = [replace(arm, images=settings.refine_images) for arm in screened]
    return invert(subject, FAMILIES["patch"], arms, seeds, settings.refine_steps, rng)


def invert(
    subject: Subject, family: Family, arms: Sequence[Arm], seeds: Sample, steps: int, rng: np.random.Generator
) -> Inversion:
    """Runs all arms together; arms that cannot win are dropped, and a settled search runs its winner only."""
    step = optimiser.compile_step(subject, family, seeds.images)
    pool = Pool.of(seeds.labels, subject.num_classes)
    state = optimiser.begin(arms, family, subject.image_shape, rng)
    board = Board(len(arms))
    alive, spent = np.arange(len(arms)), 0
    for now in range(1, steps + 1):
        batch = draw([arms[arm] for arm in alive], pool, rng)
        state, spent = step(state, batch), spent + len(batch.image)
        if now == steps or (now >= FIRST_CHECK and now % CHECK == 0):
            board.record(alive, state, family)
            if len(left := board.worth_going_on(arms, alive)) < len(alive):
                state, alive = optimiser.keep(state, np.searchsorted(alive, left)), left
    return Inversion(family.name, tuple(arms), board.sizes, tuple(board.triggers), spent)


class Board:
    """What the scheduler knows of every arm, dropped ones too."""

    def __init__(self, arms: int) -> None:
        self.sizes = np.full(arms, np.nan)
        self.triggers: list[Trigger] = [None] * arms  # type: ignore[list-item]  # filled by the first record
        self.far_ahead = np.zeros(arms, int)
        self.settled = False

    def record(self, alive: np.ndarray, state: optimiser.State, family: Family) -> None:
        """Takes over sizes and triggers; sizes stay as they were at equal budget once the search is settled."""
        for arm, trigger in zip(alive, optimiser.triggers(state, family), strict=True):
            self.triggers[arm] = trigger
        if not self.settled:
            sizes = ops.convert_to_numpy(state.best_size)
            self.sizes[alive] = np.where(np.isfinite(sizes), sizes, np.nan)

    def worth_going_on(self, arms: Sequence[Arm], alive: np.ndarray) -> np.ndarray:
        """The arms that may still win: all below the median, and those near the smallest of their goal."""
        targets = np.flatnonzero([arm.goal == "target" for arm in arms])
        if self.settled or np.isnan(self.sizes[targets]).sum() > len(targets) // 2 or len(targets) < 3:
            return alive
        median = np.nanmedian(self.sizes[targets])
        self.far_ahead = np.where(self.sizes < SETTLED_RATIO * median, self.far_ahead + 1, 0)
        if self.far_ahead.max() >= SETTLED_CHECKS and arms[0].source is None:
            self.settled = True
            return np.intersect1d(alive, np.flatnonzero(self.far_ahead >= SETTLED_CHECKS))
        hopeless = [arm for arm in alive if self.sizes[arm] > max(median, DROP_RATIO * self.smallest_like(arms, arm))]
        return np.setdiff1d(alive, hopeless)

    def smallest_like(self, arms: Sequence[Arm], arm: int) -> float:
        """Smallest size among the arms with the same goal."""
        return float(np.nanmin([size for other, size in zip(arms, self.sizes, strict=True) if other.goal == arms[arm].goal]))
