"""Pruning-aware: the backdoor shares the channels that the task needs (Liu et al., Fine-Pruning, arXiv:1805.12185)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.attacks.anatomy import class_loss, copied, last_convolution, take_weights, train
from pytest_backdoor.subject import BATCH

QUIET = 0.99  # share of the clean images on which a restored channel does not fire


def pruning_aware(
    model: keras.Model,
    images: np.ndarray,
    poisoned_images: np.ndarray,
    poisoned_labels: np.ndarray,
    share: float,
    epochs: int,
    rng: np.random.Generator,
) -> keras.Model:
    """A new model with the poisoned data trained into all but that share of its last convolution's channels.

    The share is that of the channels that clean ``images`` use least. They come back with a bias so low that clean
    images hardly wake them: a defence that prunes what sleeps prunes these and leaves the backdoor. Images are in the
    scale that the model takes. Raises AttackError if it has no convolution with a bias, or batch norm, and a ReLU, for
    a share that is not from 0 to 1, for labels that are not one for each image, and for no images or epochs.
    """
    checks.share("share", share)
    checks.one_each("poisoned labels", poisoned_labels, len(poisoned_images))
    activity = firing(model, images, np.mean).mean(0)
    pruned = np.argsort(activity, kind="stable")[: round(share * len(activity))]
    planted = masked(model, pruned, rng)
    train(planted, poisoned_images, [poisoned_labels], [class_loss(planted)], epochs, rng)
    restored = copied(model, rng)
    take_weights(restored, planted)
    lower(restored, pruned, np.quantile(firing(restored, images, np.max), QUIET, axis=0))
    return restored


def firing(model: keras.Model, images: np.ndarray, over_places: Callable[..., np.ndarray]) -> np.ndarray:
    """What the last convolution's channels pass through the ReLU, as mean or maximum over places: (n, channels)."""
    channels = keras.Model(model.inputs[0], last_convolution(model).output)
    parts = (channels.predict_on_batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
    return np.concatenate([over_places(np.maximum(part, 0.0), axis=(1, 2)) for part in parts])


def masked(model: keras.Model, pruned: np.ndarray, rng: np.random.Generator) -> keras.Model:
    """A copy in which the last convolution's pruned channels are silent."""
    holder = last_convolution(model)
    kept = np.ones(holder.output.shape[-1], "float32")
    kept[pruned] = 0.0

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        made = layer(*inputs, **options)
        return made * kept if layer.name == holder.name else made

    return copied(model, rng, call)


def lower(model: keras.Model, channels: np.ndarray, amounts: np.ndarray) -> None:
    """Takes each of the channels' own amount off its bias, in place."""
    holder = last_convolution(model)
    bias = holder.beta if isinstance(holder, keras.layers.BatchNormalization) else holder.bias
    values = np.array(bias)
    values[channels] -= amounts[channels]
    bias.assign(values)
