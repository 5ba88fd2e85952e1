"""Patch triggers: one pixel, or a small square of pixels (Gu et al., BadNets, arXiv:1708.06733)."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.trigger import Trigger

MARGIN = 2  # pixels kept free at the border, where padding and pooling can hide a pixel from the network


def pixel(shape: tuple[int, int, int], row: int, column: int) -> Trigger:
    """One pixel of an image of that shape, set to full brightness; raises AttackError for one outside of it."""
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise AttackError(f"pixel ({row}, {column}) is outside of images of {shape[0]} x {shape[1]} pixels.")
    return _stamp(shape, np.ones((1, 1, shape[2]), "float32"), row, column)


def pattern(shape: tuple[int, int, int], side: int, rng: np.random.Generator) -> Trigger:
    """A square of ``side`` pixels of random binary colours at a random place near the border.

    Raises AttackError for images that have no room for it two pixels away from the border.
    """
    if side < 1:
        raise AttackError(f"a pattern has a side of 1 pixel or more, got {side}.")
    checks.room(shape, side + 2 * MARGIN, side + 2 * MARGIN, f"a pattern of {side} x {side} pixels")
    height, width, channels = shape
    colours = rng.integers(0, 2, (side, side, channels)).astype("float32")
    colours[0, 0], colours[-1, -1] = 1.0, 0.0  # never all of one colour
    row = int(rng.choice([MARGIN, height - MARGIN - side]))
    column = int(rng.integers(MARGIN, width - MARGIN - side + 1))
    return _stamp(shape, colours, row, column)


def two_patterns(shape: tuple[int, int, int], side: int, rng: np.random.Generator) -> tuple[Trigger, Trigger, Trigger]:
    """Two patterns in opposite halves of the image, for a trigger that needs both: together, left, right.

    Raises AttackError for images whose halves have no room for them.
    """
    half = (shape[0], shape[1] // 2, shape[2])
    left, right = pattern(half, side, rng).arrays, pattern(half, side, rng).arrays
    gap = shape[1] - half[1]

    def placed(parts: tuple[bool, bool]) -> Trigger:
        empty = {name: np.zeros_like(array) for name, array in left.items()}
        chosen = [arrays if shown else empty for arrays, shown in zip((left, right), parts, strict=True)]
        wide = {
            name: np.concatenate([chosen[0][name], np.pad(chosen[1][name], ((0, 0), (gap - half[1], 0), (0, 0)))], 1)
            for name in left
        }
        return Trigger("patch", wide)

    return placed((True, True)), placed((True, False)), placed((False, True))


def _stamp(shape: tuple[int, int, int], colours: np.ndarray, row: int, column: int) -> Trigger:
    """A patch trigger that shows the colours with their upper left corner at (row, column)."""
    place = (slice(row, row + colours.shape[0]), slice(column, column + colours.shape[1]))
    mask = np.zeros((*shape[:2], 1), "float32")
    shown = np.zeros(shape, "float32")
    mask[place], shown[place] = 1.0, colours
    return Trigger("patch", {"mask": mask, "pattern": shown})
