"""The model under test: a Keras image classifier that takes images in unit scale and gives logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from pytest_backdoor.backend import compiled
from pytest_backdoor.deadline import ask
from pytest_backdoor.errors import BackdoorError, ContractError, OutOfScopeError, reason
from pytest_backdoor.network import (
    LEAST,
    Layer,
    across_batch,
    for_any_batch,
    has_batch_norm,
    layer_outputs,
    layers_of,
    mixing,
    most_axes,
    neuron_layers,
    output_activation,
    overridden,
    with_activations,
    with_features,
    with_logits,
    with_output,
)
from pytest_backdoor.options import MEMORY
from pytest_backdoor.scalings import Scaling

BATCH = 256  # images per prediction, at most
ROUNDED = 1e-3  # that a probability may lie below 0
AXES = 64  # of anything in a network; TensorFlow ends the process at 255
VALUE = 4  # bytes of a number
BACKWARD = 2  # times the outputs of all layers that a forward and backward pass holds, roughly
CHANGED = 6  # times an image that its triggered copy, its mask, its pattern and their gradients take
ANSWERED = 10  # times the classes that the loss and its gradient hold for each image
POOLED = 0.25  # of the memory, for the images that a search draws from
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model behind one scaling: all a search or a check sees of it.

    ``image_shape`` is (height, width, channels) of the images that ``logits`` takes, which run from 0 to 1.
    """

    name: str
    image_shape: Shape
    num_classes: int
    scaling: Scaling
    network: Callable[[Any], Any]  # from images in the model's own scale to logits
    gradients: bool
    outputs: int = 0  # values that all layers together make of one image
    memory: int = MEMORY  # bytes
    compiled: dict[str, Any] = field(default_factory=dict)  # what searches made of the network, to use again
    batch_norm: bool = False  # whether any layer has one
    mixing: str = ""  # attention or recurrence, where the network has it
    layers: tuple[Layer, ...] = ()  # those with neurons, in the order of the computation; none of a black box
    watched: Callable[[Any], tuple[Any, tuple[Any, ...]]] | None = None  # as network, with the outputs of those layers
    # as network, when the layer at that place puts out something else: from images, place and output
    resumed: Callable[[Any, int, Any], Any] | None = None
    read: Callable[[Any], Any] | None = None  # from images in the model's own scale to what makes the logits is given

    @property
    def footprint(self) -> int:
        """Bytes that one image takes in a step of a search, roughly."""
        image = CHANGED * int(np.prod(self.image_shape))
        return VALUE * (BACKWARD * self.outputs + image + ANSWERED * self.num_classes)

    @property
    def together(self) -> int:
        """How many images may go through the network together."""
        return max(1, self.memory // self.footprint)

    @property
    def pooled(self) -> int:
        """How many images a search may hold to draw from."""
        return max(1, int(POOLED * self.memory) // (VALUE * int(np.prod(self.image_shape))))

    def logits(self, images: Any) -> Any:
        """Logits ``(n, classes)`` of a batch of images in unit scale, as a tensor."""
        return self.network(self.scaling.scale(images))

    def activations(self, images: Any) -> tuple[Any, tuple[Any, ...]]:
        """Logits of a batch of images in unit scale, and the outputs ``(n, ..., neurons)`` of each of the layers."""
        assert self.watched is not None  # whoever asks has seen that there are layers
        return self.watched(self.scaling.scale(images))

    def output(self, images: Any, place: int) -> Any:
        """What the layer at that place makes of a batch of images in unit scale: ``(n, ..., neurons)``."""
        return self._compiled(f"output {place}", lambda batch: self.activations(batch)[1][place])(images)

    def resume(self, images: Any, place: int, output: Any) -> Any:
        """Logits ``(n, classes)`` of a batch of images when the layer at that place puts out ``output`` instead.

        Only what comes behind the layer, or passes it by, is computed again.
        """
        assert self.resumed is not None  # whoever asks has seen that there are layers
        resumed = self.resumed
        graph = self._compiled(f"resume {place}", lambda batch, put: resumed(self.scaling.scale(batch), place, put))
        return graph(images, output)

    def features(self, images: Any) -> Any:
        """What the layer that makes the logits is given for a batch of images in unit scale: ``(n, ...)``."""
        assert self.read is not None  # whoever asks has seen that there are layers
        read = self.read
        return self._compiled("features", lambda batch: read(self.scaling.scale(batch)))(images)

    def _compiled(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as a graph, compiled once for each name; what no result needs is left out of it."""
        if name not in self.compiled:
            self.compiled[name] = compiled(function)
        graph: Callable[..., Any] = self.compiled[name]
        return graph

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits of any number of images, as an array ``(n, classes)``."""
        if not len(images):
            return np.zeros((0, self.num_classes), "float32")
        return np.concatenate(list(self._answers(images)))

    def classes(self, images: np.ndarray) -> np.ndarray:
        """The predicted class of each image."""
        # Part by part: the logits of all images of a model of a thousand classes may not fit memory.
        return np.concatenate([np.zeros(0, int), *(part.argmax(-1) for part in self._answers(images))])

    def classes_under(self, change: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """The class that each image is given once it is changed, of which only as many as memory allows are at once."""
        starts = range(0, max(1, len(images)), self.together)
        return np.concatenate([self.classes(change(images[start : start + self.together])) for start in starts])

    def _answers(self, images: np.ndarray) -> Iterator[np.ndarray]:
        size = min(BATCH, self.together)
        for start in range(0, len(images), size):
            ask()
            yield np.asarray(ops.convert_to_numpy(self.logits(images[start : start + size])))


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A model that was found to be an image classifier, before its scaling is known."""

    name: str
    input_shape: tuple[int, ...]  # without the batch: 3 axes, 2 without channels, 1 flat; () is any
    num_classes: int
    network: Callable[[Any], Any]
    gradients: bool
    outputs: Callable[[tuple[int, ...]], int]  # from the shape of an image to how many values all layers make of one
    memory: int
    white: float | None = None  # the model's own value of white, where its first layers say
    batch_norm: bool = False
    mixing: str = ""
    layers: Callable[[tuple[int, ...]], tuple[Layer, ...]] = lambda shape: ()  # from the shape of an image
    across_batch: Callable[[tuple[int, ...]], str | None] = lambda shape: None  # a layer that brings images together
    watched: Callable[[Any], tuple[Any, tuple[Any, ...]]] | None = None
    resumed: Callable[[Any, int, Any], Any] | None = None
    read: Callable[[Any], Any] | None = None

    def subject(self, scaling: Scaling, image_shape: Shape) -> Subject:
        """The Subject that sees images of that shape through that scaling; raises OutOfScopeError without the room."""

        def shaped(function: Callable[..., Any] | None) -> Callable[..., Any]:
            def called(images: Any, *more: Any) -> Any:
                assert function is not None  # of a black box nobody asks but for the network
                return function(self.shaped(images), *more)

            return called

        shape = self.layered(image_shape)
        found = Subject(
            self.name,
            image_shape,
            self.num_classes,
            scaling,
            shaped(self.network),
            self.gradients,
            self.outputs(shape),
            self.memory,
            batch_norm=self.batch_norm,
            mixing=self.mixing,
            layers=self.layers(shape),
            watched=shaped(self.watched),
            resumed=shaped(self.resumed),
            read=shaped(self.read),
        )
        if found.footprint > self.memory:
            raise OutOfScopeError(
                f"one image takes {found.footprint / 2**20:,.0f} MiB with all that the network makes of it, more than"
                f" the memory that a scan may take ({self.memory / 2**20:,.0f} MiB). Raise --backdoor-memory."
            )
        return found

    def layered(self, image_shape: Shape) -> tuple[int, ...]:
        """The shape of an image as the model's first layer takes it."""
        return self.input_shape if len(self.input_shape) in (1, 2) else image_shape

    def shaped(self, images: Any) -> Any:
        """Images ``(n, height, width, channels)`` with the axes that the model takes."""
        return ops.reshape(images, (-1, *self.input_shape)) if len(self.input_shape) in (1, 2) else images


def classifier(model: Any, name: str, memory: int = MEMORY) -> Classifier:
    """What can be scanned of a model: a Keras image classifier, or a function from images to probabilities.

    memory is how many bytes the images of one step may take, with what the network makes of them. Raises
    OutOfScopeError for other kinds of model and ContractError for broken weights.
    """
    if not isinstance(model, keras.Model):
        return _black_box(model, name, memory)
    model = for_any_batch(model)
    inputs, classes = _image_input(model), _classes(model)
    broken = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise ContractError(
            f"weights of {', '.join(broken[:3])} hold NaN or infinite values ({len(broken)} of {len(model.weights)} "
            "tensors). The training diverged or the file is damaged: give a model with finite weights."
        )
    if (own := overridden(model)) is not None:
        raise OutOfScopeError(
            f"{own} has a call() of its own, and a scan would follow its layers only. Write what call() does as layers,"
            " and give keras.Model(inputs, outputs)."
        )
    if (axes := most_axes(model)) > AXES:
        raise OutOfScopeError(f"a layer of the model puts out {axes} axes. Only image models are scanned.")
    with computed():
        headless = with_logits(model)

    def logits(images: Any) -> Any:
        return _float32(headless(images, training=False))

    def outputs(shape: tuple[int, ...]) -> int:
        return layer_outputs(headless, shape)

    def layers(shape: tuple[int, ...]) -> tuple[Layer, ...]:
        return neuron_layers(headless, shape)

    def together(shape: tuple[int, ...]) -> str | None:
        return across_batch(headless, shape)

    def watched(images: Any) -> tuple[Any, tuple[Any, ...]]:
        given, outputs = with_activations(headless, images)
        return _float32(given), tuple(map(_float32, outputs))

    def resumed(images: Any, place: int, output: Any) -> Any:
        return _float32(with_output(headless, images, place, output))

    def read(images: Any) -> Any:
        return _float32(with_features(headless, images))

    with computed():  # a layer may hold anything
        white = _white(model)
    network = compiled(logits)  # once, for all scalings and searches
    return Classifier(
        name,
        inputs,
        classes,
        network,
        True,
        outputs,
        memory,
        white,
        has_batch_norm(model),
        mixing(model),
        layers,
        together,
        watched,
        resumed,
        read,
    )


@contextmanager
def computed() -> Iterator[None]:
    """Raises ContractError for whatever the model's own computation raises."""
    try:
        yield
    except BackdoorError:
        raise
    except Exception as problem:  # of any backend, and of any operation
        raise ContractError(f"the model cannot be computed: {type(problem).__name__}: {reason(problem)}") from problem


def _float32(values: Any) -> Any:
    """The values of a model of any precision in that of the searches."""
    return values if keras.backend.standardize_dtype(values.dtype) == "float32" else ops.cast(values, "float32")


def _black_box(predict: Any, name: str, memory: int) -> Classifier:
    """A function from images to probabilities; it has no gradients, and its input shape is that of the seeds."""
    if not callable(predict):
        raise ContractError(
            f"{name} is of type {type(predict).__name__}. Give a Keras model, a model file or a function."
        )

    def network(images: Any) -> Any:
        answers = np.asarray(predict(ops.convert_to_numpy(images)), "float32")
        if answers.ndim != 2 or len(answers) != len(images):
            raise ContractError(
                f"{name} answers {len(images)} images with shape {answers.shape}. "
                "Give a function from images to probabilities (n, classes)."
            )
        return np.log(np.maximum(answers, LEAST)) if (answers >= -ROUNDED).all() else answers

    return Classifier(name, (), 0, network, False, lambda shape: 0, memory)


def _image_input(model: keras.Model) -> tuple[int, ...]:
    """The model's input shape without the batch; raises OutOfScopeError if it does not take one image."""
    if not getattr(model, "inputs", None):
        raise OutOfScopeError(
            "the model has no graph of layers: it was never built, or its class has a call() of its own. Call a"
            " Sequential once on an image, then scan; of a class of your own give keras.Model(inputs, outputs)."
        )
    if len(model.inputs) != 1:
        raise OutOfScopeError(
            f"the model has {len(model.inputs)} inputs. Only models with one image input are scanned."
        )
    if any(type(layer).__name__ in ("Embedding", "TextVectorization", "StringLookup") for layer in layers_of(model)):
        raise OutOfScopeError(
            "the model reads text (it has an embedding or a vocabulary). Only image models are scanned."
        )
    given = model.inputs[0]
    shape = tuple(given.shape[1:])
    if given.dtype == "uint8":
        raise OutOfScopeError(
            "the model takes uint8, and whole numbers have no gradients. Build it with a float32 input, then scan."
        )
    if not keras.backend.is_float_dtype(given.dtype):
        raise OutOfScopeError(f"the model takes {given.dtype}, not an image. Only image models are scanned.")
    if given.shape[0] is not None:
        raise OutOfScopeError(
            f"the model takes exactly {given.shape[0]} images at a time. Build it without a batch size, then scan."
        )
    if _channels_first(model, shape):
        raise OutOfScopeError(
            f"the model takes its channels first, {shape}. Build it for images (height, width, channels) with the same"
            " weights: kernels are stored alike, only a dense layer behind Flatten reads them in another order."
        )
    if len(shape) not in (1, 2, 3) or any(side is None for side in shape[-1:]):
        raise OutOfScopeError(f"the model takes inputs of shape {shape}, not images (height, width, channels).")
    return shape


def _channels_first(model: keras.Model, shape: tuple[int | None, ...]) -> bool:
    """Whether the first axis of an image is that of the channels, by its layers or by its lengths."""
    if len(shape) != 3 or shape[0] is None or (shape[2] is not None and shape[0] >= shape[2]):
        return False  # layers behind a Permute may have them first all the same
    told = any(getattr(layer, "data_format", None) == "channels_first" for layer in layers_of(model))
    return told or (shape[0] in (1, 3) and (shape[2] is None or shape[2] > 4))


def _classes(model: keras.Model) -> int:
    """How many classes the model tells apart; raises OutOfScopeError if it is no classifier."""
    if len(model.outputs) != 1:
        raise OutOfScopeError(f"the model has {len(model.outputs)} outputs. Only models with one output are scanned.")
    made = model.outputs[0]
    if isinstance(made._keras_history.operation, keras.layers.InputLayer):
        raise OutOfScopeError("the model gives back what it is given: it has no layers.")
    shape = tuple(made.shape[1:])
    if not keras.backend.is_float_dtype(made.dtype):
        raise OutOfScopeError(f"the model gives {made.dtype}, which has no gradients. Give it without its last step.")
    if shape == (None,):
        raise OutOfScopeError("the model does not say how many classes it has. Build it with an output of fixed size.")
    if len(shape) != 1:
        raise OutOfScopeError(f"the model gives outputs of shape {shape}, one per place: segmentation is out of scope.")
    if shape[0] == 1:
        last = output_activation(model)
        if last == "sigmoid":
            return 2
        raise OutOfScopeError(
            "the model gives one number: it is a regression or knows one class only. "
            "A backdoor scan needs a classifier of at least two classes."
        )
    return int(shape[0])


def _white(model: keras.Model) -> float | None:
    """The value of white that a scaling before the first trained layer is made for; None if there is none.

    Rescaling takes white to 1. Normalization knows the mean of the images, which is above 1 in bytes only.
    """
    for layer in layers_of(model):
        if type(layer).__name__ == "Rescaling":
            with np.errstate(all="ignore"):
                white = float(np.max((1.0 - np.asarray(layer.offset)) / np.asarray(layer.scale)))
            return white if 0 < white < np.inf else None
        if type(layer).__name__ == "Normalization":
            return 255.0 if np.max(ops.convert_to_numpy(layer.mean)) > 1 else 1.0
        if layer.weights and not isinstance(layer, keras.Model):
            return None
    return None
