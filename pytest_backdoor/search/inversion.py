"""Trigger inversion over many arms: every class, free label maps, away from the true class, pairs of classes.

After Wang et al. (Neural Cleanse, IEEE S&P 2019), with arms that compete for the budget as in Shen et al. (K-Arm,
arXiv:2102.05123). The free label map is what finds all-to-all backdoors, which a search per target class cannot see.

Target arms that may win search once more *confined* to the window where their trigger was heaviest. A planted patch
stays as small there; what a class is naturally sensitive to is a few cells all over the image and has no answer in one
place. Free label maps are tried in every window first: a search of the whole image often misses the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.search import optimiser
from pytest_backdoor.search.arms import Arm, Pool, draw
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.patch import confine, heaviest_window, window_shape, windows
from pytest_backdoor.triggers.trigger import Trigger

TOGETHER = 2**23  # values (pixels times channels) of the images in one batch


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the searches; images are per arm and step."""

    steps: int = 150  # of every arm of the patch family
    faint_steps: int = 80  # of every arm of the additive family
    confined_steps: int = 150
    finalists: int = 6  # target arms that go to the confined search
    window_steps: int = 40  # of a free label map in each window
    window_images: int = 2  # per source class
    best_windows: int = 4  # that go to the confined search
    images: int = 24
    away_images: int = 32
    map_images: int = 4  # per source class
    restarts: int = 3  # of the free label map
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7  # an all-to-all backdoor succeeds no more often than the model is right
    pair_steps: int = 60
    pair_images: int = 10
    pair_level: float = 0.8  # not every shifted image shows the trigger in full
    refined: int = 20  # pairs that go to the second stage
    refine_steps: int = 200
    refine_images: int = 20
    refine_kept: int = 1  # images of each other class, which must stay what they are
    refine_level: float = 0.85  # of the success and of what stays, on average
    strong_starts: int = 3  # fresh starts of the one arm that is to be confirmed
    strong_steps: int = 150
    strong_images: int = 48
    strong_level: float = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """What the arms of one family came to."""

    family: str
    arms: tuple[Arm, ...]
    sizes: np.ndarray  # (arms,), NaN where no trigger met the level
    success: np.ndarray  # (arms,), smoothed, at the end
    triggers: tuple[Trigger, ...]
    image_shape: tuple[int, int, int]
    image_gradients: int

    def of(self, goal: str) -> np.ndarray:
        """Indices of the arms with that goal."""
        return np.flatnonzero([arm.goal == goal for arm in self.arms])


