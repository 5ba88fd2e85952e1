"""Filters: the colours of the whole image are changed (Liu et al., ABS, CCS 2019, use such filters as triggers)."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.triggers.trigger import Trigger


def tint(shape: tuple[int, int, int], strength: float, rng: np.random.Generator) -> Trigger:
    """A random photo filter: channels are mixed, weakened and lifted; a ``strength`` near 0 leaves the image as it is.

    At 0.5 a colour image looks like an old print, a grey one loses about half of its contrast. Raises AttackError for
    a strength that is not above 0 and at most 1.
    """
    checks.strength("strength", strength)
    # ABS plants Instagram's filters; a matrix and an offset are the very form that scans search for.
    channels = shape[2]
    mixed = rng.dirichlet(np.ones(channels), channels) if channels > 1 else np.array([[0.3]])
    matrix = (1 - strength) * np.eye(channels) + strength * mixed
    offset = strength * rng.uniform(0.1, 0.4, channels)
    return Trigger("tone", {"matrix": matrix.astype("float32"), "offset": offset.astype("float32")})
