"""Trigger inversion over many arms: every class, free label maps, away from the true class, pairs of classes.

After Wang et al. (Neural Cleanse, IEEE S&P 2019) with the scheduled arms of Shen et al. (K-Arm, arXiv:2102.05123). The
free label map is what finds all-to-all backdoors, which a search per target class cannot see. The search *elsewhere*
runs once more with the place of the found trigger forbidden: a planted patch is small in one place only, what a class
is naturally sensitive to is about as small anywhere.
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
from pytest_backdoor.triggers.patch import forbid
from pytest_backdoor.triggers.trigger import Trigger


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the searches; images are per arm and step."""

    survey_steps: int = 150  # for every arm of the patch family, so that sizes compare at equal budget
    final_steps: int = 100  # more, for the arms that may win
    faint_steps: int = 80  # for every arm of the additive family
    finalists: int = 5  # target arms that may win
    images: int = 24
    away_images: int = 32
    map_images: int = 4  # per source class
    restarts: int = 3  # of the free label map
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7  # an all-to-all backdoor succeeds no more often than the model is right
    pair_steps: int = 60
    pair_images: int = 6
    refined: int = 16  # pairs that go to the second stage
    refine_steps: int = 200
    refine_images: int = 12


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """What the arms of one family came to."""

    family: str
    arms: tuple[Arm, ...]
    sizes: np.ndarray  # (arms,) at equal budget, NaN where no trigger met the level
    final_sizes: np.ndarray  # (arms,) of the arms that may win, after more steps; NaN for the others
    triggers: tuple[Trigger, ...]
    image_gradients: int

    def of(self, goal: str) -> np.ndarray:
        """Indices of the arms with that goal."""
        return np.flatnonzero([arm.goal == goal for arm in self.arms])


def universal(subject: Subject, family: str, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """Arms for each target class, for the free label map and away from the true class, in one batched graph."""
    arms = [Arm("target", settings.images, settings.level, target=label) for label in range(subject.num_classes)]
    arms += [Arm("map", settings.map_images, settings.map_level)] * settings.restarts
    arms += [Arm("away", settings.away_images, settings.level)]
    if family == "patch":
        return invert(subject, family, arms, seeds, settings.survey_steps, settings.final_steps, settings.finalists, rng)
    return invert(subject, family, arms, seeds, settings.faint_steps, 0, settings.finalists, rng)


def elsewhere(subject: Subject, found: Inversion, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """The finalists of a patch search once more, as long, each with the place of its trigger forbidden."""
    again = [arm for arm in range(len(found.arms)) if np.isfinite(found.final_sizes[arm])]
    masks = np.stack([found.triggers[arm].arrays["mask"] for arm in again])
    arms = [found.arms[arm] for arm in again]
    steps = settings.survey_steps + settings.final_steps
    return invert(subject, found.family, arms, seeds, steps, 0, len(arms), rng, forbidden=masks)


def screen_pairs(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for every (source, target) pair."""
    arms = [
        Arm("target", settings.pair_images, settings.level, target=target, source=int(source))
        for source in np.unique(seeds.labels)
        for target in range(subject.num_classes)
        if source != target
    ]
    return invert(subject, "patch", arms, seeds, settings.pair_steps, 0, len(arms), rng)


def refine_pairs(
    subject: Subject, screened: Inversion, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """A longer search, from fresh starts, for the smallest pairs of the screening."""
    chosen = smallest(screened.sizes, np.arange(len(screened.arms)), settings.refined)
    arms = [replace(screened.arms[arm], images=settings.refine_images) for arm in chosen]
    return invert(subject, "patch", arms, seeds, settings.refine_steps, 0, len(arms), rng)


def invert(
    subject: Subject,
    family_name: str,
    arms: Sequence[Arm],
    seeds: Sample,
    survey_steps: int,
    final_steps: int,
    finalists: int,
    rng: np.random.Generator,
    forbidden: np.ndarray | None = None,
) -> Inversion:
    """Runs all arms together for the survey, then those that may win for the final."""
    family = FAMILIES[family_name]
    step = optimiser.compile_step(subject, family, seeds.images)
    pool = Pool.of(seeds.labels, subject.num_classes)
    state = optimiser.begin(arms, family, subject.image_shape, rng)
    if forbidden is not None:
        state = state._replace(params=forbid(state.params, forbidden))
    state, spent = _run(step, state, arms, pool, survey_steps, rng)
    sizes, triggers = _sizes(state), optimiser.triggers(state, family)
    alive = may_win(arms, sizes, finalists)
    state, more = _run(step, optimiser.keep(state, alive), [arms[arm] for arm in alive], pool, final_steps, rng)
    final_sizes = np.full(len(arms), np.nan)
    final_sizes[alive] = _sizes(state)
    for arm, trigger in zip(alive, optimiser.triggers(state, family), strict=True):
        triggers[arm] = trigger
    return Inversion(family.name, tuple(arms), sizes, final_sizes, tuple(triggers), spent + more)


def may_win(arms: Sequence[Arm], sizes: np.ndarray, finalists: int) -> np.ndarray:
    """The smallest target arms, the smallest free label map, and the arm away from the true class."""
    limits = {"target": finalists, "map": 1, "away": 1}
    goals = np.array([arm.goal for arm in arms])
    chosen = [smallest(sizes, np.flatnonzero(goals == goal), limit) for goal, limit in limits.items()]
    return np.sort(np.concatenate(chosen))


def smallest(sizes: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """So many of the given arms, smallest size first; those without a trigger come last."""
    return among[np.argsort(np.where(np.isnan(sizes[among]), np.inf, sizes[among]), kind="stable")[:count]]


def _run(
    step: optimiser.Step, state: optimiser.State, arms: Sequence[Arm], pool: Pool, steps: int, rng: np.random.Generator
) -> tuple[optimiser.State, int]:
    """So many steps on freshly drawn images, and the image-gradients that they took."""
    spent = 0
    for _ in range(steps):
        batch = draw(arms, pool, rng)
        state, spent = step(state, batch), spent + len(batch.image)
    return state, spent


def _sizes(state: optimiser.State) -> np.ndarray:
    sizes = ops.convert_to_numpy(state.best_size)
    return np.where(np.isfinite(sizes), sizes, np.nan)