def universal(subject: Subject, family: str, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """Arms for each target class, for the free label map and away from the true class, in one batched graph."""
    arms = universal_arms(subject.num_classes, settings)
    return invert(subject, family, arms, seeds, settings.steps if family == "patch" else settings.faint_steps, rng)


def universal_arms(classes: int, settings: Settings) -> list[Arm]:
    """An arm for each target class, the restarts of the free label map, and one away from the true class."""
    arms = [Arm("target", settings.images, settings.level, target=label) for label in range(classes)]
    arms += [Arm("map", settings.map_images, settings.map_level)] * settings.restarts
    return [*arms, Arm("away", settings.away_images, settings.level)]


def screen_windows(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for a free label map in each window of the image."""
    places = windows(subject.image_shape)
    arms = [Arm("map", settings.window_images, settings.map_level)] * len(places)
    return invert(subject, "patch", arms, seeds, settings.window_steps, rng, places)


def confined(
    subject: Subject, found: Inversion, windowed: Inversion, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """Longer searches in one window each, from fresh starts.

    The smallest target arms and the one away from the true class search where their trigger was heaviest, free label
    maps in the windows where they succeeded best.
    """
    chosen = [*smallest(found.sizes, found.of("target"), settings.finalists), *found.of("away")]
    best = np.argsort(-windowed.success, kind="stable")[: settings.best_windows]
    arms = [found.arms[arm] for arm in chosen] + [Arm("map", settings.map_images, settings.map_level)] * len(best)
    places = [heaviest_window(found.triggers[arm].arrays["mask"]) for arm in chosen]
    places += [windows(subject.image_shape)[arm] for arm in best]
    return invert(subject, "patch", arms, seeds, settings.confined_steps, rng, np.stack(places))


def screen_pairs(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for every (source, target) pair."""
    arms = [
        Arm("target", settings.pair_images, settings.pair_level, target=target, source=int(source))
        for source in np.unique(seeds.labels)
        for target in range(subject.num_classes)
        if source != target
    ]
    return invert(subject, "patch", arms, seeds, settings.pair_steps, rng)


def refine_pairs(
    subject: Subject, screened: Inversion, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """A longer search, from fresh starts, for the smallest pairs of the screening, specific to their source."""
    chosen = smallest(screened.sizes, np.arange(len(screened.arms)), settings.refined)
    images, kept, level = settings.refine_images, settings.refine_kept, settings.refine_level
    arms = [replace(screened.arms[arm], images=images, kept=kept, level=level) for arm in chosen]
    return invert(subject, "patch", arms, seeds, settings.refine_steps, rng)


def strengthen(
    subject: Subject, trigger: Trigger, arm: Arm, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """One arm from several fresh starts, on more images and for more success; a patch stays near where it is.

    Near is half a window around the window where it is heaviest: that window may have cut the planted trigger.
    """
    strong = replace(arm, images=settings.strong_images, level=settings.strong_level)
    arms = [strong] * settings.strong_starts
    places = None
    if trigger.family == "patch":
        around = min(window_shape(subject.image_shape)) // 2
        places = np.stack([heaviest_window(trigger.arrays["mask"], around)] * len(arms))
    return invert(subject, trigger.family, arms, seeds, settings.strong_steps, rng, places)


def invert(
    subject: Subject,
    family_name: str,
    arms: Sequence[Arm],
    seeds: Sample,
    steps: int,
    rng: np.random.Generator,
    places: np.ndarray | None = None,
) -> Inversion:
    """Runs the arms from fresh starts, as many together as memory allows.

    places ``(arms, height, width, 1)`` say where patches may be.
    """
    family, pool = FAMILIES[family_name], Pool.of(seeds.labels, subject.num_classes)
    step = optimiser.compile_step(subject, family, seeds.images)
    parts = []
    for part in batches(arms, pool, subject.image_shape):
        state = optimiser.begin(arms[part], family, subject.image_shape, rng)
        if places is not None:
            state = state._replace(params=confine(state.params, places[part]))
        spent = 0
        for _ in range(steps):
            batch = draw(arms[part], pool, rng)
            state, spent = step(state, batch), spent + len(batch.image)
        parts.append((state, spent))
    sizes = np.concatenate([ops.convert_to_numpy(state.best_size).astype(float) for state, _ in parts])
    sizes[np.isinf(sizes)] = np.nan
    success = np.concatenate([ops.convert_to_numpy(state.success) for state, _ in parts])
    triggers = tuple(trigger for state, _ in parts for trigger in optimiser.triggers(state, family))
    spent_in_all = sum(spent for _, spent in parts)
    return Inversion(family_name, tuple(arms), sizes, success, triggers, subject.image_shape, spent_in_all)


def batches(arms: Sequence[Arm], pool: Pool, shape: tuple[int, int, int]) -> list[slice]:
    """Runs of arms whose images of one step have at most ``TOGETHER`` values, or of one arm that alone has more."""
    limit = max(1, TOGETHER // int(np.prod(shape)))
    cuts, filled = [0], 0
    for number, arm in enumerate(arms):
        images = len(draw([arm], pool, np.random.default_rng(0)).image)
        if filled and filled + images > limit:
            cuts.append(number)
            filled = 0
        filled += images
    return [slice(start, end) for start, end in pairwise([*cuts, len(arms)])]


def smallest(sizes: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """So many of the given arms, smallest size first; those without a trigger come last."""
    return among[np.argsort(np.where(np.isnan(sizes[among]), np.inf, sizes[among]), kind="stable")[:count]]
