"""Fine-pruning: channels that sleep on clean images are silenced, then the rest is tuned (Liu et al., RAID 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.network import rebuilt
from pytest_backdoor.repair import tuning
from pytest_backdoor.repair.channels import Convolution, activity, convolutions, masks
from pytest_backdoor.repair.tuning import right, seen_alike
from pytest_backdoor.subject import Subject

# Of few seeds labels cost more accuracy than they teach; of many a long tuning at a high rate pays (docs/pruning.md).
FEW = tuning.Settings(rates=(0.03, 0.003), answers=0.5)
MANY = tuning.Settings(rates=(0.3, 0.1, 0.03), steps=1000, answers=0.0)
PLENTY = 2000  # seeds to tune on
LOOKS = 50  # at the accuracy while channels are silenced, at most


@dataclass(frozen=True, slots=True)
class Settings:
    """How far a model is pruned and how it is tuned."""

    points: float = 0.05  # of accuracy on the tuning seeds that the pruning may cost
    tuning: tuning.Settings = FEW


def settings(seeds: int) -> Settings:
    """How a model is pruned and tuned of so many seeds."""
    return Settings(tuning=MANY if seeds >= PLENTY else FEW)


def pruned(model: keras.Model, subject: Subject, seeds: Sample, settings: Settings) -> np.ndarray:
    """The channels of the last convolution that can be silenced, those that are least active on the seeds first.

    Accuracy on the seeds then falls by no more than ``settings.points``. Raises OutOfScopeError for a model without a
    convolution whose channels an activation follows.
    """
    convolution = last(model)
    order = np.argsort(activity(subject, convolution, seeds.images), kind="stable")
    trial = rebuilt(model, model.get_weights())
    seen, least = seen_alike(trial, subject), right(subject, seeds) / len(seeds) - settings.points
    kept = 0
    # One after another: how many can go is known only when one was too many.
    for count in range(1, len(order)):
        if count % -(-len(order) // LOOKS):
            continue
        trial.set_weights(silenced_weights(model, convolution, order[:count]))
        if right(seen, seeds) / len(seeds) < least:
            break
        kept = count
    return order[:kept]


def fine_pruned(
    model: keras.Model, subject: Subject, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, int]:
    """A copy of the model, pruned and then tuned on clean seeds, and how many channels are silent in it."""
    channels = pruned(model, subject, seeds, settings)
    silent = rebuilt(model, silenced_weights(model, last(model), channels))
    kept = masks(silent, [(last(silent), channels)])
    return tuning.tuned(silent, subject, seeds, (), kept, settings.tuning, rng), len(channels)


def last(model: keras.Model) -> Convolution:
    """The last convolution that an activation follows, which leaves a channel without input silent."""
    found = [each for each in convolutions(model) if each.ending is not None]
    if not found:
        raise OutOfScopeError("no convolution with an activation that leaves zero as it is, so no channel to prune.")
    return found[-1]


def silenced_weights(model: keras.Model, convolution: Convolution, channels: np.ndarray) -> list[np.ndarray]:
    """The model's weights with these channels at zero."""
    kept = masks(model, [(convolution, channels)])
    return [weight * mask for weight, mask in zip(model.get_weights(), kept, strict=True)]
