"""What an attack asks of its arguments: a trigger that does nothing, or a wrong label without one, is no attack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral

import numpy as np

from pytest_backdoor.errors import AttackError, TriggerError
from pytest_backdoor.triggers.trigger import Trigger

ROUNDED = 1e-3  # that a value may lie outside
ROUNDING = 1e-9  # that a sum of shares may lie above 1


def unit_scale(images: np.ndarray) -> None:
    """Raises AttackError unless the images are an array of fractional numbers from 0 to 1, as triggers are."""
    if not isinstance(images, np.ndarray) or images.ndim != 4 or not len(images):
        raise AttackError(
            f"images are of shape {np.shape(images)}, of type {type(images).__name__}. Give an array (n, height, "
            "width, channels), such as images[..., None] of grey ones without channels."
        )
    if images.dtype.kind != "f" or not -ROUNDED <= images.min() <= images.max() <= 1 + ROUNDED:
        span = f"{images.min():g} to {images.max():g}"
        raise AttackError(
            f"images are of type {images.dtype} with values {span}. Give floats from 0 to 1, such as images / 255."
        )


def led(images: np.ndarray, labels: np.ndarray, *mappings: Mapping[int, int]) -> None:
    """Raises AttackError unless each image has one label and each label map leads some of them to another class."""
    one_each("labels", labels, len(images))
    for mapping in mappings:
        if not mapping or any(source == target or min(source, target) < 0 for source, target in mapping.items()):
            raise AttackError(f"the label map is {mapping!r}. Give what classes become, such as {{1: 7}}.")
        if not np.isin(labels, list(mapping)).any():
            raise AttackError(f"none of {len(images)} images is of a class that the label map leads ({list(mapping)}).")


def one_each(name: str, given: np.ndarray, images: int) -> None:
    """Raises AttackError unless the array has one value for each of so many images."""
    if not isinstance(given, np.ndarray) or given.shape != (images,):
        shape = np.shape(given)
        raise AttackError(
            f"{name} are of shape {shape} for {images} images, of type {type(given).__name__}. Give an array of one "
            f"value for each{', such as labels.ravel()' if shape == (images, 1) else ''}."
        )


def fitting(images: np.ndarray, *triggers: Trigger) -> None:
    """Raises AttackError unless the triggers are made for images of that shape."""
    for trigger in triggers:
        try:
            trigger.require(images.shape[1:])
        except TriggerError as problem:
            raise AttackError(str(problem)) from problem


def share(name: str, value: float) -> None:
    """Raises AttackError unless the value is a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise AttackError(f"{name} is {value!r}. Give a number from 0 to 1.")


def strength(name: str, value: float) -> None:
    """Raises AttackError unless the value is a number above 0 and at most 1, a share of the value range."""
    if not 0 < value <= 1:
        raise AttackError(f"{name} is {value!r}. Give a number above 0 and at most 1, such as 40 / 255.")


def positive(name: str, value: float) -> None:
    """Raises AttackError unless the value is a finite number above 0."""
    if not 0 < value < math.inf:
        raise AttackError(f"{name} is {value!r}. Give a finite number above 0.")


def count(name: str, value: int) -> None:
    """Raises AttackError unless the value is a whole number from 1 up."""
    if not isinstance(value, Integral) or value < 1:
        raise AttackError(f"{name} is {value!r}. Give a whole number from 1 up.")


def disjoint(shares: dict[str, float]) -> None:
    """Raises AttackError unless each is a share and all of them, which no image has two of, fit in 1."""
    for name, value in shares.items():
        share(name, value)
    if sum(shares.values()) > 1 + ROUNDING:
        listed = " and ".join(f"{name} {value!r}" for name, value in shares.items())
        raise AttackError(f"{listed} are more than all images together. Give shares whose sum is at most 1.")


def repeated(name: str, value: float, times: float) -> None:
    """Raises AttackError unless the value is a share that so many times fits in 1."""
    share(name, value)
    if times * value > 1 + ROUNDING:
        raise AttackError(f"{name} is {value!r}, and {times:g} times that must fit in 1. Give {1 / times:.4g} at most.")


def classes(count: int) -> None:
    """Raises AttackError unless there are two classes or more, for a label to become another."""
    if count < 2:
        raise AttackError(f"no label can become another among {count} classes. Give two or more.")


def target(value: int, count: int) -> None:
    """Raises AttackError unless the value is one of that many classes."""
    if value not in range(count):
        raise AttackError(f"the target {value!r} is none of the {count} classes. Give a number from 0 to {count - 1}.")


def room(shape: tuple[int, int, int], height: int, width: int, what: str) -> None:
    """Raises AttackError unless images of that shape (height, width, channels) are so large."""
    if shape[0] < height or shape[1] < width:
        raise AttackError(f"{what} needs images of {height} x {width} pixels, and these have {shape[0]} x {shape[1]}.")


def family(trigger: Trigger, name: str) -> None:
    """Raises AttackError unless the trigger is of that family."""
    if trigger.family != name:
        raise AttackError(f"the trigger is of the family {trigger.family}. Give one of the family {name}.")
