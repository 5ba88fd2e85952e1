"""What a check of training data says: frozen data, and the way to plain dictionaries and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Split:
    """What one check of training data makes of one class: its images in two groups, of which the smaller is suspected.

    ``separation`` is the distance of the groups in units of their deviation (Ashman's D); one cloud has about 3.
    """

    check: str
    separation: float
    p_value: float  # corrected for all classes and checks of the data set
    suspects: tuple[int, ...]  # numbers of images, the most suspicious first


@dataclass(frozen=True, slots=True)
class ClassChecked:
    """One class of training data."""

    label: int
    images: int
    suspicious: bool
    splits: tuple[Split, ...] = ()
    skipped: str | None = None  # why the class was not checked

    @property
    def suspects(self) -> tuple[int, ...]:
        """The suspects of the clearest split, if the class is suspicious."""
        return min(self.splits, key=lambda split: split.p_value).suspects if self.suspicious else ()


@dataclass(frozen=True, slots=True)
class DatasetResult:
    """What a model's training data looks like to the model."""

    images: int
    scaling: str
    accuracy: float
    p_value: float  # that a clean data set has a class like the most suspicious one
    classes: tuple[ClassChecked, ...]

    @property
    def suspicious(self) -> tuple[ClassChecked, ...]:
        """The suspicious classes, the most suspicious first."""
        found = [each for each in self.classes if each.suspicious]
        return tuple(sorted(found, key=lambda each: min(split.p_value for split in each.splits)))


def dataset_to_dict(result: DatasetResult) -> dict[str, Any]:
    """The result of a check of training data: builtins only."""
    classes = [
        dataclasses.asdict(each) | {"splits": [_split_to_dict(split) for split in each.splits]}
        for each in result.classes
    ]
    return dataclasses.asdict(result) | {"classes": classes}


def dataset_from_dict(entry: Mapping[str, Any]) -> DatasetResult:
    """The result that ``dataset_to_dict`` was given."""
    splits = [
        tuple(Split(**{**split, "suspects": tuple(split["suspects"])}) for split in each["splits"])
        for each in entry["classes"]
    ]
    classes = tuple(
        ClassChecked(**{**each, "splits": found}) for each, found in zip(entry["classes"], splits, strict=True)
    )
    return DatasetResult(**{**entry, "classes": classes})


def _split_to_dict(split: Split) -> dict[str, Any]:
    return dataclasses.asdict(split) | {"suspects": list(split.suspects)}
