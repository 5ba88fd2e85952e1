"""What checks beside the scan say: frozen data, and the way of histograms to plain dictionaries and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

GROUPS = ("edges", "clean", "triggered", "suspicious")  # lists of a histogram


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a model and a trigger still do while ever more neurons of one layer are pruned."""

    layer: str
    part: str  # what is pruned: channels of a convolution, or units
    order: tuple[int, ...]  # the neurons, in the order in which they are pruned
    pruned: tuple[int, ...]  # how many are, at each step, from none to all
    accuracy: tuple[float, ...]  # share of the seeds, at each step
    success: tuple[float, ...] | None = None  # of the trigger, likewise; None: no trigger is known
    attacked: int = 0  # seeds that the success is a share of
    target_accuracy: tuple[float, ...] | None = None  # of seeds of the classes that the trigger leads to

    def last_step(self, drop: float) -> int:
        """The last step before accuracy falls by more than ``drop``."""
        fallen = [step for step, share in enumerate(self.accuracy) if share < self.accuracy[0] - drop - 1e-9]
        return fallen[0] - 1 if fallen else len(self.pruned) - 1

    def spare(self, drop: float) -> float:
        """The share of neurons that can be pruned before accuracy falls by more than ``drop``."""
        return self.pruned[self.last_step(drop)] / len(self.order)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many images have which entropy when blended with clean ones (STRIP)."""

    edges: tuple[float, ...]  # bits, one more than there are counts
    clean: tuple[int, ...]
    triggered: tuple[int, ...]
    suspicious: tuple[int, ...]
    boundary: float  # bits: images under it are rejected


@dataclass(frozen=True, slots=True)
class Screening:
    """What STRIP makes of suspicious images. Entropies, in bits, are low where a trigger decides."""

    path: str
    sha256: str
    entropies: tuple[float, ...]  # of the suspicious images, in their order
    boundary: float
    rule: Literal["normal", "empirical"]  # where the boundary comes from
    poor: str | None  # why a normal fit does not hold
    false_rejections: float  # share of clean images that it rejects, had they the suspicious ones' mix of classes
    clean: int  # images that it was found from
    overlays: int  # clean images that each image was blended with
    rejected: tuple[int, ...]  # numbers of the suspicious images under the boundary, from 0
    names: tuple[str, ...]  # of their files, where they have some
    p_value: float  # of so many rejected among clean images
    histogram: Histogram


def histogram_to_dict(histogram: Histogram) -> dict[str, Any]:
    """The histogram in the JSON report: builtins only."""
    entry = dataclasses.asdict(histogram)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}


def histogram_from_dict(entry: Mapping[str, Any]) -> Histogram:
    """The histogram that ``histogram_to_dict`` was given."""
    edges, clean, triggered, suspicious = (tuple(entry[name]) for name in GROUPS)
    return Histogram(edges, clean, triggered, suspicious, entry["boundary"])
