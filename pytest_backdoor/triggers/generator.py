"""Generator: two small convolutions draw another faint pattern for every image: sample-specific triggers.

Input-aware (Nguyen and Tran, arXiv:2010.08138), LIRA and ISSBA train larger networks to do the same.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.triggers.family import Family, Params

HIDDEN = 8  # channels between the two convolutions
REACH = 0.5  # the largest strength, in units of the value range
KERNEL = 3
CELLS = tuple(product(range(KERNEL), repeat=2))  # row and column, in the order of a flattened kernel


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """Fresh kernels for each arm, and a strength of about 0.1 before the sigmoid."""
    window, channels = (arms, KERNEL, KERNEL), shape[2]
    first = rng.normal(0.0, np.sqrt(2 / (KERNEL**2 * channels)), (*window, channels, HIDDEN))
    bias = rng.normal(0.0, 0.1, (arms, HIDDEN))
    second = rng.normal(0.0, np.sqrt(2 / (KERNEL**2 * HIDDEN)), (*window, HIDDEN, channels))
    strength = rng.normal(-1.4, 0.1, (arms, 1, 1, 1))
    return tuple(part.astype("float32") for part in (first, bias, second, strength))


def arrays(params: Params) -> Params:
    """Both kernels, the bias between them, and the strength, 0 to REACH."""
    return (*params[:3], REACH * ops.sigmoid(params[3]))


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` with the pattern its own, or the one, generator draws for it."""
    return ops.clip(images + residual(arrays, images), 0.0, 1.0)


def residual(arrays: Params, images: Any) -> Any:
    """What is added to each image: ``strength * tanh(g(image))``, g being convolution, ReLU, convolution."""
    first, bias, second, strength = arrays
    hidden = ops.relu(_gathered(images, first) + bias[:, None, None])
    return strength * ops.tanh(_scattered(hidden, second))


def size(arrays: Params) -> Any:
    """Each arm's strength: no pixel of any image moves further, so no root mean square change is larger."""
    # The change itself depends on the images; a saturated tanh uses the whole strength.
    return ops.reshape(arrays[3], (-1,))


def _gathered(images: Any, kernels: Any) -> Any:
    """Images convolved each with its own kernel (or all with one), zero padding: few channels in, many out."""
    if kernels.shape[0] == 1:
        return ops.conv(images, kernels[0], padding="same", data_format="channels_last")  # three times as fast
    height, width = images.shape[1:3]
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, row : row + height, column : column + width] for row, column in CELLS]
    seen = ops.concatenate(shifted, axis=-1)  # (n, height, width, 9 * channels)
    flat = ops.reshape(seen, (-1, height * width, seen.shape[-1]))
    drawn = ops.matmul(flat, ops.reshape(kernels, (-1, seen.shape[-1], kernels.shape[-1])))
    return ops.reshape(drawn, (-1, height, width, kernels.shape[-1]))


def _scattered(images: Any, kernels: Any) -> Any:
    """The same for many channels in, few out: multiplied first and moved then, which moves less."""
    if kernels.shape[0] == 1:
        return ops.conv(images, kernels[0], padding="same", data_format="channels_last")
    height, width, channels = images.shape[1:]
    flat = ops.reshape(images, (-1, height * width, channels))
    side_by_side = ops.transpose(kernels, (0, 3, 1, 2, 4))  # (arms, channels, 3, 3, out)
    drawn = ops.matmul(flat, ops.reshape(side_by_side, (-1, channels, KERNEL**2 * kernels.shape[-1])))
    parts = ops.reshape(drawn, (-1, height, width, KERNEL**2, kernels.shape[-1]))
    padded = ops.pad(parts, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)))
    return sum(padded[:, r : r + height, c : c + width, cell] for cell, (r, c) in enumerate(CELLS))


def largest(shape: tuple[int, int, int]) -> float:
    """The largest strength."""
    return REACH


GENERATOR = Family(
    "generator", ("first", "bias", "second", "strength"), initial, arrays, apply, size, largest, start_cost=1.0
)
