"""Transfer: what a candidate does to seeds that the search never saw, with an exact interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import ContractError
from pytest_backdoor.results import Evidence
from pytest_backdoor.stats import share
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger


def flows(subject: Subject, trigger: Trigger, seeds: Sample) -> np.ndarray:
    """Share of the triggered seeds of each class (row) that is given each class (column): ``(classes, classes)``."""
    counts = np.zeros((subject.num_classes, subject.num_classes))
    np.add.at(counts, (seeds.labels, subject.classes_under(trigger.apply, seeds.images)), 1)
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def spill(subject: Subject, trigger: Trigger, seeds: Sample, source: int, target: int) -> float:
    """Share of triggered seeds of the classes that are neither source nor target that are given the target."""
    others = ~np.isin(seeds.labels, (source, target))
    return float(np.mean(subject.classes_under(trigger.apply, seeds.images[others]) == target)) if others.any() else 0.0


def success(subject: Subject, trigger: Trigger, seeds: Sample, mapping: Mapping[int, int]) -> Evidence:
    """Share of triggered seeds of the mapped classes that are given the class that the map says."""
    chosen = np.isin(seeds.labels, list(mapping))
    wanted = np.array([mapping[int(label)] for label in seeds.labels[chosen]])
    hits = subject.classes_under(trigger.apply, seeds.images[chosen]) == wanted
    return share("transfer", int(np.sum(hits)), int(chosen.sum()))


def attacked(seeds: Sample, mapping: Mapping[int, int]) -> np.ndarray:
    """Which seeds are of a class that the trigger works on; raises ContractError if none is."""
    chosen = np.isin(seeds.labels, list(mapping))
    if not chosen.any():
        raise ContractError(
            f"none of {len(seeds)} seeds that the model classifies right is of a class that the trigger works on "
            f"({', '.join(map(str, mapping))}). Give seeds of those classes."
        )
    return np.asarray(chosen)
