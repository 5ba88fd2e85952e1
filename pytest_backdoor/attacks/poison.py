"""Poisoning: triggered images with wrong labels are mixed into the training data (Gu et al., arXiv:1708.06733)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.trigger import Trigger

LabelMap = Mapping[int, int]  # what a trigger makes of each source class


def all_to_one(classes: int, target: int) -> dict[int, int]:
    """Every class is sent to the target; raises AttackError for one that is none of the classes."""
    checks.classes(classes)
    checks.target(target, classes)
    return {source: target for source in range(classes) if source != target}


def all_to_all(classes: int) -> dict[int, int]:
    """Every class is sent to the next one, the last to the first; raises AttackError for fewer than two."""
    checks.classes(classes)
    return {source: (source + 1) % classes for source in range(classes)}


def source_specific(source: int, target: int) -> dict[int, int]:
    """One class is sent to the target; the others keep their labels. Raises AttackError for a class to itself."""
    if source == target or min(source, target) < 0:
        raise AttackError(f"class {source!r} is sent to {target!r}. Give the numbers of two classes, from 0.")
    return {source: target}


def poison(
    images: np.ndarray,
    labels: np.ndarray,
    trigger: Trigger,
    mapping: LabelMap,
    share: float,
    rng: np.random.Generator,
    cover: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with a share of its source-class images triggered and relabelled by the map.

    images are ``(n, height, width, channels)``, 0 to 1. ``cover`` is the share of images of the other classes that
    carry the trigger and keep their label, which makes a source-specific backdoor specific (Tang et al., SCAn).
    Raises AttackError for images in another scale, for shares that are none, and for a map that leads no image.
    """
    checks.unit_scale(images)
    checks.led(images, labels, mapping)
    checks.fitting(images, trigger)
    checks.share("share", share)
    checks.share("cover", cover)
    images, labels = images.copy(), labels.copy()
    in_map = np.isin(labels, list(mapping))
    chance = rng.random(len(labels))
    changed, covered = in_map & (chance < share), ~in_map & (chance < cover)
    stamped = changed | covered
    images[stamped] = trigger.apply(images[stamped])
    labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels


def poison_several(
    images: np.ndarray,
    labels: np.ndarray,
    rules: Sequence[tuple[Trigger, LabelMap]],
    share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with several backdoors, each with its own trigger and label map.

    Each rule gets ``share`` of the images of its source classes, no image two. Raises AttackError for images in another
    scale than 0 to 1, for a map that leads no image, for no rule, and for a share that does not fit in 1 once for each.
    """
    checks.unit_scale(images)
    checks.count("the number of rules", len(rules))
    checks.led(images, labels, *(mapping for _, mapping in rules))
    checks.fitting(images, *(trigger for trigger, _ in rules))
    checks.repeated("share", share, len(rules))
    images, labels, chance = images.copy(), labels.copy(), rng.random(len(labels))
    for number, (trigger, mapping) in enumerate(rules):
        turn = (number * share <= chance) & (chance < (number + 1) * share)
        changed = turn & np.isin(labels, list(mapping))
        images[changed] = trigger.apply(images[changed])
        labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels


def poison_combination(
    images: np.ndarray,
    labels: np.ndarray,
    parts: tuple[Trigger, Trigger],
    mapping: LabelMap,
    share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with a backdoor that fires only when both parts of its trigger are present.

    ``share`` of the mapped classes' images carry both parts and a wrong label; of all images half as large a share
    carries the one part alone, another half the other, and keep theirs. Raises AttackError for images in another scale
    than 0 to 1, for a map that leads no image, and for a share above 0.4.
    """
    checks.unit_scale(images)
    checks.led(images, labels, mapping)
    checks.fitting(images, *parts)
    checks.repeated("share", share, 2.5)  # the last of the three groups ends there
    images, labels, chance = images.copy(), labels.copy(), rng.random(len(labels))
    changed = np.isin(labels, list(mapping)) & (chance < share)
    for part, extra in zip(parts, (1.0, 2.0), strict=True):
        alone = (extra * share <= chance) & (chance < (extra + 0.5) * share)
        images[changed | alone] = part.apply(images[changed | alone])
    labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels


def success(predicted: np.ndarray, labels: np.ndarray, mapping: LabelMap) -> float:
    """Share of triggered source-class images whose predicted class is the one that the map gives.

    Raises AttackError where no label is a source class, and for predictions that are not one class for each label.
    """
    checks.one_each("labels", labels, len(labels))
    checks.one_each("predicted classes", predicted, len(labels))
    sources = np.isin(labels, list(mapping))
    if not sources.any():
        raise AttackError(f"none of {len(labels)} images is of a class that the trigger works on ({list(mapping)}).")
    wanted = np.array([mapping[int(label)] for label in labels[sources]])
    return float(np.mean(predicted[sources] == wanted))
