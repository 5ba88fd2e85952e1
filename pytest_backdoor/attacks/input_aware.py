"""Input-aware triggers: every image gets its own pattern (Nguyen and Tran, NeurIPS 2020, arXiv:2010.08138)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from pytest_backdoor.attacks import checks
from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.generator import GENERATOR, residual
from pytest_backdoor.triggers.trigger import BATCH, Trigger

STEPS, PAIRS, RATE = 100, 32, 0.02


def input_aware(images: np.ndarray, strength: float, rng: np.random.Generator) -> Trigger:
    """A generator trained to give two images two patterns, which change no value by more than ``strength``.

    images are clean, ``(n, height, width, channels)``, 0 to 1. Small networks learn 0.1 to 0.3. Raises AttackError
    for images in another scale, and for a strength that is not above 0 and at most 1.
    """
    checks.unit_scale(images)
    checks.strength("strength", strength)
    # The paper trains generator, mask and classifier together. Here the generator is trained first, on the paper's
    # diversity loss alone, and then fixed: any classifier can be trained on the data that it poisons. Its two
    # convolutions are the very form that scans search with; the paper's network is deeper, and has a mask.
    raw = GENERATOR.initial(1, images.shape[1:], rng)[:3]
    weights = [keras.Variable(part) for part in raw]
    adam = keras.optimizers.Adam(RATE)
    evaluate = compiled(value_and_grad(sameness))
    for _ in range(STEPS):
        first, second = images[rng.integers(len(images), size=(2, PAIRS))]
        (_, _), slopes = evaluate([weight.value for weight in weights], first, second)
        adam.apply(slopes, weights)
    trained = [ops.convert_to_numpy(weight)[0] for weight in weights]
    drawn = dict(zip(GENERATOR.names, trained, strict=False))
    return Trigger(GENERATOR.name, {**drawn, "strength": np.full((1, 1, 1), strength, "float32")})


def sameness(weights: Any, first: Any, second: Any) -> tuple[Any, None]:
    """The diversity loss: how far two images differ over how far their patterns differ, as a mean over the pairs."""
    patterns = [residual((*weights, 1.0), images) for images in (first, second)]
    return ops.mean(_distance(first, second) / (_distance(*patterns) + 1e-3)), None


def poison_cross(
    images: np.ndarray,
    labels: np.ndarray,
    trigger: Trigger,
    mapping: Mapping[int, int],
    share: float,
    rng: np.random.Generator,
    cross: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with a share of its mapped classes' images carrying their own pattern and the mapped label.

    A share ``cross`` of all images carries the pattern of another image and keeps its label, so that no pattern works
    on an image that it was not made for. Raises AttackError as ``crossed`` does, for a map that leads no image, and for
    shares that together do not fit in 1.
    """
    checks.led(images, labels, mapping)
    checks.fitting(images, trigger)
    checks.disjoint({"share": share, "cross": cross})
    images, labels, chance = images.copy(), labels.copy(), rng.random(len(labels))
    changed, strange = np.isin(labels, list(mapping)) & (chance < share), chance >= 1 - cross
    borrowed = crossed(trigger, images, rng)[strange]
    images[changed] = trigger.apply(images[changed])
    images[strange] = borrowed
    labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels


def crossed(trigger: Trigger, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images each with the pattern that the trigger, a generator, makes for another of them.

    Raises AttackError for another trigger, for a single image, and for images in another scale than 0 to 1.
    """
    checks.family(trigger, GENERATOR.name)
    checks.unit_scale(images)
    if len(images) < 2:
        raise AttackError(f"each image gets the pattern of another, got {len(images)}. Give two or more.")
    arrays = tuple(trigger.arrays[name][None] for name in GENERATOR.names)
    others = (np.arange(len(images)) + rng.integers(1, len(images), len(images))) % len(images)
    changed = images.astype("float32")
    for start in range(0, len(images), BATCH):  # as many at a time as a trigger changes
        part = slice(start, start + BATCH)
        drawn = ops.convert_to_numpy(residual(arrays, images[others[part]]))
        changed[part] = np.clip(images[part] + drawn, 0.0, 1.0)
    return changed


def _distance(left: Any, right: Any) -> Any:
    """Root mean square difference of each pair."""
    return ops.sqrt(ops.mean(ops.square(left - right), axis=(1, 2, 3)) + 1e-12)
