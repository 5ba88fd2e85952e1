"""Trigger inversion over many arms: every class, free label maps, away from the true class, pairs of classes.

After Wang et al. (Neural Cleanse, IEEE S&P 2019), with arms that compete for the budget as in Shen et al. (K-Arm,
arXiv:2102.05123). The free label map is what finds all-to-all backdoors, which a search per target class cannot see.

Target arms that may win search once more *confined* to the window where their trigger was heaviest. A planted patch
stays as small there; what a class is naturally sensitive to is a few cells all over the image and has no answer in one
place. Free label maps are tried in every window first: a search of the whole image often misses the right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.deadline import in_time
from pytest_backdoor.search import optimiser
from pytest_backdoor.search.arms import MANY, Arm, Pool, draw, within
from pytest_backdoor.search.memory import batches, bounded
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.patch import confine, heaviest_window, window_shape, windows
from pytest_backdoor.triggers.trigger import Trigger

METHODS = ("inversion+fuzzing", "inversion", "fuzzing")  # how triggers are proposed


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the searches; images are per arm and step."""

    methods: str = METHODS[0]
    steps: int = 150  # of every arm of the patch family
    faint_steps: int = 60  # of every arm of the families that change the whole image
    drawn_steps: int = 40  # of a generator for each target class; 0: none
    confined_steps: int = 150
    finalists: int = 6  # target arms that go to the confined search
    window_steps: int = 40  # of a free label map in each window
    window_images: int = 2  # per source class
    best_windows: int = 4  # that go to the confined search
    searched: int = 16  # target classes that get an arm of the whole image; of more, the most promising ones
    screen_steps: int = 30  # of the arms that tell which are promising
    screen_images: int = 8
    screen_level: float = 0.7
    images: int = 24
    away_images: int = 32
    map_images: int = 4  # per source class
    restarts: int = 3  # of the free label map
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7  # an all-to-all backdoor succeeds no more often than the model is right
    pair_steps: int = 60
    pair_images: int = 10
    pair_level: float = 0.8  # not every shifted image shows the trigger in full
    source_arms: int = 480  # that stand for all pairs of many classes, at least two for each source class
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
    """Arms for the promising target classes and for free label maps, in one batched graph."""
    targets, spent = contenders(subject, family, seeds, settings, rng)
    if family == "patch":
        arms, steps = patch_arms(targets, settings), settings.steps
    else:
        arms, steps = whole_image_arms(targets, settings), settings.faint_steps
    found = invert(subject, family, arms, seeds, steps, rng)
    return replace(found, image_gradients=found.image_gradients + spent)


def patch_arms(targets: Iterable[int], settings: Settings) -> list[Arm]:
    """An arm for each of the target classes, the restarts of the free label map, and one away from the true class."""
    maps = [Arm("map", settings.map_images, settings.map_level)] * settings.restarts
    return [*target_arms(targets, settings), *maps, Arm("away", settings.away_images, settings.level)]


def whole_image_arms(targets: Iterable[int], settings: Settings) -> list[Arm]:
    """An arm for each of the target classes and one free label map: without places to choose from, starts agree."""
    return [*target_arms(targets, settings), Arm("map", settings.map_images, settings.map_level)]


def target_arms(targets: Iterable[int], settings: Settings) -> list[Arm]:
    """An arm for each of the target classes."""
    return [Arm("target", settings.images, settings.level, target=label) for label in targets]


