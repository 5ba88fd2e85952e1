"""Additive: one faint image added to every image: blends, watermarks, universal perturbations."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.triggers.family import Family, Params


def initial(arms: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Params:
    """A fresh, nearly invisible change for each arm."""
    return (rng.normal(0.0, 0.02, (arms, *shape)).astype("float32"),)


def arrays(params: Params) -> Params:
    """The change itself."""
    return params


def apply(arrays: Params, images: Any) -> Any:
    """Each image ``(n, height, width, channels)`` with its own change added, or all with one; kept between 0 and 1."""
    return ops.clip(images + arrays[0], 0.0, 1.0)


def size(arrays: Params) -> Any:
    """L2 norm of each arm's change, in units of the value range."""
    return ops.sqrt(ops.sum(ops.square(arrays[0]), axis=(1, 2, 3)) + 1e-12)


def largest(shape: tuple[int, int, int]) -> float:
    """Every pixel of one channel from black to white."""
    return float(np.sqrt(shape[0] * shape[1]))


ADDITIVE = Family("additive", ("delta",), initial, arrays, apply, size, largest, start_cost=5e-2)
