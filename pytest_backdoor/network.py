"""Keras networks taken apart: their layers, logits in place of a softmax, and what each layer makes of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from pytest_backdoor.errors import OutOfScopeError

# Layers that change nothing when a model is used; with those that change the shape at most.
IDLE = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout"),
    *("GaussianNoise", "Identity", "ActivityRegularization"),
)
PASSIVE = (*IDLE, "Flatten", "Reshape")
SCALING = ("Rescaling", "Normalization")  # layers before the first neuron
# Layers that take each channel by itself, so that a channel is still the same one behind them.
CHANNELWISE = (*IDLE, "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Add")
ATTENTION = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
)
RECURRENCE = (keras.layers.RNN, keras.layers.Bidirectional)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
LARGE = 2**22  # values of an image, a thousand times a thousand pixels in colour and more
CROWD = 1009  # images, a number that no layer has of anything else
LEAST = 1e-30  # of a probability
LEAST_HALF = 1e-4  # of one in float16, which cannot hold the slope of the logarithm of a smaller one
Part = Literal["channels", "units"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the network: its name, and the mean weight that each of its neurons gives to what comes in.

    A neuron is one place on the last axis of the layer's output. Neurons without weights have NaN.
    """

    name: str
    weights: tuple[float, ...]
    places: bool  # whether each neuron answers at many places of the image
    made_by: Any = field(default=None, compare=False, repr=False)  # the Keras layer
    # What of a hidden layer others read here, behind norm, activation and sum: a convolution's channels, a dense
    # layer's units; None where neither.
    holds: Part | None = None


def output_activation(model: keras.Model) -> str:
    """Name of the activation at the output, looking into nested models."""
    head = _head(model)
    if head.opens:
        return output_activation(head.layer)
    activation = getattr(head.layer, "activation", head.layer)  # a function, a layer or an operation
    return getattr(activation, "__name__", type(activation).__name__).lower()


class Head(NamedTuple):
    """The layer or operation that makes the output of a model."""

    layer: Any
    before: Any  # the tensor that it makes it from
    alone: bool  # whether it is given nothing else, such as a mask

    @property
    def opens(self) -> bool:
        """Whether it is a model of layers with one input and one output."""
        return _has_graph(self.layer) and self.alone and len(self.layer.inputs) == len(self.layer.outputs) == 1


def _head(model: keras.Model) -> Head:
    """What makes the output; what passes its input on unchanged when the model is used is looked through."""
    made = model.outputs[0]
    while True:
        history = made._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        given = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
        head = Head(history.operation, node.input_tensors[0], sum(each is not None for each in given) == 1)
        passive = type(head.layer).__name__ in PASSIVE and head.alone and head.before.shape == made.shape
        if not passive or _is_input(head.before):
            return head
        made = head.before


def _is_input(tensor: Any) -> bool:
    return isinstance(tensor._keras_history.operation, keras.layers.InputLayer)


def layers_of(model: Any) -> Iterator[Any]:
    """Every layer at any depth."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from layers_of(layer)


def _has_graph(layer: Any) -> bool:
    """Whether this is a model made of layers, whose outputs follow from its inputs, and no class of its own."""
    return hasattr(getattr(layer, "_functional", layer), "_run_through_graph")


def overridden(model: Any) -> str | None:
    """Name of the model, or of one in its graph, whose own ``call`` may do more than its layers; None if none has one.

    The searches follow the graph of the layers and would not see it.
    """
    if not _has_graph(model):
        return None
    if not type(model).call.__module__.startswith("keras."):
        return str(model.name)
    return next(filter(None, map(overridden, model.layers)), None)


def for_any_batch(model: keras.Model) -> keras.Model:
    """The model for any number of images; a Sequential that its first call built says it takes as many as that had."""
    given = next(iter(getattr(model, "inputs", None) or ()), None)
    bound = type(model) is not keras.Sequential or any(getattr(layer, "stateful", False) for layer in layers_of(model))
    if bound or given is None or given.shape[0] is None:
        return model
    return keras.Sequential([keras.Input(given.shape[1:], dtype=given.dtype), *model.layers], name=model.name)


def most_axes(model: Any) -> int:
    """The most axes that anything in the network has, at any depth."""
    operations = getattr(model, "_functional", model).operations
    nodes = [node for operation in operations for node in operation._inbound_nodes]
    own = [len(tensor.shape) for node in nodes for tensor in node.output_tensors]
    return max(*own, *(most_axes(operation) for operation in operations if _has_graph(operation)), 0)


def has_batch_norm(model: Any) -> bool:
    """Whether any layer normalises by the statistics of a batch."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers_of(model))


def mixing(model: Any) -> str:
    """What the network has beside convolutions and dense layers: attention, recurrence, or nothing that is known."""
    found = list(layers_of(model))
    if any(isinstance(layer, ATTENTION) for layer in found):
        return "attention"
    return "recurrence" if any(isinstance(layer, RECURRENCE) for layer in found) else ""


