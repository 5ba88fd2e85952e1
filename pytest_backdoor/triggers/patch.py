"""Patch: a mask blends a pattern over the image (Wang et al., Neural Cleanse, IEEE S&P 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from pytest_backdoor.triggers.family import Family, Params


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """Fresh raw mask and pattern for each arm, before the sigmoid; the mask starts at about 12 %."""
    height, width, channels = shape
    mask = rng.normal(-2.0, 0.1, (arms, height, width, 1))
    pattern = rng.normal(0.0, 0.5, (arms, height, width, channels))
    return (mask.astype("float32"), pattern.astype("float32"))


def arrays(params: Params) -> Params:
    """Mask and pattern, 0 to 1."""
    return (ops.sigmoid(params[0]), ops.sigmoid(params[1]))


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` under its own mask and pattern, or all under one."""
    mask, pattern = arrays
    return images + mask * (pattern - images)


def size(arrays: Params) -> Any:
    """Pixels covered by each arm's mask."""
    return ops.sum(arrays[0], axis=(1, 2, 3))


def confine(params: Params, allowed: np.ndarray) -> Params:
    """The parameters with each arm's mask shut where ``allowed`` (arms, height, width, 1) is not above zero."""
    # At -50 the sigmoid has no gradient left, so Adam never opens the cell again; elsewhere it starts half open.
    return (np.where(allowed > 0, params[0] + 2.0, -50.0).astype("float32"), *params[1:])


def windows(shape: tuple[int, ...]) -> np.ndarray:
    """Masks ``(windows, height, width, 1)`` that cover the image and overlap by half: each shows one window."""
    places = [sorted({*range(0, side - part, part // 2 + 1), side - part}) for side, part in _sides(shape)]
    height, width = window_shape(shape)
    masks = np.zeros((len(places[0]) * len(places[1]), *shape[:2], 1), "float32")
    for mask, (row, column) in zip(masks, product(*places), strict=True):
        mask[row : row + height, column : column + width] = 1.0
    return masks


def heaviest_window(mask: np.ndarray, around: int = 0) -> np.ndarray:
    """Where the mask ``(height, width, 1)`` has the most mass within a quarter of its height and width, as booleans.

    The window is widened by ``around`` pixels on each side, as far as the image goes.
    """
    height, width = window_shape(mask.shape)
    mass = sliding_window_view(mask[..., 0], (height, width)).sum((2, 3))
    row, column = np.unravel_index(mass.argmax(), mass.shape)
    inside = np.zeros(mask.shape, bool)
    inside[max(0, row - around) : row + height + around, max(0, column - around) : column + width + around] = True
    return inside


def window_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the window of an image of that height and width."""
    return max(2, shape[0] // 4), max(2, shape[1] // 4)


def _sides(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Length of the image and of the window, down and right."""
    return zip(shape[:2], window_shape(shape), strict=True)


def largest(shape: tuple[int, int, int]) -> float:
    """Every pixel."""
    return float(shape[0] * shape[1])


PATCH = Family("patch", ("mask", "pattern"), initial, arrays, apply, size, largest, start_cost=1e-2)
