"""Free images: gradient descent on the pixels themselves, many images in one batch, kept between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.deadline import in_time
from pytest_backdoor.subject import Subject

RATE, MOMENTUM, SCALE_MOMENTUM = 0.05, 0.9, 0.999  # Adam

Loss = Callable[[Any, Any], Any]  # (images, their margins) -> sum over images


class State(NamedTuple):
    """The images and Adam's moments of them."""

    images: Any
    first: Any
    second: Any
    steps: Any


def descend(subject: Subject, starts: np.ndarray, wanted: np.ndarray, loss: Loss, steps: int) -> np.ndarray:
    """The images ``(n, height, width, channels)`` after so many steps down the loss, in parts that fit memory.

    wanted ``(n,)`` is the class whose margin the loss is given.
    """
    evaluate = value_and_grad(lambda images, classes: (loss(images, margin(subject.logits(images), classes)), ()))

    def step(state: State, classes: Any) -> State:
        _, gradient = evaluate(state.images, classes)
        return advance(state, gradient)

    run, parts = compiled(step), []
    for start in range(0, len(starts), subject.together):
        images = starts[start : start + subject.together]
        state = State(images, np.zeros_like(images), np.zeros_like(images), np.float32(0))
        classes = np.eye(subject.num_classes, dtype="float32")[wanted[start : start + subject.together]]
        for _ in in_time(steps):
            state = run(state, classes)
        parts.append(ops.convert_to_numpy(state.images))
    return np.concatenate(parts)


def advance(state: State, gradient: Any) -> State:
    """One step of Adam, back into 0 to 1."""
    steps = state.steps + 1
    first = MOMENTUM * state.first + (1 - MOMENTUM) * gradient
    second = SCALE_MOMENTUM * state.second + (1 - SCALE_MOMENTUM) * gradient * gradient
    rate = RATE * ops.sqrt(1 - SCALE_MOMENTUM**steps) / (1 - MOMENTUM**steps)
    return State(ops.clip(state.images - rate * first / (ops.sqrt(second) + 1e-8), 0.0, 1.0), first, second, steps)


def margin(logits: Any, wanted: Any) -> Any:
    """By how much the logit of the wanted class, one-hot ``(n, classes)``, exceeds the largest other: ``(n,)``."""
    return ops.sum(logits * wanted, axis=-1) - ops.max(logits - 1e9 * wanted, axis=-1)
