"""From fuzzing's findings to triggers: flips that agree on a place and on a label rule share a perturbation.

A single image that flips is no finding: a clean model yields many. So some seeds of every class are pushed towards
every other class inside every window of the image, each on its own. Where the seeds that a rule speaks of flip in the
same window, what they have in common there is a candidate patch; more seeds are pushed on from it, and what those have
in common is a better one (as Moosavi-Dezfooli et al., CVPR 2017, build universal perturbations from single ones). Its
size is the fewest of its strongest cells that move all seeds by the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.deadline import in_time
from pytest_backdoor.search import objectives, pushing
from pytest_backdoor.search.arms import MANY, Arm
from pytest_backdoor.search.free_images import margin
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.stats import permutation_match
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.cells import cell_strength, growing, restrict
from pytest_backdoor.triggers.patch import windows
from pytest_backdoor.triggers.trigger import Trigger

BLOCKS = 8  # along each side of a patch of many cells, which are ranked block by block
COMPETITORS = 4  # classes that seeds are pushed to at once where there are too many to try each


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the search by fuzzing."""

    images: int = 2  # of each class, of at most twelve classes
    searched: int = 16  # classes that images are pushed to; of more, those that they fall to most when pushed anywhere
    iterations: int = 8
    promise: float = 0.6  # of the level, the share of single pushes that must succeed for a patch to be tried
    more_images: int = 40  # that are pushed on from a candidate
    more_iterations: int = 8
    step: float = 0.5  # of the value range, times a gradient of root mean square 1
    best_windows: int = 3  # of each target class, and of label maps
    pairs: int = 20  # of a source class and a target
    pair_windows: int = 2
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7
    pair_level: float = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """What seeds become when each is pushed towards each class in each window."""

    places: np.ndarray  # (windows, height, width, 1)
    seeds: Sample
    targets: tuple[int, ...]  # the classes that they were pushed to
    flipped: np.ndarray  # (windows, targets, seeds) whether the push succeeded

    def share(self, rule: np.ndarray) -> np.ndarray:
        """The share of the pushes of a rule ``(targets, seeds)`` that succeed in each window: ``(windows,)``."""
        return np.asarray((self.flipped & rule).sum((1, 2)) / max(1, rule.sum()))

    def flows(self, window: int, classes: int) -> np.ndarray:
        """The share of each class' seeds that the window takes to each class: ``(classes, classes)``."""
        sources = np.eye(classes)[self.seeds.labels]  # (seeds, classes)
        flows = np.zeros((classes, classes))
        flows[:, self.targets] = (self.flipped[window] @ sources / np.maximum(sources.sum(0), 1)).T
        return flows


def patch(place: np.ndarray, changes: np.ndarray) -> Trigger:
    """The patch that changes ``(pushes, pixels of the place, channels)`` agree on.

    The mask is the size of the mean change of a cell, from 0 to 1; the pattern goes as far as values can in its
    direction.
    """
    mean, shown = changes.mean(0), place[..., 0] > 0
    mask, pattern = np.zeros(place.shape, "float32"), np.zeros((*place.shape[:2], mean.shape[-1]), "float32")
    strength = np.abs(mean).max(-1)
    mask[shown, 0], pattern[shown] = strength / max(float(strength.max()), 1e-6), mean > 0
    return Trigger("patch", {"mask": mask, "pattern": pattern})


