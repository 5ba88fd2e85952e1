"""Poisoning: triggered images with wrong labels are mixed into the training data (Gu et al., arXiv:1708.06733)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_backdoor.triggers.trigger import Trigger

LabelMap = Mapping[int, int]  # what a trigger makes of each source class


def all_to_one(classes: int, target: int) -> dict[int, int]:
    """Every class is sent to the target."""
    return {source: target for source in range(classes) if source != target}


def all_to_all(classes: int) -> dict[int, int]:
    """Every class is sent to the next one, the last to the first."""
    return {source: (source + 1) % classes for source in range(classes)}


def source_specific(source: int, target: int) -> dict[int, int]:
    """One class is sent to the target; the others keep their labels."""
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
    """
    images, labels = images.copy(), labels.copy()
    in_map = np.isin(labels, list(mapping))
    chance = rng.random(len(labels))
    changed, covered = in_map & (chance < share), ~in_map & (chance < cover)
    stamped = changed | covered
    images[stamped] = trigger.apply(images[stamped])
    labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels


def success(predicted: np.ndarray, labels: np.ndarray, mapping: LabelMap) -> float:
    """Share of triggered source-class images whose predicted class is the one that the map gives."""
    sources = np.isin(labels, list(mapping))
    wanted = np.array([mapping[int(label)] for label in labels[sources]])
    return float(np.mean(predicted[sources] == wanted))
