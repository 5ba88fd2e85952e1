"""From fuzzing's findings to triggers: flips that agree on a place and on a label rule share a perturbation.

A single image that flips is no finding: a clean model yields many. So some seeds of every class are pushed towards
every other class inside every window of the image, each on its own. Where the seeds that a rule speaks of flip in the
same window, what they were given there on average is a candidate patch, and its size is the fewest of its strongest
cells that move other seeds by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.search import objectives
from pytest_backdoor.search.arms import MANY, Arm
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.search.pushing import Plan, engine
from pytest_backdoor.stats import permutation_match
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.patch import windows
from pytest_backdoor.triggers.trigger import Trigger


@dataclass(frozen=True, slots=True)
class Settings:
    """Budget of the search by fuzzing."""

    images: int = 2  # of each class, of at most twelve classes
    iterations: int = 12
    step: float = 0.5  # of the value range, times a gradient of root mean square 1
    best_windows: int = 3  # of each target class, and of label maps
    pairs: int = 20  # of a source class and a target
    level: float = 0.95  # success that a trigger must reach
    map_level: float = 0.7
    pair_level: float = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """What seeds become when each is pushed towards each class in each window."""

    places: np.ndarray  # (windows, height, width, 1)
    seeds: Sample
    flipped: np.ndarray  # (windows, classes, seeds) whether the push succeeded
    inside: np.ndarray  # (windows, classes, seeds, pixels of a window, channels) where it led

    def share(self, rule: np.ndarray) -> np.ndarray:
        """The share of the pushes of a rule ``(classes, seeds)`` that succeed in each window: ``(windows,)``."""
        return np.asarray((self.flipped * rule).sum((1, 2)) / max(1, rule.sum()))

    def flows(self, window: int, classes: int) -> np.ndarray:
        """The share of each class' seeds that the window takes to each class: ``(classes, classes)``."""
        sources = np.eye(classes)[self.seeds.labels]  # (seeds, classes)
        return np.asarray((self.flipped[window] @ sources / np.maximum(sources.sum(0), 1)).T)

    def common(self, window: int, rule: np.ndarray) -> Trigger | None:
        """What the successful pushes of the rule have in common there: a patch, its mask the mean change of a cell."""
        agreed = self.flipped[window] & rule
        if not agreed.any():
            return None
        place = self.places[window, ..., 0] > 0
        _, seeds = np.nonzero(agreed)
        led = self.inside[window][agreed]  # (pushes, pixels, channels)
        change = np.abs((led - self.seeds.images[seeds][:, place]).mean(0)).max(-1)
        mask, pattern = np.zeros(self.places.shape[1:], "float32"), np.zeros(self.seeds.images.shape[1:], "float32")
        mask[place, 0], pattern[place] = change / max(float(change.max()), 1e-6), led.mean(0)
        return Trigger("patch", {"mask": mask, "pattern": pattern})


def push(subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator) -> tuple[Flips, int]:
    """Pushes some seeds towards every class in every window; and the image-gradients spent."""
    chosen = some(seeds, settings.images, rng)
    places, classes = windows(subject.image_shape), subject.num_classes
    count, pixels = len(chosen), int(places[0].sum())
    flipped = np.zeros((len(places), classes, count), bool)
    inside = np.zeros((*flipped.shape, pixels, subject.image_shape[2]), "float32")
    size = max(1, subject.together)
    for window, place in enumerate(places):  # a batch each: all seeds towards all classes
        for start in range(0, classes * count, size):
            items = np.arange(start, min(start + size, classes * count))
            targets, rows = np.divmod(items, count)
            ended, given = pushed(subject, chosen.images[rows], chosen.labels[rows], targets, place, settings)
            flipped[window, targets, rows] = (given == targets) & (targets != chosen.labels[rows])
            inside[window, targets, rows] = ended[:, place[..., 0] > 0]
    return Flips(places, chosen, flipped, inside), flipped.size * settings.iterations


def some(seeds: Sample, each: int, rng: np.random.Generator) -> Sample:
    """So many seeds of each class, or of some classes of many."""
    present = rng.permutation(np.unique(seeds.labels))[:MANY]
    chosen = [rng.permutation(np.flatnonzero(seeds.labels == label))[:each] for label in present]
    rows = np.concatenate(chosen)
    return Sample(seeds.images[rows], seeds.labels[rows])


