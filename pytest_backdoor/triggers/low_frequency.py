"""Low frequency: a few slow waves are added to every image: sinusoids, reflections, smooth watermarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.triggers.family import Family, Params

WAVES = 8  # along each side


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """A fresh, nearly invisible mixture of waves for each arm."""
    waves = min(WAVES, *shape[:2])
    return (rng.normal(0.0, 0.02, (arms, waves, waves, shape[2])).astype("float32"),)


def arrays(params: Params) -> Params:
    """The coefficients of the waves."""
    return params


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` with its own waves added, or all with one set; kept in 0 to 1."""
    return ops.clip(images + delta(arrays[0], *images.shape[1:3]), 0.0, 1.0)


def delta(coefficients: Any, height: int, width: int) -> Any:
    """The sum of the waves ``(arms, down, right, channels)``, an inverse discrete cosine transform."""
    down, right = basis(height, coefficients.shape[1]), basis(width, coefficients.shape[2])
    return ops.einsum("hi,wj,nijc->nhwc", down, right, coefficients)


def basis(length: int, waves: int) -> np.ndarray:
    """The slowest orthonormal cosine waves: ``(length, waves)``."""
    angles = np.pi * (np.arange(length)[:, None] + 0.5) * np.arange(waves) / length
    scale = np.where(np.arange(waves) == 0, 1.0, np.sqrt(2.0)) / np.sqrt(length)
    return np.asarray(np.cos(angles) * scale, "float32")


def size(arrays: Params) -> Any:
    """L2 norm of each arm's change where nothing is clipped, in units of the value range."""
    return ops.sqrt(ops.sum(ops.square(arrays[0]), axis=(1, 2, 3)) + 1e-12)


def largest(shape: tuple[int, int, int]) -> float:
    """Every pixel of one channel from black to white."""
    return float(np.sqrt(shape[0] * shape[1]))


LOW_FREQUENCY = Family("low-frequency", ("coefficients",), initial, arrays, apply, size, largest, start_cost=5e-2)
