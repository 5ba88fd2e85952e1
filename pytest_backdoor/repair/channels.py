"""Channels of convolutions, and how one is silenced for good: by weights that are zero, without code of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pytest_backdoor.attacks.anatomy import readers
from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.subject import BATCH, Subject

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D)
ACTIVATIONS = (layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU)
# What leaves channels by themselves, and zero as it is.
THROUGH = (
    *(layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.MaxPooling2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Cropping2D, layers.UpSampling2D, layers.ZeroPadding2D),
)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution, the batch norms that read it, and the layer whose output is that of its channels."""

    layer: Any
    norms: tuple[Any, ...]
    ending: Any | None  # with the activation; None: what reads the channels is none, such as a sum

    @property
    def kernel(self) -> Any:
        """Weights of which the last axis counts the channels."""
        return getattr(self.layer, "pointwise_kernel", getattr(self.layer, "kernel", None))

    @property
    def weights(self) -> tuple[Any, ...]:
        """What must be zero of a channel, at its place on the last axis, for its output to be zero.

        The convolution then gives 0, which the batch norms leave as it is.
        """
        norms = [weight for norm in self.norms for weight in (norm.gamma, norm.beta, norm.moving_mean)]
        return tuple(each for each in (self.kernel, self.layer.bias, *norms) if each is not None)


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
    """Mean absolute output of each channel behind its activation, over images and places: ``(channels,)``.

    Raises OutOfScopeError where the activation is used more than once.
    """
    assert convolution.ending is not None  # whoever asks has seen that there is one
    places = [place for place, layer in enumerate(subject.layers) if layer.made_by is convolution.ending]
    if len(places) != 1:
        raise OutOfScopeError(
            f"{convolution.layer.name}, the last convolution, ends in {convolution.ending.name}, which is used "
            f"{len(places)} times, so that its channels cannot be told apart."
        )
    place = places[0]
    size = min(BATCH, subject.together)
    outputs = (
        np.abs(ops.convert_to_numpy(subject.activations(images[start : start + size])[1][place]))
        for start in range(0, len(images), size)
    )
    sums = [output.reshape(len(output), -1, output.shape[-1]).mean(1).sum(0) for output in outputs]
    return np.asarray(np.sum(sums, axis=0) / len(images))


def _silenceable(model: keras.Model, layer: Any) -> list[Convolution]:
    """The convolution with what follows it; nothing where LoRA adds to it or an activation makes something of zero."""
    if getattr(layer, "lora_enabled", False) or not _keeps_zero(layer):
        return []
    norms = dict.fromkeys(norm for use in layer._inbound_nodes for norm in _norms(model, use.output_tensors[0]))
    behind = [each for each in readers(model, layer) if not isinstance(each, THROUGH)]
    norm = behind.pop(0) if isinstance(next(iter(behind), None), layers.BatchNormalization) else None
    after = behind[0] if behind and isinstance(behind[0], ACTIVATIONS) else None
    own = layer if _activates(layer) else None
    ending = own or after if norm is None else after or own
    return [Convolution(layer, tuple(norms), ending if _keeps_zero(ending) else None)]


def _norms(model: keras.Model, made: Any) -> Iterator[Any]:
    """Every batch norm that is given this tensor, or what leaves its channels by themselves makes of it."""
    uses = (use for each in model.layers for use in each._inbound_nodes)
    for use in uses:
        if any(given is made for given in use.input_tensors):
            if isinstance(use.operation, layers.BatchNormalization):
                yield use.operation
            elif isinstance(use.operation, THROUGH):
                yield from _norms(model, use.output_tensors[0])


def _activates(layer: Any) -> bool:
    return getattr(layer, "activation", None) not in (None, keras.activations.linear)


def _keeps_zero(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is None or float(ops.convert_to_numpy(activation(ops.zeros((1, 1))))[0, 0]) == 0.0
