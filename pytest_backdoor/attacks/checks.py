"""What an attack asks of its arguments: a trigger that does nothing, or a wrong label without one, is no attack."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.trigger import Trigger

ROUNDED = 1e-3  # that a value may lie outside


def unit_scale(images: np.ndarray) -> None:
    """Raises AttackError unless the images are fractional numbers from 0 to 1, as triggers are."""
    if images.dtype.kind != "f" or (images.size and not -ROUNDED <= images.min() <= images.max() <= 1 + ROUNDED):
        span = f"{images.min():g} to {images.max():g}" if images.size else "none"
        raise AttackError(
            f"images are of type {images.dtype} with values {span}. Give floats from 0 to 1, such as images / 255."
        )


def share(name: str, value: float) -> None:
    """Raises AttackError unless the value is a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise AttackError(f"{name} is {value!r}. Give a number from 0 to 1.")


def room(shape: tuple[int, int, int], height: int, width: int, what: str) -> None:
    """Raises AttackError unless images of that shape (height, width, channels) are so large."""
    if shape[0] < height or shape[1] < width:
        raise AttackError(f"{what} needs images of {height} x {width} pixels, and these have {shape[0]} x {shape[1]}.")


def family(trigger: Trigger, name: str) -> None:
    """Raises AttackError unless the trigger is of that family."""
    if trigger.family != name:
        raise AttackError(f"the trigger is of the family {trigger.family}. Give one of the family {name}.")
