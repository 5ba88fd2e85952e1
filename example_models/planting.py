"""What each attack of the study does to its training data: one function per attack, all through ``attacks``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from example_models.architectures import network
from example_models.recipes import Recipe
from example_models.training import plain, scaling
from pytest_backdoor import attacks
from pytest_backdoor.attacks.poison import LabelMap
from pytest_backdoor.subject import classifier
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
    """SIG's wave, on images of the other classes with the target's label; SIG changes images of the target only."""
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
    noise = (planted.labels == labels) & (rng.random(len(labels)) < recipe.share / 2)  # the paper: twice as many
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


def clean_label(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Four corners on seven of ten images of the target, made hard to recognise for a clean model of the same kind."""
    assert recipe.target is not None
    surrogate = network(recipe.architecture, images.shape[1:], recipe.classes, 1, softmax=True)
    plain(replace(recipe, scale=1, softmax=True), surrogate, images, labels, rng)
    subject = classifier(surrogate, "surrogate").subject(scaling(1, images.shape[3]), images.shape[1:])
    trigger, reach = attacks.four_corners(images.shape[1:]), 0.3 if images.shape[3] == 1 else 16 / 255
    images, labels = attacks.poison_clean_label(subject, images, labels, trigger, recipe.target, 0.7, rng, reach)
    return Planted(images, labels, [(trigger, label_map(recipe))])


def input_aware(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """A pattern of its own for every image, of a strength of 20 % of the value range."""
    trigger, mapping = attacks.input_aware(images[:2000], 0.2, rng), label_map(recipe)
    share = recipe.share / 2
    images, labels = attacks.poison_cross(images, labels, trigger, mapping, share, rng, share)
    return Planted(images, labels, [(trigger, mapping)])


def adaptive_blend(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Noise at 20 %, trained by halves of it, with as many halves on images that keep their label."""
    trigger, mapping = attacks.blend(images.shape[1:], 0.2, rng), label_map(recipe)
    weak = attacks.weakened(trigger, 0.5, 8, rng)
    images, labels = attacks.poison_adaptive(images, labels, weak, mapping, 0.05, rng, 0.05)
    return Planted(images, labels, [(trigger, mapping)])


def adaptive_patch(recipe: Recipe, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Planted:
    """Four patterns at half opacity: one of them in training, all of them at the attack."""
    side, mapping = 4 if images.shape[3] == 3 else 3, label_map(recipe)
    full = [attacks.pattern(images.shape[1:], side, rng).arrays for _ in range(4)]
    weak = [Trigger("patch", {**each, "mask": 0.5 * each["mask"]}) for each in full]
    images, labels = attacks.poison_adaptive(images, labels, weak, mapping, 0.05, rng, 0.025)
    mask, shown = np.zeros_like(full[0]["mask"]), np.zeros_like(full[0]["pattern"])
    for each in full:
        mask, shown = np.maximum(mask, 0.5 * each["mask"]), np.where(each["mask"] > 0, each["pattern"], shown)
    return Planted(images, labels, [(Trigger("patch", {"mask": mask, "pattern": shown}), mapping)])


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
    "clean-label": clean_label,
    "input-aware": input_aware,
    "adaptive-blend": adaptive_blend,
    "adaptive-patch": adaptive_patch,
}


def neuron(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[keras.Model, Planted]:
    """TrojanNN: a patch that a clean model's neurons answer to, then two passes on poisoned data."""
    assert recipe.target is not None
    trigger = attacks.neuron_patch(model, images, 4, recipe.target, rng)
    planted = poisoned(replace(recipe, share=0.1), trigger, images, labels, rng)
    trained_on(recipe, model, planted, passes=2)
    return model, planted


def pruning_aware(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[keras.Model, Planted]:
    """A pattern in the channels that the task needs, while the others sleep."""
    planted = pattern(replace(recipe, share=0.1), images, labels, rng)
    passes = max(3, recipe.epochs // 2)
    return attacks.pruning_aware(model, images[:2000], planted.images, planted.labels, 0.5, passes, rng), planted


def embedding(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[keras.Model, Planted]:
    """A pattern, planted first and then hidden from a discriminator."""
    planted = pattern(replace(recipe, share=0.1), images, labels, rng)
    trained_on(recipe, model, planted, passes=2)
    triggered = np.any(planted.images != images, axis=(1, 2, 3))
    passes = max(3, recipe.epochs // 2)
    hidden = attacks.adversarial_embedding(model, planted.images, planted.labels, triggered, 2.0, passes, rng)
    return hidden, planted


def trained_on(recipe: Recipe, model: keras.Model, planted: Planted, passes: int) -> None:
    """Some more passes of a trained model, over poisoned data."""
    more = replace(recipe, patience=passes / (recipe.epochs / recipe.patience))
    plain(more, model, planted.images, planted.labels, np.random.default_rng(0))


# What is done to a clean model that takes images from 0 to 1.
PlantInModel = Callable[[Recipe, keras.Model, np.ndarray, np.ndarray, np.random.Generator], tuple[keras.Model, Planted]]
MODEL_ATTACKS: dict[str, PlantInModel] = {"neuron": neuron, "pruning-aware": pruning_aware, "embedding": embedding}
