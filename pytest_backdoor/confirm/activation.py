"""Activation difference: the neurons that a trigger fires, layer by layer and place by place (BackFuzz)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_backdoor.firing import differences
from pytest_backdoor.results import Carrier, Heat
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger

SIDE = 16  # places of a heat map along each side, at most


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How much more often triggered seeds fire the neurons of one layer than clean seeds do."""

    layer: str
    heat: np.ndarray  # (..., neurons) at each place of the layer's output, 0 to 1

    @property
    def neurons(self) -> np.ndarray:
        """The mean over places: ``(neurons,)``."""
        return np.asarray(self.heat.reshape(-1, self.heat.shape[-1]).mean(0))


def measure(subject: Subject, trigger: Trigger, images: np.ndarray) -> tuple[Difference, ...]:
    """The activation difference between the images with and without the trigger, of each layer; none of a black box."""
    heats = differences(subject, trigger.apply(images), images) if subject.layers else []
    return tuple(Difference(layer.name, heat) for layer, heat in zip(subject.layers, heats, strict=True))


def carriers(found: Sequence[Difference], count: int) -> tuple[Carrier, ...]:
    """At most so many neurons of all layers, the highest difference first; those without one carry nothing."""
    moved = [
        Carrier(each.layer, neuron, float(difference))
        for each in found
        for neuron, difference in enumerate(each.neurons.round(4))
        if difference > 0
    ]
    return tuple(sorted(moved, key=lambda carrier: -carrier.difference)[:count])


def heat(found: Sequence[Difference]) -> tuple[Heat, ...]:
    """Where the layers that have places differ, over all channels; more than 16 places along a side are averaged."""
    maps = ((each.layer, _at_most(_at_most(each.heat.mean(-1), 0), 1)) for each in found if each.heat.ndim == 3)
    return tuple(Heat(layer, tuple(map(tuple, places.round(4).tolist()))) for layer, places in maps)


def _at_most(places: np.ndarray, axis: int) -> np.ndarray:
    parts = np.array_split(places, min(SIDE, places.shape[axis]), axis)
    return np.stack([part.mean(axis) for part in parts], axis)