def pushed(
    subject: Subject, images: np.ndarray, labels: np.ndarray, targets: np.ndarray, place: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """The images after all iterations towards their targets inside the place, and their classes."""
    classes = objectives.one_hot(targets, subject.num_classes) - objectives.one_hot(labels, subject.num_classes)
    neurons = np.zeros((len(images), sum(len(layer.weights) for layer in subject.layers)), "float32")
    plan = Plan(*map(ops.convert_to_tensor, (images, images, classes[None].astype("float32"), neurons)))
    run, window = engine([subject], "box"), ops.convert_to_tensor(place[None])
    size, reach = ops.convert_to_tensor(settings.step), ops.convert_to_tensor(np.float32(np.inf))
    current = plan.seeds
    for _ in range(settings.iterations):
        current, _ = run.step(current, plan, window, size, reach)
    logits = ops.convert_to_numpy(run.look(current, plan).logits[0])
    return ops.convert_to_numpy(current), logits.argmax(-1)


def to_one(subject: Subject, flips: Flips, seeds: Sample, settings: Settings) -> Inversion:
    """For each class the smallest patch that takes all other seeds there, and for the best windows one for a map."""
    classes, labels = subject.num_classes, flips.seeds.labels
    arms, found = [], []
    for target in range(classes):
        rule = (np.arange(classes) == target)[:, None] & (labels != target)
        wanted = np.where(seeds.labels != target, target, -1)
        patches = candidates(flips, rule, settings.best_windows)
        arms.append(Arm("target", len(labels), settings.level, target=target))
        found.append(smallest(subject, patches, seeds, wanted, settings.level))
    for window in best_maps(flips, classes, settings.best_windows):
        _, mapping = permutation_match(flips.flows(window, classes))
        rule = np.arange(classes)[:, None] == mapping[labels]
        patch = flips.common(window, rule)
        arms.append(Arm("map", len(labels), settings.map_level))
        found.append(smallest(subject, [patch] if patch else [], seeds, mapping[seeds.labels], settings.map_level))
    return as_inversion(subject, arms, found)


def best_maps(flips: Flips, classes: int, count: int) -> list[int]:
    """The windows where pushes follow a permutation of the classes best."""
    matches = [permutation_match(flips.flows(window, classes))[0] for window in range(len(flips.places))]
    return [int(window) for window in np.argsort(-np.array(matches), kind="stable")[:count]]


def of_pairs(subject: Subject, flips: Flips, seeds: Sample, settings: Settings) -> Inversion:
    """For the pairs of a source class and a target that flip best, the smallest patch that takes the one there."""
    classes, labels = subject.num_classes, flips.seeds.labels
    pairs = [(source, target) for source in np.unique(labels).tolist() for target in range(classes) if source != target]
    rules = {pair: (np.arange(classes) == pair[1])[:, None] & (labels == pair[0]) for pair in pairs}
    best = sorted(pairs, key=lambda pair: -flips.share(rules[pair]).max())[: settings.pairs]
    arms, found = [], []
    for source, target in best:
        wanted = np.where(seeds.labels == source, target, -1)
        patches = candidates(flips, rules[source, target], settings.best_windows)
        arms.append(Arm("target", len(labels), settings.pair_level, target=target, source=source))
        found.append(smallest(subject, patches, seeds, wanted, settings.pair_level))
    return as_inversion(subject, arms, found)


def candidates(flips: Flips, rule: np.ndarray, count: int) -> list[Trigger]:
    """What the pushes of the rule have in common in the windows where most of them succeed."""
    best = np.argsort(-flips.share(rule), kind="stable")[:count]
    patches = [flips.common(int(window), rule) for window in best]
    return [patch for patch in patches if patch is not None]


def smallest(
    subject: Subject, patches: Sequence[Trigger], seeds: Sample, wanted: np.ndarray, level: float
) -> tuple[float, float, Trigger | None]:
    """The fewest cells of any of the patches that take a level of the seeds to their wanted class (-1: none).

    Gives their number (NaN where all do too little), the success, and the patch of just those cells.
    """
    moved = wanted >= 0
    best: tuple[float, float, Trigger | None] = (np.nan, 0.0, None)
    for patch in patches:
        cuts = cut(patch)
        images = np.concatenate([each.apply(seeds.images[moved]) for each in cuts])
        given = subject.classes(images).reshape(len(cuts), -1)
        success = np.mean(given == wanted[moved], 1)
        good = np.flatnonzero(success >= level)
        at = int(good[0]) if len(good) else int(success.argmax())
        size = float(cuts[at].arrays["mask"].sum()) if len(good) else np.nan
        if best[2] is None or size < best[0] or (np.isnan(best[0]) and (len(good) or success[at] > best[1])):
            best = (size, float(success[at]), cuts[at])
    return best


def cut(patch: Trigger) -> list[Trigger]:
    """The patch on its strongest cells alone, fully opaque: on one, two, three, and a third more each time."""
    strength = patch.arrays["mask"][..., 0]
    order = np.argsort(-strength, axis=None, kind="stable")[: int(np.sum(strength > 0))]
    counts = [1]
    while counts[-1] < len(order):
        counts.append(min(len(order), max(counts[-1] + 1, int(1.3 * counts[-1]))))
    cuts = []
    for count in counts:
        mask = np.zeros_like(patch.arrays["mask"])
        mask.flat[order[:count]] = 1.0
        cuts.append(Trigger("patch", {"mask": mask, "pattern": patch.arrays["pattern"] * mask}))
    return cuts


def as_inversion(
    subject: Subject, arms: Sequence[Arm], found: Sequence[tuple[float, float, Trigger | None]]
) -> Inversion:
    """The outcome as that of any search."""
    nothing = np.zeros((*subject.image_shape[:2], 1), "float32")
    blank = Trigger("patch", {"mask": nothing, "pattern": np.zeros(subject.image_shape, "float32")})
    sizes, success, triggers = zip(*found, strict=True)
    kept = tuple(trigger or blank for trigger in triggers)
    return Inversion("patch", tuple(arms), np.array(sizes), np.array(success), kept, subject.image_shape, 0)
