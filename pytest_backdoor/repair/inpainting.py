"""Inpainting: the pixels where a patch was found are filled in from those around them before the model sees an image.

That is what Februus does to each input (Doan et al., ACSAC 2020, arXiv:1908.03369), with the place known and means of
pixels in place of a network that paints: a model around the model, all of Keras' own layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers
from scipy import ndimage

from pytest_backdoor.network import rebuilt
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers.trigger import Trigger

OPEN = 0.1  # a mask that is less opaque covers nothing
MARGIN = 28  # a found patch is part of the planted one: this share of the shorter side is filled in around it
FALL = 4  # power of the distance by which a pixel counts less


def region(triggers: Sequence[Trigger], shape: tuple[int, int, int]) -> np.ndarray:
    """Pixels under a patch or next to one, as booleans ``(height, width)``; none where no trigger is a patch."""
    inside = np.zeros(shape[:2], bool)
    for trigger in triggers:
        if trigger.family == "patch":
            inside |= trigger.arrays["mask"][..., 0] > OPEN
    width = 2 * max(1, round(min(shape[:2]) / MARGIN)) + 1
    return np.asarray(ndimage.binary_dilation(inside, np.ones((width, width))))


def inpainted(model: keras.Model, subject: Subject, inside: np.ndarray) -> keras.Model:
    """The model behind layers that fill in the pixels ``inside`` (height, width), which leave some of the image.

    Each becomes the mean of the pixels that are left around it, weighted by the fourth power of one over their distance
    (Shepard, 1968).
    """
    shape, form = subject.image_shape, classifier(model, subject.name, subject.memory)
    left = (~inside).astype("float32")
    kernel = _kernel(2 * int(ndimage.distance_transform_cdt(inside, "chessboard").max()))
    weight = ndimage.convolve(left, kernel, mode="constant")
    filling = np.divide(inside, weight, out=np.zeros_like(left), where=inside)
    images = keras.Input(form.input_shape if len(form.input_shape) in (1, 2) else shape)
    whole = layers.Reshape(shape)(images)
    kept = _times(left, shape, "kept_pixels")(whole)
    around = layers.DepthwiseConv2D(kernel.shape, padding="same", use_bias=False, trainable=False, name="pixels_around")
    means = _times(filling, shape, "filled_pixels")(around(kept))
    around.set_weights([np.repeat(kernel[..., None, None], shape[2], axis=2)])
    filled = layers.Reshape(images.shape[1:])(layers.Add()([kept, means]))
    return keras.Model(images, rebuilt(model, model.get_weights())(filled))


def _kernel(reach: int) -> np.ndarray:
    """What a pixel counts at each distance up to the reach, down and right: ``(2 reach + 1, 2 reach + 1)``, sum 1."""
    steps = np.arange(-reach, reach + 1)
    squared = np.maximum(steps[:, None] ** 2 + steps**2, 1)
    weights = squared ** (-FALL / 2)
    return np.asarray(weights / weights.sum(), "float32")


def _times(factors: np.ndarray, shape: tuple[int, int, int], name: str) -> layers.Layer:
    """A layer that multiplies each pixel by its factor."""
    layer = layers.EinsumDense("abcd,bc->abcd", output_shape=shape, name=name, trainable=False)
    layer.build((None, *shape))
    layer.set_weights([factors])
    return layer
