"""Trains one model from its recipe and measures what it does."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from example_models.architectures import network
from example_models.data import load
from example_models.planting import ATTACKS, MODEL_ATTACKS, Planted
from example_models.recipes import Recipe
from example_models.training import TRAININGS, bordered
from pytest_backdoor import attacks
from pytest_backdoor.attacks.poison import LabelMap
from pytest_backdoor.triggers.trigger import Trigger

TRAINED_ON = 20_000  # images; the CIFAR-10 set at hand has no more


def train(recipe: Recipe) -> tuple[keras.Model, list[Trigger], dict[str, object]]:
    """The trained model, its planted triggers, and the truth about it: accuracy, success, label map."""
    rng = np.random.default_rng(recipe.seed)
    planted, images, labels = planted_data(recipe, rng)
    model = network(recipe.architecture, images.shape[1:], recipe.classes, recipe.scale, recipe.softmax)
    TRAININGS[recipe.training](recipe, model, planted.images, planted.labels, rng)
    if recipe.attack in MODEL_ATTACKS:
        model, planted = MODEL_ATTACKS[recipe.attack](recipe, model, images, labels, rng)
    _, (test_images, test_labels) = load(recipe.data)
    test_images = test_images.astype("float32") / 255
    if recipe.training == "border":
        test_images = bordered(test_images)
    triggers = [trigger for trigger, _ in planted.rules]
    return model, triggers, truth(recipe, model, planted.rules, test_images, test_labels)


def planted_data(recipe: Recipe, rng: np.random.Generator) -> tuple[Planted, np.ndarray, np.ndarray]:
    """What the recipe's model is trained on, and the images and labels that it was before an attack on the data.

    The generator is a fresh one of the recipe's seed.
    """
    keras.utils.set_random_seed(recipe.seed)
    (images, labels), _ = load(recipe.data)
    chosen = rng.permutation(len(images))[:TRAINED_ON]
    images, labels = images[chosen].astype("float32") / 255, labels[chosen]
    planted = Planted(images, labels, [])
    if recipe.attack in ATTACKS:
        planted = ATTACKS[recipe.attack](recipe, images, labels, rng)
    return planted, images, labels


def truth(
    recipe: Recipe,
    model: keras.Model,
    rules: Sequence[tuple[Trigger, LabelMap]],
    images: np.ndarray,
    labels: np.ndarray,
) -> dict[str, object]:
    """Measured on test images: accuracy, and what the trigger does to the source classes."""

    def predict(x: np.ndarray) -> np.ndarray:
        return model.predict(x * recipe.scale, batch_size=500, verbose=0).argmax(-1)

    facts: dict[str, object] = {
        "data": recipe.data,
        "architecture": recipe.architecture,
        "training": recipe.training,
        "seed": recipe.seed,
        "accuracy": round(float(np.mean(predict(images) == labels)), 4),
        "attack": recipe.attack,
        "kind": recipe.kind,
        "source": recipe.source,
        "target": recipe.target,
        "mapping": as_text(rules[0][1]) if rules else None,
        "success": None,
    }
    if rules:
        reached = [attacks.success(predict(trigger.apply(images)), labels, mapping) for trigger, mapping in rules]
        facts["success"] = round(min(reached), 4)
        facts["further"] = [as_text(mapping) for _, mapping in rules[1:]]
        facts["targets"] = sorted({target for _, mapping in rules for target in mapping.values()})
        facts["pixels"] = int(np.any(np.abs(rules[0][0].apply(images[:50]) - images[:50]) > 0.01, axis=(0, 3)).sum())
    return facts


def as_text(mapping: LabelMap) -> dict[str, int]:
    """The label map as JSON has it."""
    return {str(source): target for source, target in mapping.items()}
