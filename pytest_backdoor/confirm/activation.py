"""Activation difference: the neurons that a trigger fires, layer by layer and place by place (BackFuzz)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_backdoor.firing import differences
from pytest_backdoor.results import Carrier
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger


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
