"""What a trigger family must offer to the search: one small object per family, written in keras.ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# One tensor per parameter or array of a family; the first axis of each counts the arms.
Params = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of trigger: where its parameters start, what arrays they stand for, and what those do to images."""

    name: str
    names: tuple[str, ...]  # of the arrays, in order
    initial: Callable[[int, tuple[int, int, int], np.random.Generator], Params]
    arrays: Callable[[Params], Params]
    apply: Callable[[Params, Any], Any]  # (arrays of each image, images (n, height, width, channels)) -> images
    size: Callable[[Params], Any]  # (arrays) -> (arms,), what the search makes small
    largest: Callable[[tuple[int, int, int]], float]  # the size of a trigger that may do anything to such images
    start_cost: float
