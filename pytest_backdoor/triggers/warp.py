"""Warp: the image is bent a little, everywhere (Nguyen and Tran, WaNet, ICLR 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.triggers.family import Family, Params

GRID = 5  # control points along each side


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """A fresh, hardly visible bend for each arm."""
    return (rng.normal(0.0, 0.1, (arms, GRID, GRID, 2)).astype("float32"),)


def arrays(params: Params) -> Params:
    """The control points themselves: pixels down and right that each part of the image is fetched from."""
    return params


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` bent by its own control points, or all by one set."""
    count, height, width, channels = ops.shape(images)
    moves = flow(arrays[0], height, width)
    down = ops.clip(moves[..., 0] + np.arange(height, dtype="float32")[:, None], 0.0, height - 1.0)
    right = ops.clip(moves[..., 1] + np.arange(width, dtype="float32"), 0.0, width - 1.0)
    top, left = ops.floor(down), ops.floor(right)
    first = ops.reshape(ops.arange(count) * height * width, (-1, 1, 1))
    cells = ops.reshape(images, (-1, channels))

    def fetched(rows: Any, columns: Any) -> Any:
        row, column = ops.minimum(rows, height - 1.0), ops.minimum(columns, width - 1.0)
        return ops.take(cells, first + ops.cast(row * width + column, "int32"), axis=0)

    below, beside = (down - top)[..., None], (right - left)[..., None]
    upper = (1 - beside) * fetched(top, left) + beside * fetched(top, left + 1)
    lower = (1 - beside) * fetched(top + 1, left) + beside * fetched(top + 1, left + 1)
    return (1 - below) * upper + below * lower


def flow(control: Any, height: int, width: int) -> Any:
    """The control points ``(arms, rows, columns, 2)`` spread smoothly over the image, in pixels."""
    return ops.image.resize(control, (height, width), interpolation="bicubic", data_format="channels_last")


def size(arrays: Params) -> Any:
    """Mean move of each arm's control points, in pixels."""
    return ops.mean(ops.sqrt(ops.sum(ops.square(arrays[0]), axis=-1) + 1e-12), axis=(1, 2))


def largest(shape: tuple[int, int, int]) -> float:
    """A seventh of the image: past it, clean models lose one class after the other."""
    return min(shape[:2]) / 7


WARP = Family("warp", ("control",), initial, arrays, apply, size, largest, start_cost=0.3)
