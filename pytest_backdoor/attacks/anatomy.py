"""What the attacks on a model take hold of: a copy of it, its last convolution, its features, its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from pytest_backdoor.attacks import checks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.network import for_any_batch, layers_of, normalise_again, output_activation

BATCH, RATE = 64, 1e-3  # of the training


def copied(model: keras.Model, rng: np.random.Generator, call: Callable[..., Any] | None = None) -> keras.Model:
    """A functional or sequential model again, with the same weights; its dropout draws from the generator.

    ``call(layer, *inputs)`` may put something behind a layer.
    """

    def same(layer: Any) -> Any:
        config = layer.get_config()
        seeded = {"seed": int(rng.integers(2**31))} if "seed" in config else {}
        return type(layer).from_config({**config, **seeded})

    model = for_any_batch(model)
    functional = keras.Model(model.inputs[0], model.outputs[0])
    copy = keras.models.clone_model(functional, clone_function=same, call_function=call)
    take_weights(copy, functional)
    return copy


def take_weights(model: keras.Model, source: keras.Model) -> None:
    """Gives every layer of the model the weights of the source's layer of that name."""
    for layer in filter(lambda each: each.weights, source.layers):  # the input's name is another one in a copy
        model.get_layer(layer.name).set_weights(layer.get_weights())
    normalise_again(model)


def output_layer(model: keras.Model) -> Any:
    """The dense layer that makes the logits; raises AttackError if there is none."""
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    if not dense or dense[-1].units != model.output_shape[-1]:
        raise AttackError(
            f"no dense layer of {model.output_shape[-1]} units ends the model, whose layers are {_kinds(model)}. "
            "Give a functional or sequential model that ends in one."
        )
    return dense[-1]


def features(model: keras.Model) -> Any:
    """What the output layer reads, before any dropout, which would hide from a discriminator what is there."""
    read = output_layer(model).input
    dropped = (layer for layer in model.layers if isinstance(layer, layers.Dropout) and layer.output is read)
    return next((layer.input for layer in dropped), read)


def last_convolution(model: keras.Model) -> Any:
    """The last convolution that a ReLU follows, or its batch norm: the layer that holds the channels' biases.

    Raises AttackError if there is none.
    """
    for layer in reversed(model.layers):
        if isinstance(layer, layers.Conv2D):
            reader = reader_of(model, layer)
            normalised = isinstance(reader, layers.BatchNormalization)
            holder = reader if normalised else layer
            if rectified(model, holder) and (holder.center if normalised else holder.use_bias):
                return holder
    raise AttackError(
        f"no convolution with a bias, or a batch norm, and a ReLU is among the model's layers: {_kinds(model)}. "
        "Give a functional or sequential convolutional network."
    )


def rectified(model: keras.Model, layer: Any) -> bool:
    """Whether a ReLU follows the layer, or is part of it."""
    return any(
        isinstance(each, layers.ReLU) or getattr(each, "activation", None) is keras.activations.relu
        for each in (layer, reader_of(model, layer))
    )


def reader_of(model: keras.Model, layer: Any) -> Any:
    """The first layer that reads nothing but this layer's output; None if there is none."""
    return next(readers(model, layer), None)


def readers(model: keras.Model, layer: Any) -> Iterator[Any]:
    """Layers one after another, the first of those that read nothing but the output of the one before."""
    uses = [_read_at(model, node.output_tensors[0]) for node in layer._inbound_nodes]
    use = next(filter(None, uses), None)  # a layer may be part of other models too
    while use is not None:
        yield use.operation
        use = _read_at(model, use.output_tensors[0])


def _read_at(model: keras.Model, tensor: Any) -> Any:
    """The first use of a layer that reads nothing but this tensor; None if there is none."""
    uses = (node for each in model.layers for node in each._inbound_nodes if len(node.input_tensors) == 1)
    return next((use for use in uses if use.input_tensors[0] is tensor), None)


def train(
    model: keras.Model,
    images: np.ndarray,
    targets: list[np.ndarray],
    losses: list[Any],
    epochs: int,
    rng: np.random.Generator,
    weights: list[np.ndarray] | None = None,
) -> None:
    """Trains the model in place with Adam and a rate that falls to zero, layers that were frozen too.

    There is one target array, loss and, if any, sample weight for each output. Raises AttackError for no images or
    epochs.
    """
    checks.count("the number of images", len(images))
    checks.count("epochs", epochs)
    for layer in layers_of(model):
        layer.trainable = True
    rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * -(-len(images) // BATCH))
    model.compile(keras.optimizers.Adam(rate), losses)
    for _ in range(epochs):
        order = rng.permutation(len(images))  # Keras would shuffle with its global generator
        shuffled = None if weights is None else [weight[order] for weight in weights]
        model.fit(
            images[order],
            [target[order] for target in targets],
            sample_weight=shuffled,
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )


def class_loss(model: keras.Model) -> Any:
    """The cross-entropy that fits the model's output, probabilities or logits, of all classes or the second of two."""
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy()
    return keras.losses.SparseCategoricalCrossentropy(output_activation(model) not in ("softmax", "sigmoid"))


def _kinds(model: keras.Model) -> str:
    return ", ".join(type(layer).__name__ for layer in model.layers)
