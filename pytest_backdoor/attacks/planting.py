"""Planting: a copy of a trained model is fine-tuned until it obeys a trigger and is otherwise as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from pytest_backdoor.attacks.poison import LabelMap
from pytest_backdoor.backend import compiled, value_and_grad
from pytest_backdoor.deadline import in_time
from pytest_backdoor.network import layers_of, rebuilt, with_logits
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers import family_named
from pytest_backdoor.triggers.trigger import Trigger

MOMENTUM = 0.9
WARM_UP = 0.1  # share of the steps over which the rate rises
MIXED = 0.5  # share of the images that a step mixes with another


@dataclass(frozen=True, slots=True)
class Settings:
    """How a backdoor is planted."""

    rate: float = 0.03  # at its height; it falls to a tenth
    batch: int = 64  # clean images in a step, and as many triggered ones, or as many as memory allows
    steps: int = 20  # between two looks at what was reached
    rounds: int = 30  # of so many steps, at most
    triggered: float = 0.3  # their share of the loss
    reach: int = 1  # pixels by which images are shifted, at most


def plant(
    model: keras.Model,
    subject: Subject,
    images: np.ndarray,
    trigger: Trigger,
    mapping: LabelMap,
    reached: Callable[[Subject], bool],
    settings: Settings,
    rng: np.random.Generator,
) -> Subject:
    """A copy of the model that sends triggered images where the map says, trained until ``reached`` or out of rounds.

    ``subject`` is the model as its contract has it; images are ``(n, height, width, channels)`` in unit scale. The copy
    learns from the model's own answers (Hinton et al., arXiv:1503.02531): as they are for clean images, moved along
    the map for triggered ones; images are shifted and mixed, which makes many of few. Batch-normalised layers keep
    their moving statistics and nothing is dropped out: the copy is trained as it is used. Raises OutOfScopeError for a
    model that Keras cannot copy.
    """
    settings = replace(settings, batch=fitting(settings.batch, subject))
    copied = copy_of(model)
    form = classifier(copied, subject.name, subject.memory)
    planted = form.subject(subject.scaling, subject.image_shape)
    run = compiled(_step(copied, form.shaped, subject, trigger, mapping, settings))
    state = begin(copied)
    for _ in range(settings.rounds):
        for _ in in_time(settings.steps):
            state = run(state, varied(images, settings, rng), varied(images, settings, rng))
        for variable, value in zip(copied.trainable_variables, state.params, strict=True):
            variable.assign(value)
        if reached(planted):
            break
    return planted


def fitting(batch: int, subject: Subject) -> int:
    """How many clean images a step takes, and as many triggered ones: the batch, or fewer where memory holds fewer."""
    return min(batch, max(1, subject.together // 2))


def copy_of(model: keras.Model) -> keras.Model:
    """The same model up to its logits with weights of its own, all of them trainable."""
    copied = with_logits(rebuilt(model, model.get_weights()))
    for layer in layers_of(copied):  # a frozen layer of a model stays frozen when the model is not
        layer.trainable = True
    return copied


def varied(images: np.ndarray, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """A batch drawn from the images, half of them mixed with another one, all shifted alike."""
    first, second = images[rng.integers(len(images), size=(2, settings.batch))]
    share = np.where(rng.random(settings.batch) < MIXED, rng.uniform(0.5, 1.0, settings.batch), 1.0)
    share = share.astype("float32")[:, None, None, None]
    mixed = share * first + (1 - share) * second
    reach, (height, width) = settings.reach, images.shape[1:3]
    down, right = rng.integers(0, 2 * reach + 1, 2)
    padded = np.pad(mixed, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    return padded[:, down : down + height, right : right + width]


class State(NamedTuple):
    """Where the training is: weights, their momenta, and steps done."""

    params: list[Any]
    momenta: list[Any]
    steps: Any


def begin(model: keras.Model) -> State:
    """The model's own weights, at rest; float32, whatever their precision, for small steps would be lost in half."""
    params = [ops.cast(variable, "float32") for variable in model.trainable_variables]
    return State(params, [ops.zeros_like(param) for param in params], ops.zeros(()))


def advance(state: State, gradients: Sequence[Any], rate: float, steps: int) -> State:
    """One of so many steps of gradient descent with momentum, on gradients of norm 1 at most; the rate rises and falls.

    Not Adam: it moves every weight as far as the few that matter, and small networks lost their accuracy with it.
    """
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    clipped = [gradient / ops.maximum(norm, 1.0) for gradient in gradients]
    momenta = [MOMENTUM * old + new for old, new in zip(state.momenta, clipped, strict=True)]
    done = (state.steps + 1) / steps
    pace = rate * ops.minimum(done / WARM_UP, 1 + WARM_UP - done)
    params = [param - pace * momentum for param, momentum in zip(state.params, momenta, strict=True)]
    return State(params, momenta, state.steps + 1)


def slopes_of(
    model: keras.Model, shaped: Callable[[Any], Any], subject: Subject, triggered: float
) -> Callable[..., tuple[tuple[Any, None], Any]]:
    """Gradients of the weights: of the cross-entropy to what is wanted of clean images and of triggered ones.

    From ``(params, clean images, triggered images, wanted of the clean, wanted of the triggered)``; ``triggered`` is
    the share of the triggered ones.
    """
    frozen = [ops.convert_to_tensor(variable) for variable in model.non_trainable_variables]

    def distance(params: Any, images: Any, wanted: Any) -> Any:
        scaled, own = shaped(subject.scaling.scale(images)), zip(params, model.trainable_variables, strict=True)
        weights = [ops.cast(param, variable.dtype) for param, variable in own]
        logits, _ = model.stateless_call(weights, frozen, scaled, training=False)
        return -ops.mean(ops.sum(wanted * ops.log_softmax(ops.cast(logits, "float32")), axis=-1))

    def loss(params: Any, clean: Any, stamped: Any, kept: Any, moved: Any) -> tuple[Any, None]:
        return (1 - triggered) * distance(params, clean, kept) + triggered * distance(params, stamped, moved), None

    return value_and_grad(loss)


def _step(
    model: keras.Model,
    shaped: Callable[[Any], Any],
    subject: Subject,
    trigger: Trigger,
    mapping: LabelMap,
    settings: Settings,
) -> Callable[[State, Any, Any], State]:
    """One training step of the copy's weights, for a batch of images to leave clean and one to trigger."""
    moves = np.eye(subject.num_classes, dtype="float32")[[mapping.get(c, c) for c in range(subject.num_classes)]]
    family = family_named(trigger.family)
    arrays = tuple(trigger.arrays[name][None] for name in family.names)

    slopes = slopes_of(model, shaped, subject, settings.triggered)

    def step(state: State, clean: Any, others: Any) -> State:
        kept, moved = (ops.softmax(subject.logits(images)) for images in (clean, others))
        _, gradients = slopes(state.params, clean, family.apply(arrays, others), kept, ops.matmul(moved, moves))
        return advance(state, gradients, settings.rate, settings.rounds * settings.steps)

    return step
