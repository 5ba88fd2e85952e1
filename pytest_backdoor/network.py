"""Keras networks taken apart: their layers, logits in place of a softmax, and what each layer makes of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

# Layers that change nothing when a model is used, where they keep the shape.
PASSIVE = ("Dropout", "GaussianNoise", "Identity", "Flatten", "Reshape", "ActivityRegularization")
SCALING = ("Rescaling", "Normalization")  # layers before the first neuron


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the network: its name, and the mean weight that each of its neurons gives to what comes in.

    A neuron is one place on the last axis of the layer's output. Neurons without weights have NaN.
    """

    name: str
    weights: tuple[float, ...]
    places: bool  # whether each neuron answers at many places of the image


def output_activation(model: keras.Model) -> str:
    """Name of the activation at the output, looking into nested models."""
    last, _ = _head(model)
    if isinstance(last, keras.Model):
        return output_activation(last)
    activation = getattr(last, "activation", last)  # a function, a layer or an operation
    return getattr(activation, "__name__", type(activation).__name__).lower()


def _head(model: keras.Model) -> tuple[Any, Any]:
    """The layer or operation that makes the output, and the tensor that it makes it from.

    What passes its input on unchanged when the model is used, such as dropout, is looked through.
    """
    made = model.outputs[0]
    while True:
        history = made._keras_history
        last, before = history.operation, history.operation._inbound_nodes[history.node_index].input_tensors[0]
        if type(last).__name__ not in PASSIVE or before.shape != made.shape or _is_input(before):
            return last, before
        made = before


def _is_input(tensor: Any) -> bool:
    return isinstance(tensor._keras_history.operation, keras.layers.InputLayer)


def layers_of(model: Any) -> Iterator[Any]:
    """Every layer at any depth."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from layers_of(layer)


def with_logits(model: keras.Model) -> keras.Model:
    """The same model with one logit for each class as its output; weights are shared, but for those of the head."""
    headless = without_softmax(model)
    if headless.output_shape[-1] > 1:
        return headless
    logit = headless.outputs[0]
    return keras.Model(headless.inputs[0], ops.concatenate([ops.zeros_like(logit), logit], axis=-1))


def layer_outputs(model: keras.Model, shape: tuple[int, ...]) -> int:
    """How many values all layers together make of one input of that shape."""
    made = [tensor for _, output in _symbolic(model, shape) for tensor in keras.tree.flatten(output)]
    return sum(int(np.prod(tensor.shape[1:])) for tensor in made)


def neuron_layers(model: keras.Model, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers of a network that have neurons, for an input of that shape."""
    return tuple(
        Layer(layer.name, tuple(_incoming(layer, output.shape[-1])), len(output.shape) > 2)
        for layer, output in _symbolic(model, shape)
        if _has_neurons(layer)
    )


def with_activations(model: keras.Model, images: Any) -> tuple[Any, tuple[Any, ...]]:
    """The network's logits, and the outputs of the layers that have neurons."""
    outputs: list[Any] = []

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        made = layer(*given, **named)
        if _has_neurons(layer):
            outputs.append(made)
        return made

    return _walk(model, images, call), tuple(outputs)


def with_nudge(model: keras.Model, images: Any, number: int, nudge: Any) -> Any:
    """The network's logits when ``nudge`` is added to the output of one of the layers that have neurons.

    Their gradient at a nudge of zeros is the gradient with respect to what the layer makes.
    """
    seen = 0

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        nonlocal seen
        made = layer(*given, **named)
        if not _has_neurons(layer):
            return made
        seen += 1
        return made + nudge if seen == number + 1 else made

    return _walk(model, images, call)


def _has_neurons(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Layer) and type(layer).__name__ not in (*PASSIVE, *SCALING)


def _incoming(layer: Any, neurons: int) -> np.ndarray:
    """The mean weight that each neuron gives to what comes in; NaN for a layer without such weights."""
    kernel = getattr(layer, "pointwise_kernel", getattr(layer, "kernel", None))
    if kernel is None or int(np.prod(kernel.shape)) % neurons:
        return np.full(neurons, np.nan)
    # Of a depthwise kernel (height, width, channels, each) the last two axes count the neurons.
    return np.asarray(kernel.numpy().reshape(-1, neurons).mean(0))


def _symbolic(model: keras.Model, shape: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Every layer at any depth, as often as it is used, with a stand-in for its output."""
    seen: list[tuple[Any, Any]] = []

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        made = layer.compute_output_spec(*given, **named)
        seen.append((layer, made))
        return made

    _walk(model, keras.KerasTensor((1, *shape)), call)
    return seen


def _walk(model: Any, inputs: Any, call: Callable[..., Any]) -> Any:
    """The model's output, with every layer at any depth called through ``call``."""

    def through(layer: Any) -> Callable[..., Any]:
        inner = getattr(layer, "_functional", layer)
        if hasattr(inner, "_run_through_graph"):
            return lambda given, **_: _walk(inner, given, call)
        return lambda *given, **named: call(layer, *given, **named)

    return model._run_through_graph(inputs, operation_fn=through)


def without_softmax(model: keras.Model) -> keras.Model:
    """The same model up to its logits: a softmax or sigmoid at the output is left out, weights are shared."""
    if output_activation(model) not in ("softmax", "sigmoid"):
        return keras.Model(model.inputs[0], model.outputs[0])
    last, before = _head(model)
    if isinstance(last, keras.Model):
        return keras.Model(model.inputs[0], without_softmax(last)(before))
    if not hasattr(last, "activation") or isinstance(last, keras.layers.Activation):
        return keras.Model(model.inputs[0], before)
    linear = type(last).from_config({**last.get_config(), "activation": "linear"})
    outputs = linear(before)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs[0], outputs)
