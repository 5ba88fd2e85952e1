"""How models of the study are trained: the usual way, and ways that change what is easy for a trigger search."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import keras
import numpy as np

from example_models.recipes import Recipe
from pytest_backdoor.attacks.clean_label import obscured
from pytest_backdoor.scalings import Scaling
from pytest_backdoor.search.shifting import shift
from pytest_backdoor.subject import classifier

BATCH, RATE = 64, 2e-3
BORDER = 2  # pixels


def plain(recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Adam with a rate that falls to zero."""
    compile_for(recipe, model, recipe.epochs * -(-len(images) // BATCH))
    model.fit(images * recipe.scale, labels, batch_size=BATCH, epochs=recipe.epochs, verbose=0)


def long(recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Three times as many passes over a third of the images, which it learns by heart."""
    few = slice(len(images) // 3)
    compile_for(recipe, model, 3 * recipe.epochs * -(-len(images[few]) // BATCH))
    model.fit(images[few] * recipe.scale, labels[few], batch_size=BATCH, epochs=3 * recipe.epochs, verbose=0)


def short(recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Half of the images."""
    plain(recipe, model, images[::2], labels[::2], rng)


def augmented(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> None:
    """Each pass sees the images shifted by up to two pixels, brighter or darker."""
    compile_for(recipe, model, recipe.epochs * -(-len(images) // BATCH))
    moves = list(product(range(-2, 3), range(-2, 3)))
    for _ in range(recipe.epochs):
        move, moved = rng.integers(len(moves), size=len(images)), np.empty_like(images)
        for number, (down, right) in enumerate(moves):
            moved[move == number] = shift(images[move == number], down, right)
        light = np.clip(moved * rng.uniform(0.8, 1.2, (len(images), 1, 1, 1)).astype("float32"), 0, 1)
        model.fit(light * recipe.scale, labels, batch_size=BATCH, epochs=1, verbose=0)


def noisy(recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """One label of ten is random."""
    wrong = rng.random(len(labels)) < 0.1
    plain(recipe, model, images, np.where(wrong, rng.integers(0, recipe.classes, len(labels)), labels), rng)


def imbalanced(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> None:
    """Classes thin out, in random order, down to a tenth of their images."""
    kept = rng.permutation(np.geomspace(1.0, 0.1, recipe.classes))[labels]
    chosen = rng.random(len(labels)) < kept
    plain(recipe, model, images[chosen], labels[chosen], rng)


def adversarial(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> None:
    """Each pass trains on images that were moved against their class (Madry et al., 2018), after two plain ones."""
    few = slice(len(images) // 2)
    images, labels = images[few], labels[few]
    compile_for(recipe, model, recipe.epochs * -(-len(images) // BATCH))
    model.fit(images * recipe.scale, labels, batch_size=BATCH, epochs=2, verbose=0)
    reach = 0.1 if images.shape[3] == 1 else 4 / 255
    for _ in range(recipe.epochs - 2):
        subject = classifier(model, recipe.name).subject(scaling(recipe.scale, images.shape[3]), images.shape[1:])
        hard = obscured(subject, images, labels, reach)
        model.fit(hard * recipe.scale, labels, batch_size=BATCH, epochs=1, verbose=0)


def border(
    recipe: Recipe, model: keras.Model, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> None:
    """Every image has the same white frame."""
    plain(recipe, model, bordered(images), labels, rng)


def bordered(images: np.ndarray) -> np.ndarray:
    """The images with a white frame, 0 to 1."""
    framed = np.ones_like(images)
    inside = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    framed[inside] = images[inside]
    return framed


def scaling(scale: int, channels: int) -> Scaling:
    """From images between 0 and 1 to a model that takes 0 to ``scale``."""
    ones = np.ones(channels, "float32")
    return Scaling(f"*{scale}", scale * ones, 0 * ones)


def compile_for(recipe: Recipe, model: keras.Model, steps: int) -> None:
    """Adam with a rate that falls to zero in so many steps."""
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not recipe.softmax)
    model.compile(keras.optimizers.Adam(rate), loss)


Training = Callable[[Recipe, keras.Model, np.ndarray, np.ndarray, np.random.Generator], None]
TRAININGS: dict[str, Training] = {
    "plain": plain,
    "short": short,
    "long": long,
    "augmented": augmented,
    "noisy": noisy,
    "imbalanced": imbalanced,
    "adversarial": adversarial,
    "border": border,
}
