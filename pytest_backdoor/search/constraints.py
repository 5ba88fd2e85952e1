"""How a gradient may change an image: everywhere, in a box, by light alone, or by blackening (DeepXplore, DLFuzz)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

Move = Callable[[Any, Any], Any]  # (gradients, windows (n, height, width, 1) of 0 and 1) -> moves


@dataclass(frozen=True, slots=True)
class Constraint:
    """What becomes of a gradient, and whether its window is drawn afresh for every iteration."""

    move: Move
    wanders: bool = False


def everywhere(gradients: Any, windows: Any) -> Any:
    """The gradient itself."""
    return gradients


def box(gradients: Any, windows: Any) -> Any:
    """The gradient inside the window, nothing outside (DeepXplore's occlusion)."""
    return gradients * windows


def light(gradients: Any, windows: Any) -> Any:
    """The sign of the mean gradient everywhere: the image grows brighter or darker.

    DeepXplore moves by the mean itself times a factor that depends on the data set.
    """
    return ops.ones_like(gradients) * ops.sign(ops.mean(gradients, (1, 2, 3), keepdims=True))


def blackout(gradients: Any, windows: Any) -> Any:
    """Darkness in the window, where that is what the mean gradient in it asks for."""
    asked = ops.sum(gradients * windows, (1, 2, 3), keepdims=True) < 0
    return -windows * ops.cast(asked, "float32") * ops.ones_like(gradients)


CONSTRAINTS: Mapping[str, Constraint] = {
    "none": Constraint(everywhere),
    "box": Constraint(box),
    "light": Constraint(light),
    "blackout": Constraint(blackout, wanders=True),
}


def squares(corners: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Windows ``(n, height, width, 1)`` of so many pixels, placed by corners ``(n, 2)`` from 0 to 1."""
    sides = np.minimum(side, shape[:2])
    first = np.floor(corners * (np.array(shape[:2]) - sides + 1)).astype(int)  # (n, 2)
    down, right = (
        (np.arange(length) >= start[:, None]) & (np.arange(length) < start[:, None] + part)
        for length, start, part in zip(shape[:2], first.T, sides, strict=True)
    )
    return np.asarray((down[:, :, None] & right[:, None, :])[..., None], "float32")