def rebuilt(model: keras.Model, weights: Sequence[np.ndarray]) -> keras.Model:
    """The same network with these weights, as Keras saves and loads it, for any number of images.

    Raises OutOfScopeError for a model that Keras cannot copy.
    """
    try:
        made = keras.models.clone_model(for_any_batch(model))
    except (NotImplementedError, TypeError, ValueError) as problem:
        raise OutOfScopeError(f"Keras cannot copy the model, so no changed copy can be made: {problem}") from problem
    made.set_weights(weights)
    normalise_again(made)
    return made


def normalise_again(model: keras.Model) -> None:
    """Makes Normalization layers use the mean and the variance that ``set_weights`` has given them, as loading does."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def with_logits(model: keras.Model) -> keras.Model:
    """The same model with one logit for each class as its output; weights are shared, but for those of the head."""
    headless = without_softmax(model)
    if headless.output_shape[-1] == 1:
        logit = headless.outputs[0]
        headless = keras.Model(headless.inputs[0], ops.concatenate([ops.zeros_like(logit), logit], axis=-1))
    return with_logs(headless) if output_activation(headless) != "linear" and _gives_shares(headless) else headless


def _gives_shares(model: keras.Model) -> bool:
    """Whether the outputs are probabilities all the same, as those of models that are averaged behind their softmax."""
    shape = model.inputs[0].shape[1:]
    if None in shape or np.prod(shape) > LARGE:
        return False
    images = np.random.default_rng(0).random((4, *shape), "float32")
    answers = ops.convert_to_numpy(model(images, training=False))
    return bool((answers >= 0).all() and np.allclose(answers.sum(-1), 1.0, atol=1e-3))


def with_logs(model: keras.Model) -> keras.Model:
    """The same model with the logarithms of its outputs, probabilities, which are logits; of one class, of its odds."""
    least = LEAST_HALF if model.outputs[0].dtype == "float16" else LEAST
    made = ops.cast(model.outputs[0], "float32")
    logs = ops.log(ops.maximum(made, least))
    return keras.Model(model.inputs[0], logs if made.shape[-1] > 1 else logs - ops.log(ops.maximum(1 - made, least)))


def layer_outputs(model: keras.Model, shape: tuple[int, ...]) -> int:
    """How many values all layers together make of one input of that shape."""
    uses = _symbolic(model, shape)
    made = [tensor for use in uses for tensor in keras.tree.flatten(use.made)]
    if any(side is None for tensor in made for side in tensor.shape):
        raise OutOfScopeError("how much a layer of the model puts out depends on the image, which has no gradients.")
    return sum(int(np.prod(tensor.shape[1:])) for tensor in made) + sum(map(_scores, uses))


def _scores(use: Use) -> int:
    """How many scores a layer of attention holds, one for each head, place that asks and place that is asked."""
    if not isinstance(use.layer, ATTENTION):
        return 0
    asking, *asked = [int(np.prod(each.shape[1:-1])) for each in use.given if isinstance(each, keras.KerasTensor)]
    heads = getattr(use.layer, "num_heads", getattr(use.layer, "num_query_heads", 1))
    return int(heads * asking * (asked or [asking])[0])


def across_batch(model: keras.Model, shape: tuple[int, ...]) -> str | None:
    """Name of a layer that brings the images of one batch together, of that shape each; None if none does."""
    for use in _symbolic(model, shape, CROWD):
        shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(use.made)]
        if any(made[:1] != (CROWD,) or CROWD in made[1:] for made in shapes) or _along_batch(use):
            return str(use.layer.name)
    return None


def _along_batch(use: Use) -> bool:
    """Whether a layer or operation, such as sort, works along the axis of the images."""
    axis = getattr(use.layer, "axis", ())
    if axis is None:
        return type(use.layer).__name__ in ("Flip", "Roll")  # of all axes; of others it shows in the shape
    axes = axis if isinstance(axis, list | tuple) else (axis,)
    tensors = [each for each in (*use.given, *keras.tree.flatten(use.made)) if isinstance(each, keras.KerasTensor)]
    rank = max(len(tensor.shape) for tensor in tensors)  # of one_hot and the like that of what is made counts
    return any(each in (0, -rank) for each in axes)


def neuron_layers(model: keras.Model, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers of a network that have neurons, for an input of that shape."""
    uses = _symbolic(model, shape)
    held = _held(uses)
    return tuple(_layer(use, held.get(number)) for number, use in enumerate(uses) if _has_neurons(use.layer, use.made))


def _layer(use: Use, held: Part | None) -> Layer:
    shape = use.made.shape
    weights = tuple(_incoming(use.layer, shape[-1]))
    return Layer(use.layer.name, weights, len(shape) > 2, use.layer, held)


def with_activations(model: keras.Model, images: Any) -> tuple[Any, tuple[Any, ...]]:
    """The network's logits, and the outputs of the layers that have neurons."""
    outputs: list[Any] = []

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        made = layer(*given, **named)
        if _has_neurons(layer, made):
            outputs.append(made)
        return made

    return _walk(model, images, call), tuple(outputs)


