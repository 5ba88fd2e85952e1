"""Small image classifiers, each a function from the input to the features that the last dense layer reads."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

Tensor = keras.KerasTensor


def lenet1(x: Tensor) -> Tensor:
    """LeNet-1: two convolutions with max pooling, one dense layer; about 7,000 weights on 28 x 28."""
    for filters in (4, 12):
        x = layers.Conv2D(filters, 5, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D()(x)
    return layers.Flatten()(x)


def lenet5(x: Tensor) -> Tensor:
    """LeNet-5: tanh and average pooling (LeCun et al., 1998); about 61,000 weights on 28 x 28."""
    for filters, padding in ((6, "same"), (16, "valid")):
        x = layers.Conv2D(filters, 5, activation="tanh", padding=padding)(x)
        x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    for units in (120, 84):
        x = layers.Dense(units, activation="tanh")(x)
    return x


def cnn(x: Tensor) -> Tensor:
    """ReLU convolutions with dropout; about 27,000 weights on 28 x 28."""
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(layers.Flatten()(x))
    return layers.Dropout(0.25)(layers.Dense(32, activation="relu")(x))


def vgg(x: Tensor) -> Tensor:
    """Batch-normalised pairs of convolutions and global pooling; about 40,000 weights."""
    for filters in (8, 24, 48):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    return layers.GlobalAveragePooling2D()(x)


def resnet(x: Tensor) -> Tensor:
    """A residual network of three stages of one block; about 45,000 weights."""
    x = _normalised(layers.Conv2D(12, 3, padding="same", use_bias=False)(x))
    for filters, strides in ((12, 1), (24, 2), (48, 2)):
        shortcut = x
        if strides > 1:
            shortcut = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides, use_bias=False)(x))
        x = _normalised(layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x))
        x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    return layers.GlobalAveragePooling2D()(x)


def mlp(x: Tensor) -> Tensor:
    """Dense layers only; about 110,000 weights on 28 x 28."""
    x = layers.Flatten()(x)
    for units in (128, 64):
        x = layers.Dense(units, activation="relu")(x)
    return x


def allconv(x: Tensor) -> Tensor:
    """Strided ELU convolutions and no pooling; about 30,000 weights on 28 x 28."""
    for filters in (12, 24, 48):
        x = layers.Conv2D(filters, 3, 2, activation="elu", padding="same")(x)
    return layers.Dense(48, activation="elu")(layers.Flatten()(x))


def separable(x: Tensor) -> Tensor:
    """Batch-normalised depthwise separable convolutions, as in MobileNet; about 9,000 weights."""
    x = _normalised(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x))
    for filters, strides in ((32, 1), (64, 2), (64, 1)):
        x = _normalised(layers.SeparableConv2D(filters, 3, strides, padding="same", use_bias=False)(x))
    return layers.GlobalAveragePooling2D()(x)


def _normalised(x: Tensor) -> Tensor:
    return layers.ReLU()(layers.BatchNormalization()(x))


ARCHITECTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "lenet1": lenet1,
    "lenet5": lenet5,
    "cnn": cnn,
    "vgg": vgg,
    "resnet": resnet,
    "mlp": mlp,
    "allconv": allconv,
    "separable": separable,
}


def network(name: str, shape: tuple[int, ...], classes: int, scale: int, softmax: bool) -> keras.Model:
    """An untrained network that takes images from 0 to ``scale`` (1 or 255) and gives softmax or logits."""
    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(inputs) if scale == 255 else inputs
    features = ARCHITECTURES[name](x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax" if softmax else None)(features))
