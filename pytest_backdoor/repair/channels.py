"""Channels of convolutions, and how one is silenced for good: by weights that are zero, without code of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pytest_backdoor.attacks.anatomy import reader_of
from pytest_backdoor.subject import BATCH, Subject

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D)
ACTIVATIONS = (layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution, the batch norm that reads it, and the layer whose output is that of its channels."""

    layer: Any
    norm: Any | None
    ending: Any | None  # with the activation; None: what reads the channels is none, such as a sum

    @property
    def kernel(self) -> Any:
        """Weights of which the last axis counts the channels."""
        return getattr(self.layer, "pointwise_kernel", getattr(self.layer, "kernel", None))

    @property
    def weights(self) -> tuple[Any, ...]:
        """What must be zero of a channel, at its place on the last axis, for its output to be zero.

        The convolution then gives 0, which the batch norm leaves as it is.
        """
        norm = () if self.norm is None else (self.norm.gamma, self.norm.beta, self.norm.moving_mean)
        return tuple(each for each in (self.kernel, self.layer.bias, *norm) if each is not None)


def convolutions(model: keras.Model) -> list[Convolution]:
    """Those at any depth whose channels can be silenced by weights, in the order of the computation."""
    found: list[Convolution] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += convolutions(layer)
        elif isinstance(layer, CONVOLUTIONS):
            found += _silenceable(model, layer)
    return found


def masks(model: keras.Model, silenced: Iterable[tuple[Convolution, np.ndarray]]) -> list[np.ndarray]:
    """For each of the model's weights, 0 where it belongs to one of these channels of its convolutions, else 1."""
    kept = {id(weight): np.ones(weight.shape, "float32") for weight in model.weights}
    for convolution, channels in silenced:
        for weight in convolution.weights:
            kept[id(weight)][..., channels] = 0.0
    return list(kept.values())


def activity(subject: Subject, convolution: Convolution, images: np.ndarray) -> np.ndarray:
    """Mean absolute output of each channel behind its activation, over images and places: ``(channels,)``."""
    place = [layer.name for layer in subject.layers].index(convolution.ending.name)  # type: ignore[union-attr]
    size = min(BATCH, subject.together)
    sums = [
        np.abs(ops.convert_to_numpy(subject.activations(images[start : start + size])[1][place])).mean((1, 2)).sum(0)
        for start in range(0, len(images), size)
    ]
    return np.asarray(np.sum(sums, axis=0) / len(images))


def _silenceable(model: keras.Model, layer: Any) -> list[Convolution]:
    """The convolution with what follows it; nothing where an activation makes something of zero."""
    reader = reader_of(model, layer)
    norm = reader if isinstance(reader, layers.BatchNormalization) else None
    if not _keeps_zero(layer):
        return []
    ending = _ending(model, layer) if norm is None else _ending(model, norm)
    return [Convolution(layer, norm, ending if _keeps_zero(ending) else None)]


def _ending(model: keras.Model, holder: Any) -> Any | None:
    if getattr(holder, "activation", None) not in (None, keras.activations.linear):
        return holder
    reader = reader_of(model, holder)
    return reader if isinstance(reader, ACTIVATIONS) else None


def _keeps_zero(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is None or float(ops.convert_to_numpy(activation(ops.zeros((1, 1))))[0, 0]) == 0.0
