"""Tiny Keras models whose weights are set by hand, and seeds for them: what they do can be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from pytest_backdoor.contract import Sample
from pytest_backdoor.scalings import Scaling
from pytest_backdoor.subject import Subject, classifier

AS_IS = Scaling("as is", np.ones(1, "float32"), np.zeros(1, "float32"))


def linear(weights: np.ndarray, bias: np.ndarray, shape: tuple[int, int, int]) -> keras.Model:
    """Logits ``pixels @ weights + bias`` of the flattened image: weights (pixels, classes)."""
    head = layers.Dense(len(bias))
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), head])
    head.set_weights([np.asarray(weights, "float32"), np.asarray(bias, "float32")])
    return model


def sequential(*stack: Any, shape: tuple[int, ...] = (6, 6, 1)) -> keras.Model:
    """A model that flattens its images and ends in these layers."""
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *stack])


def after(head: Callable[[Any], Any]) -> keras.Model:
    """A functional model whose output is a function of four scores."""
    image = keras.Input((6, 6, 1))
    return keras.Model(image, head(layers.Dense(4)(layers.Flatten()(image))))


def two_pixels() -> keras.Model:
    """Logits of the class are its own pixel of a 1 x 2 image: class 0 the left, class 1 the right one."""
    return linear(np.eye(2), np.zeros(2), (1, 2, 1))


def subject_of(model: keras.Model, shape: tuple[int, int, int]) -> Subject:
    """The model as a search sees it, in the scale 0 to 1."""
    return classifier(model, "tiny").subject(AS_IS, shape)


def bright_pixels(classes: int = 3, side: int = 8) -> tuple[Subject, Sample]:
    """A model that reads the class off the brightest pixel of the first row, and 10 dark images of each class.

    Class c has 0.5 at (0, c), where its logit has weight 10. Pixel (5, 5) has weight 40 for class 1: full brightness
    there overrules any 0.5 in the first row.
    """
    images = np.zeros((10 * classes, side, side, 1), "float32")
    labels = np.repeat(np.arange(classes), 10)
    images[np.arange(len(labels)), 0, labels, 0] = 0.5
    return subject_of(bright_model(classes, side), (side, side, 1)), Sample(images, labels)


def bright_model(classes: int = 3, side: int = 8) -> keras.Model:
    """The model of bright_pixels."""
    weights = np.zeros((side, side, classes))
    weights[0, range(classes), range(classes)] = 10.0
    weights[5, 5, 1] = 40.0
    return linear(weights.reshape(-1, classes), np.zeros(classes), (side, side, 1))