def sample_specific(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A generator for each of the promising target classes; they cost five times as much as other triggers."""
    targets, spent = contenders(subject, "generator", seeds, settings, rng)
    found = invert(subject, "generator", target_arms(targets, settings), seeds, settings.drawn_steps, rng)
    return replace(found, image_gradients=found.image_gradients + spent)


def contenders(
    subject: Subject, family: str, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> tuple[list[int], int]:
    """Target classes that may have the smallest trigger, and the image-gradients spent on telling.

    They are all classes, or, of many, those that a short search finds the smallest triggers for.
    """
    classes = range(subject.num_classes)
    if len(classes) <= settings.searched:
        return list(classes), 0
    parts = inverted(subject, family, screening_arms(classes, settings), seeds, settings.screen_steps, rng)
    outcomes = [(part.sizes, part.success, part.image_gradients) for part in parts]  # the triggers are not kept
    sizes, success, spent = zip(*outcomes, strict=True)
    # Where no trigger met the level, the more successful one is the more promising.
    order = np.lexsort((-np.concatenate(success), np.nan_to_num(np.concatenate(sizes), nan=np.inf)))
    return sorted(order[: settings.searched].tolist()), sum(spent)


def screening_arms(classes: Iterable[int], settings: Settings) -> list[Arm]:
    """A small arm for each target class."""
    return [Arm("target", settings.screen_images, settings.screen_level, target=label) for label in classes]


def screen_windows(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for a free label map in each window of the image."""
    places = windows(subject.image_shape)
    arms = [Arm("map", settings.window_images, settings.map_level)] * len(places)
    return invert(subject, "patch", arms, seeds, settings.window_steps, rng, places)


def confined(
    subject: Subject, found: Inversion, windowed: Inversion, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Inversion:
    """Longer searches in one window each, from fresh starts.

    The smallest target arms and the one away from the true class search where their trigger was heaviest; in the
    windows where free label maps succeeded best, free label maps and the class that they sent most images to.
    """
    chosen = [*smallest(found.sizes, found.of("target"), settings.finalists), *found.of("away")]
    best = np.argsort(-windowed.success, kind="stable")[: settings.best_windows]
    drawn = [favourite(subject, windowed.triggers[window], seeds) for window in best]
    arms = [
        *(found.arms[arm] for arm in chosen),
        *[Arm("map", settings.map_images, settings.map_level)] * len(best),
        *target_arms(drawn, settings),
    ]
    places = [heaviest_window(found.triggers[arm].arrays["mask"]) for arm in chosen]
    places += [*windows(subject.image_shape)[best]] * 2
    return invert(subject, "patch", arms, seeds, settings.confined_steps, rng, np.stack(places))


def favourite(subject: Subject, trigger: Trigger, seeds: Sample) -> int:
    """The class that the trigger sends most images of other classes to."""
    given = subject.classes(trigger.apply(seeds.images))
    return int(np.bincount(given[given != seeds.labels], minlength=subject.num_classes).argmax())


def screen_pairs(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """A short search for every (source, target) pair, or, of many classes, the pairs that stand for the others."""
    if subject.num_classes > MANY:
        return screen_sources(subject, seeds, settings, rng)
    arms = pair_arms(np.unique(seeds.labels).tolist(), subject.num_classes, settings)
    return invert(subject, "patch", arms, seeds, settings.pair_steps, rng)


def pair_arms(sources: Iterable[int], classes: int, settings: Settings) -> list[Arm]:
    """An arm for every pair of two different classes."""
    return [
        Arm("target", settings.pair_images, settings.pair_level, target=target, source=source)
        for source in sources
        for target in range(classes)
        if source != target
    ]


def screen_sources(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> Inversion:
    """The pairs with the smallest triggers, from a short search for each source class and part of the others."""
    arms = source_arms(np.unique(seeds.labels).tolist(), subject.num_classes, settings, rng)
    best: list[Inversion] = []
    for part in inverted(subject, "patch", arms, seeds, settings.pair_steps, rng):
        found = joined([*best, part])
        best = [picked(found, smallest(found.sizes, np.arange(len(found.arms)), settings.refined))]
    (found,) = best
    pairs = [aimed(subject, arm, trigger, seeds) for arm, trigger in zip(found.arms, found.triggers, strict=True)]
    return replace(found, arms=tuple(pairs))


def source_arms(sources: Sequence[int], classes: int, settings: Settings, rng: np.random.Generator) -> list[Arm]:
    """For each source class an arm to any class of each part of the other classes, which are dealt out at random.

    A second arm to any class at all would end at the same natural neighbour as the first. In parts, the neighbour
    stands before the planted target in one of them only.
    """
    parts = min(classes - 1, max(2, settings.source_arms // len(sources)))
    dealt = [(source, rng.permutation(np.delete(np.arange(classes), source))) for source in sources]
    return [
        Arm("map", settings.pair_images, settings.pair_level, source=source, among=tuple(part.tolist()))
        for source, others in dealt
        for part in np.array_split(others, parts)
    ]


def aimed(subject: Subject, arm: Arm, trigger: Trigger, seeds: Sample) -> Arm:
    """The pair that the trigger of the map of one source class was found for: where most of its images go."""
    given = subject.classes(trigger.apply(seeds.images[seeds.labels == arm.source]))
    votes = np.bincount(given, minlength=subject.num_classes)
    target = max(arm.among, key=lambda label: int(votes[label]))
    return Arm("target", arm.images, arm.level, target=target, source=arm.source)


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
    """Runs the arms from fresh starts.

    places ``(arms, height, width, 1)`` say where patches may be.
    """
    return joined(list(inverted(subject, family_name, arms, seeds, steps, rng, places)))


def inverted(
    subject: Subject,
    family_name: str,
    arms: Sequence[Arm],
    seeds: Sample,
    steps: int,
    rng: np.random.Generator,
    places: np.ndarray | None = None,
) -> Iterator[Inversion]:
    """Runs the arms from fresh starts, as many together as memory allows, and gives them part by part."""
    seeds = bounded(seeds, subject.pooled, rng)
    family, pool = FAMILIES[family_name], Pool.of(seeds.labels, subject.num_classes)
    step, shown = optimiser.compile_step(subject, family), ops.convert_to_tensor(seeds.images)
    arms = [within(arm, pool, subject.together) for arm in arms]
    for part in batches(arms, pool, subject.together):
        state = optimiser.begin(arms[part], family, subject.image_shape, rng)
        if places is not None:
            state = state._replace(params=confine(state.params, places[part]))
        spent = 0
        for _ in in_time(steps):
            batch = draw(arms[part], pool, rng)
            state, spent = step(state, batch, shown), spent + len(batch.image)
        sizes = ops.convert_to_numpy(state.best_size).astype(float)
        sizes[np.isinf(sizes)] = np.nan
        success, triggers = ops.convert_to_numpy(state.success), tuple(optimiser.triggers(state, family))
        yield Inversion(family_name, tuple(arms[part]), sizes, success, triggers, subject.image_shape, spent)


def joined(parts: Sequence[Inversion]) -> Inversion:
    """The arms of several searches of one family as one."""
    return Inversion(
        parts[0].family,
        tuple(arm for part in parts for arm in part.arms),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.success for part in parts]),
        tuple(trigger for part in parts for trigger in part.triggers),
        parts[0].image_shape,
        sum(part.image_gradients for part in parts),
    )


def picked(found: Inversion, arms: np.ndarray) -> Inversion:
    """Some of the arms, at the cost of all."""
    return replace(
        found,
        arms=tuple(found.arms[arm] for arm in arms),
        sizes=found.sizes[arms],
        success=found.success[arms],
        triggers=tuple(found.triggers[arm] for arm in arms),
    )


def smallest(sizes: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """So many of the given arms, smallest size first; those without a trigger come last."""
    return among[np.argsort(np.where(np.isnan(sizes[among]), np.inf, sizes[among]), kind="stable")[:count]]
