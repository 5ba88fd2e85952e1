"""Pruning against a plain and a pruning-aware backdoor: ``python -m example_models.pruning_study DIR -o docs``.

Repeats Fine-Pruning (Liu et al., arXiv:1805.12185) on traffic signs that a yellow square turns into stop signs. Models
are kept in DIR, so that the study resumes; ``pruning.json`` and ``pruning.svg`` are written into the folder of ``-o``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from example_models.data import load
from example_models.training import scaling
from pytest_backdoor import attacks
from pytest_backdoor.attacks.anatomy import class_loss, copied, train
from pytest_backdoor.attacks.pruning_aware import masked
from pytest_backdoor.triggers.trigger import Trigger

TRAINED_ON, SEEDS = 14_000, 2_000  # images; the defender's seeds are none of those
EPOCHS, TUNING = 8, 5  # passes of the training, and of the fine-tuning on the seeds
CLASSES, TARGET = 43, 14  # the stop sign
SQUARE = 4  # pixels
YELLOW = (1.0, 1.0, 0.0)
POISONED = 0.1  # share of the training images
SLEEPING = 0.5  # share of the channels that the pruning-aware attack leaves to be pruned
DROP = 0.05  # of accuracy, where the defender stops


@dataclass(frozen=True, slots=True, eq=False)
class Signs:
    """Traffic signs from 0 to 1 with their classes."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What the attacker trains on, what the defender has, and what both are measured on."""

    training: Signs
    seeds: Signs
    test: Signs


def data() -> Data:
    """The three parts of GTSRB."""
    (images, labels), (test_images, test_labels) = load("gtsrb")
    order = np.random.default_rng(0).permutation(len(images))
    training, seeds = order[:TRAINED_ON], order[TRAINED_ON : TRAINED_ON + SEEDS]

    def signs(chosen: np.ndarray, classes: np.ndarray) -> Signs:
        return Signs(chosen.astype("float32") / 255, classes)

    return Data(
        signs(images[training], labels[training]), signs(images[seeds], labels[seeds]), signs(test_images, test_labels)
    )


def yellow_square(shape: tuple[int, int, int]) -> Trigger:
    """The square, below the middle of the image."""
    mask, shown = np.zeros((*shape[:2], 1), "float32"), np.zeros(shape, "float32")
    place = (slice(-SQUARE - 4, -4), slice(shape[1] // 2, shape[1] // 2 + SQUARE))
    mask[place], shown[place] = 1.0, YELLOW
    return Trigger("patch", {"mask": mask, "pattern": shown})


def untrained(shape: tuple[int, int, int]) -> keras.Model:
    """Three convolutions with max pooling, the last of 64 channels, and two dense layers."""
    inputs = x = keras.Input(shape)
    for filters in (16, 32, 64):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def fitted(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """The model itself, trained in place."""
    train(model, images, [labels], [class_loss(model)], epochs, np.random.default_rng(0))
    return model


def kept(path: Path, make: Callable[[], keras.Model]) -> keras.Model:
    """The model of that file, made first where there is none."""
    if not path.exists():
        partial = path.with_suffix(".partial.keras")
        make().save(partial)
        partial.rename(path)
        print(f"trained {path.stem}", flush=True)
    return keras.models.load_model(path, compile=False)


def backdoored(root: Path, signs: Signs) -> dict[str, keras.Model]:
    """A model that was trained on poisoned images, and one that was made so that pruning misses the backdoor."""
    keras.utils.set_random_seed(0)
    shape, rng = signs.images.shape[1:], np.random.default_rng(0)
    rule = attacks.all_to_one(CLASSES, TARGET)
    poisoned = attacks.poison(signs.images, signs.labels, yellow_square(shape), rule, POISONED, rng)
    plain = kept(root / "plain.keras", lambda: fitted(untrained(shape), *poisoned, EPOCHS))
    clean = kept(root / "clean.keras", lambda: fitted(untrained(shape), signs.images, signs.labels, EPOCHS))

    def hidden() -> keras.Model:
        return attacks.pruning_aware(clean, signs.images[:SEEDS], *poisoned, SLEEPING, EPOCHS // 2, rng)

    return {"plain": plain, "pruning-aware": kept(root / "pruning-aware.keras", hidden)}