def with_output(model: keras.Model, images: Any, place: int, output: Any) -> Any:
    """The network's logits when, of the layers that have neurons, the one at that place puts out ``output`` instead."""
    places = count()

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        made = layer(*given, **named)
        return output if _has_neurons(layer, made) and next(places) == place else made

    return _walk(model, images, call)


def with_features(model: keras.Model, images: Any) -> Any:
    """What the last layer with weights, which makes the logits, is given."""
    features: list[Any] = []

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        if _kernel(layer) is not None:
            features[:] = given[:1]
        return layer(*given, **named)

    _walk(model, images, call)
    return features[0]


def _held(uses: list[Use]) -> dict[int, Part]:
    """By number of the use: what of the layers with weights, but for the last, which makes the logits, others read."""
    weighted = [number for number, use in enumerate(uses) if _kernel(use.layer) is not None]
    return {_read_at(uses, number): _part(uses[number].layer) for number in weighted[:-1]}


def _part(layer: Any) -> Part:
    return "channels" if len(_kernel(layer).shape) > 2 else "units"


def _read_at(uses: list[Use], number: int) -> int:
    """The last layer in the chain from this one on that alone reads the one before, and channel by channel.

    An operation, such as the sum of ``x + y``, is looked through: its output is that of no layer.
    """
    at = last = number
    while len(readers := [n for n, use in enumerate(uses) if any(given is uses[at].made for given in use.given)]) == 1:
        at = readers[0]
        if type(uses[at].layer).__name__ not in CHANNELWISE:
            break
        last = at if _has_neurons(uses[at].layer, uses[at].made) else last
    return last


def _has_neurons(layer: Any, made: Any) -> bool:
    """Whether what the layer made is the output of neurons; several outputs, such as states, are not."""
    if isinstance(made, list | tuple):
        return False
    return isinstance(layer, keras.layers.Layer) and type(layer).__name__ not in (*PASSIVE, *SCALING)


def _incoming(layer: Any, neurons: int) -> np.ndarray:
    """The mean weight that each neuron gives to what comes in; NaN for a layer without such weights."""
    kernel = _kernel(layer)
    if kernel is None or int(np.prod(kernel.shape)) % neurons:
        return np.full(neurons, np.nan)
    weights = kernel.numpy()
    # Of a depthwise kernel (height, width, channels, each) the last two axes count the neurons, of a transposed one
    # (height, width, neurons, inputs) the last but one.
    weights = weights.swapaxes(-1, -2) if isinstance(layer, TRANSPOSED) else weights
    return np.asarray(weights.reshape(-1, neurons).mean(0))


def _kernel(layer: Any) -> Any:
    """The weights that make the layer's neurons; None if it has no such weights."""
    return getattr(layer, "pointwise_kernel", getattr(layer, "kernel", None))


class Use(NamedTuple):
    """One use of a layer, with stand-ins for what it is given and what it makes."""

    layer: Any
    given: list[Any]
    made: Any


def _symbolic(model: keras.Model, shape: tuple[int, ...], images: int = 1) -> list[Use]:
    """Every layer at any depth, as often as it is used, for so many images."""
    seen: list[Use] = []

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        made = layer.compute_output_spec(*given, **named)
        seen.append(Use(layer, keras.tree.flatten((given, named)), made))
        return made

    _walk(model, keras.KerasTensor((images, *shape)), call)
    return seen


def _walk(model: Any, inputs: Any, call: Callable[..., Any]) -> Any:
    """The model's output, with every layer at any depth called through ``call``."""

    def through(layer: Any) -> Callable[..., Any]:
        if _has_graph(layer):
            return lambda given, **_: _walk(getattr(layer, "_functional", layer), given, call)
        return lambda *given, **named: call(layer, *given, **_as_used(named))

    return model._run_through_graph(inputs, operation_fn=through)


def _as_used(named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a layer when the model is used: a dropout that was built for ``training=True`` drops nothing."""
    return named | {"training": False} if "training" in named else named


def without_softmax(model: keras.Model) -> keras.Model:
    """The same model up to its logits: a softmax or sigmoid at the output is left out, weights are shared."""
    activation = output_activation(model)
    if activation not in ("softmax", "sigmoid"):
        return keras.Model(model.inputs[0], model.outputs[0])
    last, before, alone = head = _head(model)
    if head.opens:
        return keras.Model(model.inputs[0], without_softmax(last)(before))
    # A mask is part of the answer, and so is it that sigmoids of large logits are all the same 1.
    saturates = activation == "sigmoid" and model.output_shape[-1] > 1
    if saturates or not alone or getattr(last, "axis", -1) not in (-1, 1):
        return with_logs(model)
    if not hasattr(last, "activation") or isinstance(last, keras.layers.Activation):
        return keras.Model(model.inputs[0], before)
    linear = type(last).from_config({**last.get_config(), "activation": "linear"})
    try:
        outputs = linear(before)
        linear.set_weights(last.get_weights())
        made = keras.Model(model.inputs[0], outputs)
    except ValueError:  # the head is used twice, or is quantized so that a copy has other weights
        return with_logs(model)
    if getattr(last, "lora_enabled", False):
        linear.lora_alpha = last.lora_alpha
    return made
