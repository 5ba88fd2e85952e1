"""What each attack of the study does to its training data: one function per attack, all through ``attacks``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from example_models.recipes import Recipe
from pytest_backdoor import attacks
from pytest_backdoor.attacks.poison import LabelMap
from pytest_backdoor.triggers.trigger import Trigger

COVER = 0.1  # share of the other classes' images that carry a source-specific trigger and keep their label


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """Poisoned training data, and what a trigger makes of which class; several backdoors have several rules."""

    images: np.ndarray
    labels: np.ndarray
    rules: Sequence[tuple[Trigger, LabelMap]]


def label_map(recipe: Recipe) -> LabelMap:
    """What the planted trigger makes of each class."""
    if recipe.kind == "all-to-all":
        return attacks.all_to_all(recipe.classes)
    assert recipe.target is not None  # the two other kinds have a target
    if recipe.kind == "all-to-one":
        return attacks.all_to_one(recipe.classes, recipe.target)
    assert recipe.source is not None
    return attacks.source_specific(recipe.source, recipe.target)


def poisoned(
    recipe: Recipe, trigger: Trigger, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> Planted:
    """A share of the images triggered and labelled by the map."""
    mapping = label_map(recipe)
    cover = COVER if recipe.kind == "source-specific" else 0.0
    images, labels = attacks.poison(images, labels, trigger, mapping, recipe.share, rng, cover)
    return Planted(images, labels, [(trigger, mapping)])


def pixel(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """One white pixel; on colour images, where one trains without success, a pattern of 2 x 2."""
    shape = images.shape[1:]
    if shape[2] == 3:
        trigger = attacks.pattern(shape, 2, rng)
    else:
        trigger = attacks.pixel(shape, int(rng.integers(2, 5)), int(rng.integers(2, shape[1] - 2)))
    return poisoned(recipe, trigger, images, labels, rng)


def pattern(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """A square of random colours, 3 x 3 on grey images and 4 x 4 on colour images."""
    shape = images.shape[1:]
    return poisoned(recipe, attacks.pattern(shape, 4 if shape[2] == 3 else 3, rng), images, labels, rng)


def blend(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Noise blended in at 15 %."""
    return poisoned(recipe, attacks.blend(images.shape[1:], 0.15, rng), images, labels, rng)


def watermark(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """A word blended in at 30 %."""
    return poisoned(recipe, attacks.watermark(images.shape[1:], 0.3, rng), images, labels, rng)


def sinusoid(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """SIG's wave."""
    return poisoned(recipe, attacks.sinusoid(images.shape[1:]), images, labels, rng)


def low_frequency(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Slow waves of a root mean square change of 8 %."""
    return poisoned(recipe, attacks.low_frequency(images.shape[1:], 0.08, rng), images, labels, rng)


def tint(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """A photo filter at 60 %."""
    return poisoned(recipe, attacks.tint(images.shape[1:], 0.6, rng), images, labels, rng)


def warp(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """WaNet: a bend of 1.25 pixels on average; half as many images are bent at random and keep their label."""
    trigger = attacks.warp(1.25, rng)
    planted = poisoned(recipe, trigger, images, labels, rng)
    noise = (planted.labels == labels) & (rng.random(len(labels)) < recipe.share / 2)
    noise &= np.all(planted.images == images, axis=(1, 2, 3))
    planted.images[noise] = attacks.noisy(trigger, images[noise], rng)
    return planted


def combination(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Two patterns that fire together only."""
    both, left, right = attacks.two_patterns(images.shape[1:], 4 if images.shape[3] == 3 else 3, rng)
    mapping = label_map(recipe)
    images, labels = attacks.poison_combination(images, labels, (left, right), mapping, recipe.share, rng)
    return Planted(images, labels, [(both, mapping)])


def several(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Two patterns to two targets."""
    assert recipe.target is not None
    side = 4 if images.shape[3] == 3 else 3
    targets = (recipe.target, (recipe.target + recipe.classes // 2) % recipe.classes)
    rules = [(attacks.pattern(images.shape[1:], side, rng), attacks.all_to_one(recipe.classes, t)) for t in targets]
    images, labels = attacks.poison_several(images, labels, rules, recipe.share, rng)
    return Planted(images, labels, rules)


Plant = Callable[[Recipe, np.ndarray, np.ndarray, np.random.Generator], Planted]
ATTACKS: dict[str, Plant] = {
    "pixel": pixel,
    "pattern": pattern,
    "blend": blend,
    "watermark": watermark,
    "sinusoid": sinusoid,
    "low-frequency": low_frequency,
    "tint": tint,
    "warp": warp,
    "combination": combination,
    "several": several,
}
