"""Patch: a mask blends a pattern over the image (Wang et al., Neural Cleanse, IEEE S&P 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter

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


def forbid(params: Params, masks: np.ndarray, share: float = 1 / 16) -> Params:
    """The parameters with each arm's mask shut where the given mask ``(arms, height, width, 1)`` is heaviest.

    ``share`` of the image is shut, around the mask too, because a trigger often works as well a pixel beside.
    """
    blurred = gaussian_filter(masks.astype("float64"), (0, 1.5, 1.5, 0), mode="constant")
    flat = blurred.reshape(len(masks), -1)
    bound = np.sort(flat, axis=1)[:, -max(1, int(share * flat.shape[1]))]
    closed = blurred >= np.maximum(bound, 1e-12)[:, None, None, None]
    # At -50 the sigmoid has no gradient left, so Adam never opens the cell again.
    return (np.where(closed, -50.0, params[0]).astype("float32"), *params[1:])


PATCH = Family("patch", ("mask", "pattern"), initial, arrays, apply, size, start_cost=1e-2)
