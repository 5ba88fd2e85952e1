"""Tuning: a copy of a model is trained on clean seeds, and on triggered ones that keep their true classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from pytest_backdoor.attacks.planting import State, advance, begin, copy_of, fitting, slopes_of
from pytest_backdoor.backend import compiled
from pytest_backdoor.contract import Sample
from pytest_backdoor.deadline import in_time
from pytest_backdoor.network import rebuilt
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers.trigger import Trigger

MIXED = 0.5  # share of the images that a step mixes with another
LOST = 0.02  # accuracy on the seeds that a tuning may lose for its rate to suffice
Masks = Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is tuned."""

    rates: tuple[float, ...] = (0.1, 0.03, 0.01)  # at their height, each falls to a tenth; tried until one suffices
    batch: int = 64  # clean images in a step, and as many triggered ones, or as many as memory allows
    steps: int = 100
    triggered: float = 0.5  # their share of the loss
    answers: float = 1.0  # share of what is wanted that the model's own answers make, the labels make the rest
    reach: int = 1  # pixels by which images are shifted, at most


class Batch(NamedTuple):
    """Images as they are shown, as they are without any trigger, and their classes as shares ``(n, classes)``."""

    shown: np.ndarray
    clean: np.ndarray
    labels: np.ndarray


def tuned(
    model: keras.Model,
    subject: Subject,
    seeds: Sample,
    triggers: Sequence[Trigger],
    kept: Masks,
    settings: Settings,
    rng: np.random.Generator,
    others: Sequence[Trigger] = (),
) -> keras.Model:
    """A copy of the model that was trained on the seeds, clean and under each of the triggers, for so many steps.

    Half of the triggered seeds are under one of the ``others`` instead, if there are any, which need not be unlearned.
    A rate that is too high for a network shows on the seeds themselves: then a lower one is tried, and the best counts.
    ``subject`` is the model whose answers to the clean images are wanted (Hinton et al., arXiv:1503.02531), mixed with
    the labels by ``settings.answers``. Weights stay as they are where ``kept``, one mask for each weight of the model,
    is 0. Batch norms keep their moving statistics and nothing is dropped out: the copy is trained as it is used. Raises
    OutOfScopeError for a model that Keras cannot copy.
    """
    enough, best = _least(subject, seeds, ()) - LOST, (-1.0, model)
    for rate in settings.rates:
        made = _trained(model, subject, seeds, (triggers, others), kept, settings, rate, rng)
        best = max(best, (_least(seen_alike(made, subject), seeds, triggers), made), key=_score)
        if best[0] >= enough:
            break
    return best[1]


def seen_alike(model: keras.Model, subject: Subject) -> Subject:
    """The model in the scaling of the subject, which it is a repaired copy of."""
    form = classifier(model, subject.name, subject.memory)
    return form.subject(subject.scaling, subject.image_shape)


def right(subject: Subject, seeds: Sample) -> int:
    """How many of the seeds the subject classifies right."""
    return int(np.sum(subject.classes(seeds.images) == seeds.labels))


def _trained(
    model: keras.Model,
    subject: Subject,
    seeds: Sample,
    groups: Sequence[Sequence[Trigger]],
    kept: Masks,
    settings: Settings,
    rate: float,
    rng: np.random.Generator,
) -> keras.Model:
    """A copy of the model after all steps at one rate."""
    settings = replace(settings, batch=fitting(settings.batch, subject))
    copied = copy_of(model)
    form = classifier(copied, subject.name, subject.memory)
    run = compiled(_step(copied, form.shaped, subject, kept, settings, rate))
    state = begin(copied)
    for _ in in_time(settings.steps):
        clean = batch(seeds, (), subject.num_classes, settings, rng)
        state = run(state, clean, batch(seeds, groups, subject.num_classes, settings, rng))
    for variable, value in zip(copied.trainable_variables, state.params, strict=True):
        variable.assign(value)
    return rebuilt(model, copied.get_weights())


def _least(subject: Subject, seeds: Sample, triggers: Sequence[Trigger]) -> float:
    """Share of the seeds that are classified right, clean or under the trigger where it is the least."""
    under = (Sample(trigger.apply(seeds.images), seeds.labels) for trigger in triggers)
    return min([right(subject, seeds), *(right(subject, version) for version in under)]) / len(seeds)


def _score(tried: tuple[float, keras.Model]) -> float:
    return tried[0]


def batch(
    seeds: Sample, groups: Sequence[Sequence[Trigger]], classes: int, settings: Settings, rng: np.random.Generator
) -> Batch:
    """Seeds drawn at random, half of them mixed with another one, each under one of the triggers, all shifted alike.

    As many of them are under triggers of each group, but for groups without any.
    """
    first, second = rng.integers(len(seeds), size=(2, settings.batch))
    share = np.where(rng.random(settings.batch) < MIXED, rng.uniform(0.5, 1.0, settings.batch), 1.0).astype("float32")
    classed = np.eye(classes, dtype="float32")[seeds.labels]

    def mixed(of: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *[1] * (of.ndim - 1))
        return np.asarray(weight * of[first] + (1 - weight) * of[second])

    clean = mixed(seeds.images)
    shown, drawn = clean.copy(), rng.permutation(settings.batch)
    present = [group for group in groups if group]
    for group, places in zip(present, np.array_split(drawn, max(1, len(present))), strict=False):
        which = rng.integers(len(group), size=len(places))
        for number, trigger in enumerate(group):  # those that are drawn, each at once: stamped seeds fill no memory
            chosen = places[which == number]
            shown[chosen] = trigger.apply(clean[chosen])
    reach, (height, width) = settings.reach, clean.shape[1:3]
    down, right = rng.integers(0, 2 * reach + 1, 2)

    def shifted(images: np.ndarray) -> np.ndarray:
        padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
        return padded[:, down : down + height, right : right + width]

    return Batch(shifted(shown), shifted(clean), mixed(classed))


def _step(
    model: keras.Model, shaped: Callable[[Any], Any], subject: Subject, kept: Masks, settings: Settings, rate: float
) -> Callable[[State, Batch, Batch], State]:
    """One training step of the copy's weights, for a clean batch and a triggered one."""
    places = {id(weight): place for place, weight in enumerate(model.weights)}
    masks = [kept[places[id(variable)]] for variable in model.trainable_variables]

    def wanted(given: Batch) -> Any:
        own = settings.answers * ops.softmax(subject.logits(given.clean))
        return own + (1 - settings.answers) * given.labels

    slopes = slopes_of(model, shaped, subject, settings.triggered)

    def step(state: State, clean: Batch, stamped: Batch) -> State:
        _, gradients = slopes(state.params, clean.shown, stamped.shown, wanted(clean), wanted(stamped))
        masked = [mask * gradient for mask, gradient in zip(masks, gradients, strict=True)]
        return advance(state, masked, rate, settings.steps)

    return step
