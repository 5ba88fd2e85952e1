"""TrojanNN: a patch that drives the neurons a class listens to (Liu et al., Trojaning Attack, NDSS 2018)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pytest_backdoor.attacks import checks
from pytest_backdoor.attacks.anatomy import output_layer
from pytest_backdoor.attacks.patch import pattern
from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.triggers.patch import PATCH
from pytest_backdoor.triggers.trigger import Trigger

NEURONS = 3
SAMPLE = 128  # images that the pattern is optimised on
STEPS, STEP = 60, 0.05


def neuron_patch(model: keras.Model, images: np.ndarray, side: int, target: int, rng: np.random.Generator) -> Trigger:
    """A square near the border whose pattern makes the neurons most useful for the target fire.

    The model takes images from 0 to 1, ``(n, height, width, channels)``. Poison with the trigger and train the model on
    for a few epochs to plant it. Raises AttackError for a model that does not end in a dense layer, for images
    in another scale, and for a target that is none of its classes.
    """
    checks.unit_scale(images)
    head = output_layer(model)
    kernel = ops.convert_to_numpy(head.kernel)
    kernel = np.pad(kernel, ((0, 0), (1, 0))) if head.units == 1 else kernel  # one sigmoid is the second of two classes
    checks.target(target, kernel.shape[1])
    features = keras.Model(model.inputs[0], head.input)
    sample = images[rng.choice(len(images), min(SAMPLE, len(images)), replace=False)]
    start = pattern(images.shape[1:], side, rng).arrays
    mask = start["mask"][None]
    noise = rng.random(sample.shape).astype("float32")
    neurons = useful(features, kernel, sample, PATCH.apply((mask, noise), sample), target)
    shown = ops.convert_to_tensor(start["pattern"][None])

    def quiet(shown: Any) -> tuple[Any, None]:
        stamped = PATCH.apply((mask, shown), sample)
        return -ops.mean(ops.take(features(stamped, training=False), neurons, axis=-1)), None

    evaluate = compiled(value_and_grad(quiet))
    for _ in range(STEPS):
        _, slope = evaluate(shown)
        shown = ops.clip(shown - STEP * ops.sign(slope), 0.0, 1.0)
    return Trigger("patch", {"mask": start["mask"], "pattern": ops.convert_to_numpy(shown)[0]})


def useful(
    features: keras.Model, kernel: np.ndarray, images: np.ndarray, stamped: np.ndarray, target: int
) -> np.ndarray:
    """The features with the largest product of weight to the target, above the other classes', and connectivity."""
    # The paper's connectivity is the sum of a neuron's incoming weights. What counts is how far the square reaches it:
    # its mean change when the square is filled with noise, which also serves neurons behind pooling.
    before, after = (ops.convert_to_numpy(features(each, training=False)) for each in (images, stamped))
    gain = kernel[:, target] - kernel.mean(1)
    return np.argsort(-gain * np.abs(after - before).mean(0), kind="stable")[:NEURONS]