@dataclass(slots=True, eq=False)
class Pusher:
    """Pushes images inside windows, and counts what that costs."""

    subject: Subject
    settings: Settings
    spent: int = 0  # image-gradients

    def __call__(
        self, images: np.ndarray, weights: np.ndarray, place: np.ndarray, iterations: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images after so many steps up the weighted logits ``(n, classes)``, and their classes."""
        size, parts = max(1, self.subject.together), []
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            parts.append(self._pushed(images[part], weights[part], place, iterations))
        self.spent += len(images) * iterations
        ended, given = zip(*parts, strict=True)
        return np.concatenate(ended), np.concatenate(given)

    def _pushed(
        self, images: np.ndarray, weights: np.ndarray, place: np.ndarray, iterations: int
    ) -> tuple[np.ndarray, np.ndarray]:
        step, window = pushing.stepper(self.subject, "box"), ops.convert_to_tensor(place[None])
        aims, size = ops.convert_to_tensor(weights.astype("float32")), ops.convert_to_tensor(self.settings.step)
        current = ops.convert_to_tensor(images)
        for _ in in_time(iterations):
            current = step(current, aims, window, size)
        ended = ops.convert_to_numpy(current)
        return ended, self.subject.classes(ended)


def push(pusher: Pusher, seeds: Sample, rng: np.random.Generator) -> Flips:
    """Pushes some seeds towards the target classes in every window."""
    settings = pusher.settings
    chosen, places = some(seeds, settings.images, rng), windows(pusher.subject.image_shape)
    targets = favourites(pusher, chosen, places)
    aims, rows = np.repeat(targets, len(chosen)), np.tile(np.arange(len(chosen)), len(targets))
    parts = np.split(np.arange(len(rows)), range(pusher.subject.together, len(rows), pusher.subject.together))
    flipped = np.zeros((len(places), len(targets), len(chosen)), bool)
    for window, place in enumerate(places):  # all seeds towards all classes, as many at a time as memory allows
        given = np.concatenate([pushed(pusher, chosen, rows[part], aims[part], place)[1] for part in parts])
        flipped[window] = ((given == aims) & (aims != chosen.labels[rows])).reshape(flipped.shape[1:])
    return Flips(places, chosen, tuple(targets.tolist()), flipped)


def pushed(
    pusher: Pusher, seeds: Sample, rows: np.ndarray, aims: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where these seeds end when each is pushed to the class of its aim in the window, and their classes."""
    classes = pusher.subject.num_classes
    weights = objectives.one_hot(aims, classes) - objectives.one_hot(seeds.labels[rows], classes)
    return pusher(seeds.images[rows], weights, place, pusher.settings.iterations)


def common(pusher: Pusher, flips: Flips, window: int, rule: np.ndarray) -> Trigger:
    """What the successful pushes of the rule have in common in the window.

    They are pushed again: all that every window leads to would fill memory.
    """
    aims, rows = np.nonzero(flips.flipped[window] & rule)
    place = flips.places[window]
    ended, _ = pushed(pusher, flips.seeds, rows, np.array(flips.targets)[aims], place)
    return patch(place, (ended - flips.seeds.images[rows])[:, place[..., 0] > 0])


def favourites(pusher: Pusher, chosen: Sample, places: np.ndarray) -> np.ndarray:
    """All classes, or, of many, those that the most seeds fall to in one window when they are pushed anywhere."""
    classes, settings = pusher.subject.num_classes, pusher.settings
    if classes <= settings.searched:
        return np.arange(classes)
    away = objectives.deviate(pusher.subject.predict(chosen.images), chosen.labels, COMPETITORS, 1 / COMPETITORS)[0]
    most = np.zeros(classes)
    for place in places:  # a batch each
        _, given = pusher(chosen.images, away, place, settings.iterations)
        most = np.maximum(most, np.bincount(given[given != chosen.labels], minlength=classes))
    return np.sort(np.argsort(-most, kind="stable")[: settings.searched])


def some(seeds: Sample, each: int, rng: np.random.Generator) -> Sample:
    """So many seeds of each class, or of some classes of many."""
    present = rng.permutation(np.unique(seeds.labels))[:MANY]
    rows = np.concatenate([rng.permutation(np.flatnonzero(seeds.labels == label))[:each] for label in present])
    return Sample(seeds.images[rows], seeds.labels[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A rule: which of the pushes it speaks of, and which class it wants for each seed."""

    arm: Arm
    rule: np.ndarray  # (targets, pushed seeds)
    wanted: np.ndarray  # (seeds,) -1: not moved by the rule


def to_one(pusher: Pusher, flips: Flips, seeds: Sample, rng: np.random.Generator) -> Inversion:
    """For each class the smallest patch that takes all other seeds there, and for the best windows one for a map."""
    settings, classes, labels = pusher.settings, pusher.subject.num_classes, flips.seeds.labels
    targets = np.array(flips.targets)
    outcomes = []
    for target in flips.targets:
        rule = (targets == target)[:, None] & (labels != target)
        wanted = np.where(seeds.labels != target, target, -1)
        case = Case(Arm("target", len(labels), settings.level, target=target), rule, wanted)
        outcomes.append(smallest(pusher, flips, best(flips.share(rule), settings.best_windows), case, seeds, rng))
    matches = np.array([permutation_match(flips.flows(window, classes))[0] for window in range(len(flips.places))])
    for window in best(matches, settings.best_windows):
        _, mapping = permutation_match(flips.flows(window, classes))
        rule = targets[:, None] == mapping[labels]
        case = Case(Arm("map", len(labels), settings.map_level), rule, mapping[seeds.labels])
        outcomes.append(smallest(pusher, flips, [window], case, seeds, rng))
    return as_inversion(pusher, outcomes)


def of_pairs(pusher: Pusher, flips: Flips, seeds: Sample, rng: np.random.Generator) -> Inversion:
    """For the pairs of a source class and a target that flip best, the smallest patch that takes the one there."""
    settings, labels = pusher.settings, flips.seeds.labels
    targets = np.array(flips.targets)
    cases = []
    for source, target in product(np.unique(labels).tolist(), flips.targets):
        if source != target:
            rule = (targets == target)[:, None] & (labels == source)
            arm = Arm("target", len(labels), settings.pair_level, target=target, source=source)
            cases.append(Case(arm, rule, np.where(seeds.labels == source, target, -1)))
    cases.sort(key=lambda case: -flips.share(case.rule).max())
    tried = [(best(flips.share(case.rule), settings.pair_windows), case) for case in cases[: settings.pairs]]
    return as_inversion(pusher, [smallest(pusher, flips, places, case, seeds, rng) for places, case in tried])


def best(scores: np.ndarray, count: int) -> list[int]:
    """The indices of the highest scores."""
    return [int(index) for index in np.argsort(-scores, kind="stable")[:count]]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The fewest cells that do what a case wants."""

    arm: Arm
    size: float = np.nan  # NaN: none do
    success: float = 0.0
    trigger: Trigger | None = None


def smallest(
    pusher: Pusher, flips: Flips, places: Sequence[int], case: Case, seeds: Sample, rng: np.random.Generator
) -> Outcome:
    """The smallest patch for a case, from what its pushes have in common in these windows."""
    found = [Outcome(case.arm)]
    promising = flips.share(case.rule) >= pusher.settings.promise * case.arm.level
    for window in np.array(places)[promising[places]]:
        shared = common(pusher, flips, window, case.rule)
        rows = rng.permutation(np.flatnonzero(case.wanted >= 0))[: pusher.settings.more_images]
        more = Sample(seeds.images[rows], case.wanted[rows])
        better = onward(pusher, shared, flips.places[window], seeds.labels[rows], more)
        tried = (shared, better, by_effect(pusher.subject, better, more))
        found += [fewest(pusher.subject, each, case, seeds) for each in tried]
    return min(found, key=lambda outcome: (np.nan_to_num(outcome.size, nan=np.inf), -outcome.success))


def onward(pusher: Pusher, trigger: Trigger, place: np.ndarray, labels: np.ndarray, wanted: Sample) -> Trigger:
    """What more seeds have in common when they are pushed on from a patch; the patch if none of them gets there.

    wanted are the seeds with the classes that they should go to.
    """
    classes = pusher.subject.num_classes
    weights = objectives.one_hot(wanted.labels, classes) - objectives.one_hot(labels, classes)
    ended, given = pusher(trigger.apply(wanted.images), weights, place, pusher.settings.more_iterations)
    there = given == wanted.labels
    return patch(place, (ended - wanted.images)[there][:, place[..., 0] > 0]) if there.any() else trigger


def by_effect(subject: Subject, trigger: Trigger, wanted: Sample) -> Trigger:
    """The patch with cells as strong as the margin of the wanted classes that is lost when just they are left out.

    The cells of a large patch are left out block by block.
    """
    cells = np.flatnonzero(cell_strength(trigger))
    blocks = block_of(cells, trigger.arrays["mask"].shape[1])
    parts = [cells, *(cells[blocks != block] for block in range(blocks.max(initial=-1) + 1))]
    size = max(1, subject.pooled // max(1, len(wanted)))  # parts that are tried at once
    tried = (parts[start : start + size] for start in range(0, len(parts), size))
    reached = np.concatenate([_reached(subject, trigger, some, wanted) for some in tried])
    lost = np.maximum(reached[0] - reached[1:], 0)
    mask = np.zeros_like(trigger.arrays["mask"])
    mask.flat[cells] = lost[blocks] / max(float(lost.max(initial=0)), 1e-6)
    return Trigger("patch", {"mask": mask, "pattern": trigger.arrays["pattern"]})


def block_of(cells: np.ndarray, width: int) -> np.ndarray:
    """The block that each cell (flat indices) of a grid of that width lies in: each its own, or 8 x 8 of many."""
    if len(cells) <= BLOCKS**2:
        return np.arange(len(cells))
    place = np.stack(np.divmod(cells, width))
    low = place.min(1, keepdims=True)
    sides = -(-(place.max(1, keepdims=True) - low + 1) // BLOCKS)
    down, right = (place - low) // sides
    return np.unique(BLOCKS * down + right, return_inverse=True)[1]


def _reached(subject: Subject, trigger: Trigger, parts: Sequence[np.ndarray], wanted: Sample) -> np.ndarray:
    """The mean margin of the wanted classes under the patch on each of these parts of its cells: ``(parts,)``."""
    images = np.concatenate([restrict(trigger, part).apply(wanted.images) for part in parts])
    classes = np.tile(objectives.one_hot(wanted.labels, subject.num_classes), (len(parts), 1))
    margins = ops.convert_to_numpy(margin(subject.predict(images), classes))
    return np.asarray(margins.reshape(len(parts), -1).mean(1))


def fewest(subject: Subject, trigger: Trigger, case: Case, seeds: Sample) -> Outcome:
    """The fewest of the patch's strongest cells that move the level of the seeds as wanted, fully opaque."""
    moved, cuts = case.wanted >= 0, cut(trigger)
    if not cuts:  # no cell does anything
        return Outcome(case.arm)
    answers = np.array([subject.classes_under(each.apply, seeds.images[moved]) for each in cuts])
    success = np.mean(answers == case.wanted[moved], 1)
    enough = np.flatnonzero(success >= case.arm.level)
    if not len(enough):
        return Outcome(case.arm, success=float(success.max()), trigger=cuts[int(success.argmax())])
    first = int(enough[0])
    return Outcome(case.arm, float(cuts[first].arrays["mask"].sum()), float(success[first]), cuts[first])


def cut(trigger: Trigger) -> list[Trigger]:
    """The patch on more and more of its strongest cells, fully opaque."""
    strength = cell_strength(trigger)
    order = np.argsort(-strength, axis=None, kind="stable")[: int(np.sum(strength > 0))]
    return [restrict(trigger, order[:count]) for count in growing(len(order))]


def as_inversion(pusher: Pusher, outcomes: Sequence[Outcome]) -> Inversion:
    """The outcomes as those of any search."""
    shape = pusher.subject.image_shape
    nothing = Trigger("patch", {"mask": np.zeros((*shape[:2], 1), "float32"), "pattern": np.zeros(shape, "float32")})
    sizes = np.array([outcome.size for outcome in outcomes])
    success = np.array([outcome.success for outcome in outcomes])
    triggers = tuple(outcome.trigger or nothing for outcome in outcomes)
    return Inversion("patch", tuple(outcome.arm for outcome in outcomes), sizes, success, triggers, shape, 0)
