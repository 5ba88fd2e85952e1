"""The check of a model's training data: features of its last hidden layer, two checks of each class, judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_backdoor import judge
from pytest_backdoor.contract import check, check_labels, fit_channels
from pytest_backdoor.dataset.clustering import activation_clustering
from pytest_backdoor.dataset.features import penultimate, within_classes
from pytest_backdoor.dataset.halves import Halves
from pytest_backdoor.dataset.spectral import spectral_signatures
from pytest_backdoor.dataset_results import ClassChecked, DatasetResult, Split
from pytest_backdoor.errors import ContractError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.scan import generator
from pytest_backdoor.seeds import Seeds, from_arrays
from pytest_backdoor.subject import Classifier, Subject, classifier

CHECKS: Mapping[str, Callable[[np.ndarray], Halves]] = {
    "activation clustering": activation_clustering,
    "spectral signatures": spectral_signatures,
}
TRIED = 2000  # images that the scaling is found with


def check_dataset(model: Any, images: Any, labels: Any, options: Options) -> DatasetResult:
    """What the classes of training data look like to the model that was trained on it, a path or a Keras model.

    Images are in the scale of their file, ``(n, height, width, channels)`` or ``(n, height, width)``; labels are the
    ones that were trained with. Raises BackdoorError for what cannot be checked.
    """
    loaded = keras_file.opened(model)
    form = classifier(loaded, "model", options.memory)
    rng = generator(options.seed, "dataset")
    data, truth = _data(form, images, labels)
    subject, accuracy = _contract(form, data, options, rng)
    features = penultimate(subject, data.images, rng)
    reasons = {int(label): judge.images_short(int(np.sum(truth == label))) for label in np.unique(truth)}
    enough = np.isin(truth, [label for label, reason in reasons.items() if not reason])
    if len(np.unique(truth[enough])) < 2:
        raise ContractError(
            f"the images of {sum(not reason for reason in reasons.values())} classes are enough to be checked, and two "
            f"classes are needed; the largest has {np.bincount(truth).max()} images. Give the whole training set."
        )
    splits = _splits(features[enough], truth[enough], np.flatnonzero(enough))
    classes = tuple(
        _checked(label, int(np.sum(truth == label)), reason, splits, options.alpha) for label, reason in reasons.items()
    )
    least = min(split.p_value for found in splits.values() for split in found)
    return DatasetResult(len(truth), subject.scaling.name, accuracy, least, classes)


def _data(form: Classifier, images: Any, labels: Any) -> tuple[Seeds, np.ndarray]:
    """Images as the model takes them, and their labels; raises ContractError."""
    data = fit_channels(form, from_arrays(images, labels, "training images"))
    if data.labels is None:
        raise ContractError("the training data has no labels. Give those that the model was trained with as y.")
    check_labels(form, data.labels)
    if len(np.unique(data.labels)) < 2:
        raise ContractError(f"all images have the label {data.labels[0]}. Give the whole training set.")
    return data, data.labels


def _contract(form: Classifier, data: Seeds, options: Options, rng: np.random.Generator) -> tuple[Subject, float]:
    """The model in the scaling in which it is right most often, and how often, on a sample of the data."""
    assert data.labels is not None
    some = rng.permutation(len(data))[:TRIED]
    agreed = check(form, replace(data, images=data.images[some], labels=data.labels[some]), options.min_accuracy, rng)
    return agreed.subject, agreed.seeds.accuracy or 0.0


def _splits(features: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> dict[int, list[Split]]:
    """What each check makes of each class; numbers ``(n,)`` are those of the images in the data set."""
    scaled = within_classes(features, labels)
    members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    splits: dict[int, list[Split]] = {label: [] for label in members}
    for name, split in CHECKS.items():
        halves = {label: split(scaled[rows]) for label, rows in members.items()}
        p_values = judge.split_p_values(np.array([each.separation for each in halves.values()]), name)
        for (label, each), p_value in zip(halves.items(), p_values, strict=True):
            suspects = tuple(numbers[members[label][each.smaller]].tolist())
            splits[label].append(Split(name, each.separation, float(p_value), suspects))
    return splits


def _checked(label: int, images: int, reason: str, splits: Mapping[int, list[Split]], alpha: float) -> ClassChecked:
    if reason:
        return ClassChecked(label, images, suspicious=False, skipped=reason)
    found = tuple(splits[label])
    return ClassChecked(label, images, any(split.p_value <= alpha for split in found), found)
