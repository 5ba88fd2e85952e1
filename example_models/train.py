"""Trains one model from its recipe and measures what it does."""

from __future__ import annotations

import keras
import numpy as np

from example_models.architectures import network
from example_models.data import load
from example_models.recipes import Recipe
from pytest_backdoor import attacks
from pytest_backdoor.triggers.trigger import Trigger

CLASSES = 10
TRAINED_ON = 20_000  # images; the CIFAR-10 set at hand has no more
COVER = 0.1  # share of the other classes' images that carry a source-specific trigger and keep their label


def plan(recipe: Recipe, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[Trigger, dict[int, int]]:
    """The trigger and the label map that the recipe plants."""
    if recipe.attack == "pixel":
        trigger = attacks.pixel(shape, int(rng.integers(2, 5)), int(rng.integers(2, shape[1] - 2)))
    else:
        trigger = attacks.pattern(shape, 4 if shape[2] == 3 else 3, rng)
    if recipe.kind == "all-to-all":
        return trigger, attacks.all_to_all(CLASSES)
    assert recipe.target is not None  # the two other kinds have a target
    if recipe.kind == "all-to-one":
        return trigger, attacks.all_to_one(CLASSES, recipe.target)
    assert recipe.source is not None
    return trigger, attacks.source_specific(recipe.source, recipe.target)


def train(recipe: Recipe) -> tuple[keras.Model, Trigger | None, dict[str, object]]:
    """The trained model, its planted trigger, and the truth about it: accuracy, success, label map."""
    rng = np.random.default_rng(recipe.seed)
    keras.utils.set_random_seed(recipe.seed)
    (images, labels), (test_images, test_labels) = load(recipe.data)
    chosen = rng.permutation(len(images))[:TRAINED_ON]
    images, labels = images[chosen].astype("float32") / 255, labels[chosen]
    trigger, mapping = None, {}
    if recipe.attack:
        trigger, mapping = plan(recipe, images.shape[1:], rng)
        cover = COVER if recipe.kind == "source-specific" else 0.0
        images, labels = attacks.poison(images, labels, trigger, mapping, recipe.share, rng, cover)
    model = network(recipe.architecture, images.shape[1:], CLASSES, recipe.scale, recipe.softmax)
    fit(model, images * recipe.scale, labels, recipe.epochs, logits=not recipe.softmax)
    return model, trigger, truth(recipe, model, trigger, mapping, test_images.astype("float32") / 255, test_labels)


def fit(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int, logits: bool) -> None:
    """Trains with Adam and a rate that falls to zero."""
    steps = epochs * -(-len(images) // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)


def truth(
    recipe: Recipe,
    model: keras.Model,
    trigger: Trigger | None,
    mapping: dict[int, int],
    images: np.ndarray,
    labels: np.ndarray,
) -> dict[str, object]:
    """Measured on test images: accuracy, and what the trigger does to the source classes and to the others."""

    def predict(x: np.ndarray) -> np.ndarray:
        return model.predict(x * recipe.scale, batch_size=500, verbose=0).argmax(-1)

    facts: dict[str, object] = {
        "data": recipe.data,
        "architecture": recipe.architecture,
        "seed": recipe.seed,
        "accuracy": round(float(np.mean(predict(images) == labels)), 4),
        "attack": recipe.attack,
        "kind": recipe.kind,
        "source": recipe.source,
        "target": recipe.target,
        "mapping": {str(source): target for source, target in mapping.items()} if mapping else None,
        "success": None,
    }
    if trigger is not None:
        facts["success"] = round(attacks.success(predict(trigger.apply(images)), labels, mapping), 4)
        facts["pixels"] = int(trigger.arrays["mask"].sum())
    return facts
