"""Input filter: a model around the model that answers "rejected", one class more, where blends stay predictable.

That is STRIP (Gao et al., ACSAC 2019) on each input, with the answer of Fine-Pruning's N + 1 classes: all of Keras' own
layers and operations, so that the file loads without code of ours. The model inside keeps its backdoor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.network import rebuilt, with_logits
from pytest_backdoor.subject import BATCH, Subject, classifier

STEEP = 1000.0  # logits per bit below the boundary: a thousandth of a bit decides


@dataclass(frozen=True, slots=True)
class Settings:
    """What is blended, and what is rejected."""

    overlays: int = 16  # clean images laid over each input; the filter takes so many times as long
    false_rejections: float = 0.01  # share of clean inputs below the boundary


def filtered(
    model: keras.Model, subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, float]:
    """The model behind the filter, with probabilities of all classes and of "rejected"; and its boundary in bits.

    Some of the seeds become the overlays, the entropies of the others set the boundary. Raises OutOfScopeError where
    there are too few seeds for both.
    """
    if len(seeds) <= settings.overlays:
        raise OutOfScopeError(
            f"the filter blends with {settings.overlays} seeds and sets its boundary by others, but {len(seeds)} seeds"
            " are all that it may use, half of those given. Give 100 or more."
        )
    order = rng.permutation(len(seeds))
    overlays, others = (seeds.images[part] for part in (order[: settings.overlays], order[settings.overlays :]))
    form = classifier(model, subject.name, subject.memory)
    inside = with_logits(rebuilt(model, model.get_weights()))
    shape = form.input_shape if len(form.input_shape) in (1, 2) else subject.image_shape
    images = keras.Input(shape)
    black = subject.scaling.scale(np.zeros_like(overlays))  # which a sum has once
    entropy = _entropy(inside, images, np.asarray(form.shaped(subject.scaling.scale(overlays) - black)))
    size = max(1, min(BATCH // 8, subject.together // settings.overlays))  # each image becomes as many as overlays
    measured = _entropies(keras.Model(images, entropy), np.asarray(form.shaped(subject.scaling.scale(others))), size)
    boundary = float(np.quantile(measured, settings.false_rejections))
    answers = ops.concatenate([ops.log_softmax(inside(images)), STEEP * (boundary - entropy)], axis=-1)
    return keras.Model(images, layers.Softmax(name="classes_and_rejected")(answers)), boundary


def _entropy(inside: keras.Model, images: Any, overlays: np.ndarray) -> Any:
    """Mean over the overlays of the entropy over the classes of each sum with one, in bits: ``(n, 1)``."""
    axes = "bcdef"[: overlays.ndim - 1]
    blend = layers.EinsumDense(
        f"a{axes},z->az{axes}", output_shape=overlays.shape, bias_axes=f"z{axes}", name="overlays", trainable=False
    )
    blends = ops.reshape(blend(images), (-1, *overlays.shape[1:]))  # (n * overlays, ...)
    blend.set_weights([np.ones(len(overlays), "float32"), overlays])
    surprises = ops.log_softmax(inside(blends))
    entropies = -ops.sum(ops.exp(surprises) * surprises, axis=-1) / float(np.log(2))
    return ops.mean(ops.reshape(entropies, (-1, len(overlays))), axis=1, keepdims=True)


def _entropies(entropy: keras.Model, images: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([entropy.predict_on_batch(images[s : s + size]) for s in range(0, len(images), size)])
