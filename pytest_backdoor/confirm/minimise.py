"""Minimising: the fewest cells of a found trigger that still do what it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pytest_backdoor.triggers.cells import cell_strength, growing, restrict
from pytest_backdoor.triggers.trigger import Trigger

TOLERANCE = 0.02  # success that the smaller trigger may lose
GREEDY_CELLS = 40  # above so many cells, single ones are not tried

Success = Callable[[Trigger], float]


def minimise(trigger: Trigger, success: Success, tolerance: float = TOLERANCE) -> Trigger:
    """The smallest cut of the trigger whose success stays within so much, or the trigger itself if none does.

    Cells are dropped from the weakest on, then one by one; a patch's mask becomes all or nothing where it keeps.
    A trigger without cells, such as a warp, stays as the search left it.
    """
    if not {"mask", "delta"} & trigger.arrays.keys():
        return trigger
    wanted = success(trigger) - tolerance
    strength = cell_strength(trigger)
    order = np.argsort(-strength, axis=None, kind="stable")
    kept = _fewest(trigger, order[: int(np.sum(strength > 0.01))], wanted, success)
    if kept is None:
        return trigger
    if len(kept) <= GREEDY_CELLS:
        for cell in kept[::-1]:  # weakest first; each try depends on the one before
            fewer = kept[kept != cell]
            if len(fewer) and success(restrict(trigger, fewer)) >= wanted:
                kept = fewer
    return restrict(trigger, kept)


def _fewest(trigger: Trigger, order: np.ndarray, wanted: float, success: Success) -> np.ndarray | None:
    """The shortest beginning of the order, on a geometric grid, that reaches the wanted success."""
    cuts = (order[:count] for count in growing(len(order)))
    return next((cells for cells in cuts if success(restrict(trigger, cells)) >= wanted), None)
