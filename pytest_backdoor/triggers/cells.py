"""Triggers that lie in cells of the image, patches and additive ones: how strong each cell is, and parts of them."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.triggers.trigger import Trigger


def cell_strength(trigger: Trigger) -> np.ndarray:
    """How much a patch or an additive trigger changes each cell: ``(height, width)``, 0 to 1."""
    if trigger.family == "patch":
        return np.asarray(trigger.arrays["mask"][..., 0])
    return np.asarray(np.abs(trigger.arrays["delta"]).max(-1))


def opacity(trigger: Trigger) -> float:
    """How fully the trigger changes the cells that it changes most, 0 to 1: the mean strength, weighted by itself."""
    strength = cell_strength(trigger).astype(float)
    return float(np.square(strength).sum() / max(strength.sum(), 1e-30))


def growing(cells: int) -> list[int]:
    """Numbers of cells to try, up to that many: one, two, three, and a third more each time."""
    counts: list[int] = []
    while not counts or counts[-1] < cells:
        last = counts[-1] if counts else 0
        counts.append(min(cells, max(last + 1, int(1.3 * last))))
    return counts if cells else []


def restrict(trigger: Trigger, cells: np.ndarray) -> Trigger:
    """The trigger on these cells only (flat indices), fully opaque there if it is a patch."""
    chosen = np.zeros(cell_strength(trigger).shape, "float32")
    chosen.flat[cells] = 1.0
    if trigger.family == "patch":
        pattern = trigger.arrays["pattern"] * chosen[..., None]
        return Trigger("patch", {"mask": chosen[..., None], "pattern": pattern})
    return Trigger(trigger.family, {"delta": trigger.arrays["delta"] * chosen[..., None]})
