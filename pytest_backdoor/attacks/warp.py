"""Warping: the image is bent along one smooth random field (Nguyen and Tran, WaNet, arXiv:2102.10369)."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.triggers.warp import GRID, WARP


def warp(strength: float, rng: np.random.Generator) -> Trigger:
    """A warp whose control points move by ``strength`` pixels on average, for images of any shape.

    The authors' code moves pixels by about a quarter of one along each axis, with a strength of 0.5 in its own unit,
    half a pixel. Raises AttackError for a strength that is no finite number above 0.
    """
    checks.positive("strength", strength)
    # The paper has 4 x 4 control points. These are as many as scans search with, spread in the same way.
    control = rng.uniform(-1.0, 1.0, (GRID, GRID, 2))
    moves = np.sqrt(np.square(control).sum(-1))
    return Trigger("warp", {"control": (control * strength / moves.mean()).astype("float32")})


def noisy(trigger: Trigger, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images each bent along the trigger's field plus fresh noise: WaNet's noise mode, to be given their true labels.

    images are ``(n, height, width, channels)``, 0 to 1. A model that saw these obeys the exact field only. The noise
    is of the control points here, and of each pixel in the paper. Raises AttackError for another trigger or scale.
    """
    checks.family(trigger, WARP.name)
    checks.unit_scale(images)
    control = trigger.arrays["control"]
    spread = np.abs(control).mean()
    shaken = control + rng.uniform(-spread, spread, (len(images), *control.shape))
    return np.asarray(WARP.apply((shaken.astype("float32"),), images))
