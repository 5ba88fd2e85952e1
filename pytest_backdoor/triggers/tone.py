"""Tone: every pixel's colour is changed by one affine rule, as photo filters and colour casts do."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.triggers.family import Family, Params


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """A fresh, hardly visible change of colour for each arm."""
    channels = shape[2]
    matrix = np.eye(channels) + rng.normal(0.0, 0.02, (arms, channels, channels))
    offset = rng.normal(0.0, 0.02, (arms, channels))
    return (matrix.astype("float32"), offset.astype("float32"))


def arrays(params: Params) -> Params:
    """The matrix that mixes the channels, and what is added to them."""
    return params


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` recoloured by its own rule, or all by one; kept between 0 and 1."""
    matrix, offset = arrays
    mixed = ops.sum(images[..., None, :] * matrix[:, None, None], axis=-1)
    return ops.clip(mixed + offset[:, None, None], 0.0, 1.0)


def size(arrays: Params) -> Any:
    """Norm of each arm's distance from leaving the colours alone, in units of the value range."""
    matrix, offset = arrays
    away = ops.sum(ops.square(matrix - np.eye(matrix.shape[-1], dtype="float32")), axis=(1, 2))
    return ops.sqrt(away + ops.sum(ops.square(offset), axis=1) + 1e-12)


def largest(shape: tuple[int, int, int]) -> float:
    """All colours gone."""
    return float(np.sqrt(shape[2]))


TONE = Family("tone", ("matrix", "offset"), initial, arrays, apply, size, largest, start_cost=0.3)
