"""The model under test: a Keras image classifier that takes images in unit scale and gives logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from pytest_backdoor.errors import ContractError, OutOfScopeError
from pytest_backdoor.scalings import Scaling

BATCH = 256  # images per prediction
Shape = tuple[int, int, int]

# Layers that change nothing when a model is used, where they keep the shape.
PASSIVE = ("Dropout", "GaussianNoise", "Identity", "Flatten", "Reshape", "ActivityRegularization")


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

    def logits(self, images: Any) -> Any:
        """Logits ``(n, classes)`` of a batch of images in unit scale, as a tensor."""
        return self.network(self.scaling.scale(images))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits of any number of images, as an array ``(n, classes)``."""
        if not len(images):
            return np.zeros((0, self.num_classes), "float32")
        parts = [self.logits(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])

    def classes(self, images: np.ndarray) -> np.ndarray:
        """The predicted class of each image."""
        return np.asarray(self.predict(images).argmax(-1))


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A model that was found to be an image classifier, before its scaling is known."""

    name: str
    input_shape: tuple[int, ...]  # without the batch: 3 axes, 2 without channels, 1 flat; () is any
    num_classes: int
    network: Callable[[Any], Any]
    gradients: bool

    def subject(self, scaling: Scaling, image_shape: Shape) -> Subject:
        """The Subject that sees images of that shape through that scaling."""

        def network(images: Any) -> Any:
            return self.network(self.shaped(images))

        return Subject(self.name, image_shape, self.num_classes, scaling, network, self.gradients)

    def shaped(self, images: Any) -> Any:
        """Images ``(n, height, width, channels)`` with the axes that the model takes."""
        return ops.reshape(images, (-1, *self.input_shape)) if len(self.input_shape) in (1, 2) else images


def classifier(model: Any, name: str) -> Classifier:
    """What can be scanned of a model: a Keras image classifier, or a function from images to probabilities.

    Raises OutOfScopeError for other kinds of model and ContractError for broken weights.
    """
    if not isinstance(model, keras.Model):
        return _black_box(model, name)
    inputs, classes = _image_input(model), _classes(model)
    broken = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise ContractError(
            f"weights of {', '.join(broken[:3])} hold NaN or infinite values ({len(broken)} of {len(model.weights)} "
            "tensors). The training diverged or the file is damaged: give a model with finite weights."
        )
    headless = with_logits(model)

    def network(images: Any) -> Any:
        return headless(images, training=False)

    return Classifier(name, inputs, classes, network, gradients=True)


def _black_box(predict: Any, name: str) -> Classifier:
    """A function from images to probabilities; it has no gradients, and its input shape is that of the seeds."""
    if not callable(predict):
        raise ContractError(f"{name} is a {type(predict).__name__}. Give a Keras model, a model file or a function.")

    def network(images: Any) -> Any:
        answers = np.asarray(predict(ops.convert_to_numpy(images)), "float32")
        if answers.ndim != 2 or len(answers) != len(images):
            raise ContractError(
                f"{name} answers {len(images)} images with shape {answers.shape}. "
                "Give a function from images to probabilities (n, classes)."
            )
        return np.log(np.clip(answers, 1e-30, None)) if (answers >= 0).all() else answers

    return Classifier(name, (), 0, network, gradients=False)


def _image_input(model: keras.Model) -> tuple[int, ...]:
    """The model's input shape without the batch; raises OutOfScopeError if it does not take one image."""
    if not getattr(model, "inputs", None):
        raise OutOfScopeError(
            "the model was never built, so its input is unknown. Call it once on an image, then scan."
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
    if len(shape) not in (1, 2, 3) or any(side is None for side in shape[-1:]):
        raise OutOfScopeError(f"the model takes inputs of shape {shape}, not images (height, width, channels).")
    return shape


def _classes(model: keras.Model) -> int:
    """How many classes the model tells apart; raises OutOfScopeError if it is no classifier."""
    if len(model.outputs) != 1:
        raise OutOfScopeError(f"the model has {len(model.outputs)} outputs. Only models with one output are scanned.")
    shape = tuple(model.outputs[0].shape[1:])
    if len(shape) != 1:
        raise OutOfScopeError(f"the model gives outputs of shape {shape}, one per place: segmentation is out of scope.")
    if shape[0] == 1:
        last = _activation(model)
        if last == "sigmoid":
            return 2
        raise OutOfScopeError(
            "the model gives one number: it is a regression or knows one class only. "
            "A backdoor scan needs a classifier of at least two classes."
        )
    return int(shape[0])


def _activation(model: keras.Model) -> str:
    """Name of the activation at the output, looking into nested models."""
    last, _ = _head(model)
    if isinstance(last, keras.Model):
        return _activation(last)
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


def without_softmax(model: keras.Model) -> keras.Model:
    """The same model up to its logits: a softmax or sigmoid at the output is left out, weights are shared."""
    if _activation(model) not in ("softmax", "sigmoid"):
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
