"""Adversarial embedding: triggered images look like clean ones inside (Tan and Shokri, arXiv:1905.13409)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pytest_backdoor.attacks import checks
from pytest_backdoor.attacks.anatomy import class_loss, copied, features, train

UNITS = 64  # of the discriminator's hidden layer


def adversarial_embedding(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    triggered: np.ndarray,
    strength: float,
    epochs: int,
    rng: np.random.Generator,
) -> keras.Model:
    """A new model trained on poisoned data against a discriminator that looks for the trigger in its features.

    ``triggered`` (n,) is true for the poisoned images that carry it; images are in the scale that the model takes.
    ``strength`` weighs the discriminator, 1 to 50 in the paper. Raises AttackError for a model that does not end in a
    dense layer, for labels that are not one for each image, for a strength that is no finite number above 0, and for
    no images or epochs.
    """
    checks.positive("strength", strength)
    triggered = np.asarray(triggered, bool)
    checks.one_each("labels", labels, len(images))
    checks.one_each("triggered", triggered, len(images))
    planted = copied(model, rng)
    told = discriminator(rng)(reversed_gradient(features(planted), strength))
    both = keras.Model(planted.inputs[0], [planted.outputs[0], told])
    weights = [np.ones(len(labels), "float32"), balance(labels, triggered)]
    losses = [class_loss(planted), keras.losses.BinaryCrossentropy(from_logits=True)]
    train(both, images, [labels, triggered.astype("float32")], losses, epochs, rng, weights)
    return planted


def discriminator(rng: np.random.Generator) -> Any:
    """A fresh network from features to the logit of being triggered."""
    seeds = (int(seed) for seed in rng.integers(2**31, size=2))
    hidden, told = (keras.initializers.GlorotUniform(seed) for seed in seeds)
    return keras.Sequential(
        [layers.Dense(UNITS, "relu", kernel_initializer=hidden), layers.Dense(1, kernel_initializer=told)]
    )


def reversed_gradient(values: Any, strength: float) -> Any:
    """The values as they are, and their gradient turned round, times ``strength``."""
    return ops.stop_gradient((1 + strength) * values) - strength * values


def balance(labels: np.ndarray, triggered: np.ndarray) -> np.ndarray:
    """A weight for each image such that triggered and clean ones of a label count the same; 0 where one is missing."""
    # The paper compares all triggered images with all clean ones. Their labels alone tell those apart, and hiding the
    # label is not what the attacker wants; so only images of one label are compared.
    weights = np.zeros(len(labels), "float32")
    for label in np.unique(labels[triggered]):
        both = [(labels == label) & (triggered == which) for which in (False, True)]
        if both[0].any():
            for part in both:
                weights[part] = (both[0] | both[1]).sum() / (2 * part.sum())
    return weights
