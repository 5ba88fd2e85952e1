"""Neuron coverage: which neurons some images wake, and which to push next (Pei et al., DeepXplore, arXiv:1705.06640).

A neuron is one place on the last axis of a layer's output. Its activity is the mean over places of the output after
scaling the whole layer's output for that image to 0 to 1, as in DLFuzz (Guo et al., arXiv:1808.09413); it is covered by
an image where that exceeds a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from pytest_backdoor.firing import differences
from pytest_backdoor.subject import Subject

THRESHOLD = 0.5  # of MNIST in DLFuzz; 0.25 of ImageNet
HEAVIEST = 0.1  # share of all neurons, by mean incoming weight
ABOVE, BELOW = 0.25, 0.2  # how far from the threshold a neuron may be to be pushed over it
NEVER = -np.inf


def awake(outputs: Sequence[Any]) -> tuple[Any, Any]:
    """The activity of each neuron, 0 to 1, and its strength, the mean output over its places as it is.

    Layers' outputs ``(n, ..., neurons)`` -> two of ``(n, neurons of all layers)``.
    """
    strength = [_over_places(output) for output in outputs]
    activity = [_scaled(output, mean) for output, mean in zip(outputs, strength, strict=True)]
    return ops.concatenate(activity, axis=-1), ops.concatenate(strength, axis=-1)


def _over_places(output: Any) -> Any:
    return output if len(output.shape) == 2 else ops.mean(output, tuple(range(1, len(output.shape) - 1)))


def _scaled(output: Any, mean: Any) -> Any:
    flat = ops.reshape(output, (-1, int(np.prod(output.shape[1:]))))
    low, high = ops.min(flat, 1, keepdims=True), ops.max(flat, 1, keepdims=True)
    return (mean - low) / ops.where(high > low, high - low, np.inf)  # a layer that is the same everywhere wakes none


def activities(subject: Subject, images: np.ndarray) -> np.ndarray:
    """The activity of every neuron for any number of images: ``(n, neurons)``."""
    starts = range(0, len(images), subject.together)
    parts = [subject.activations(images[start : start + subject.together])[1] for start in starts]
    return np.concatenate([ops.convert_to_numpy(awake(part)[0]) for part in parts])


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How often each neuron of a network was covered."""

    layers: tuple[tuple[str, int], ...]  # name, neurons
    times: np.ndarray  # (neurons,)
    images: int

    @property
    def share(self) -> float:
        """The share of neurons that at least one image covers, 0 to 1."""
        return float(np.mean(self.times > 0)) if len(self.times) else 0.0

    @property
    def by_layer(self) -> dict[str, float]:
        """The same for each layer."""
        parts = np.split(self.times > 0, np.cumsum([neurons for _, neurons in self.layers])[:-1])
        return {name: float(part.mean()) for (name, _), part in zip(self.layers, parts, strict=True)}

    @property
    def table(self) -> str:
        """One line for each layer: how many of its neurons were covered."""
        shares = self.by_layer.items()
        return "\n".join(
            f"  {name}: {round(share * count)} of {count}"
            for (name, share), (_, count) in zip(shares, self.layers, strict=True)
        )


def coverage(subject: Subject, images: np.ndarray, threshold: float = THRESHOLD) -> Coverage:
    """How often the images ``(n, height, width, channels)``, 0 to 1, cover each neuron."""
    return Coverage(layers([subject]), np.sum(activities(subject, images) > threshold, 0), len(images))


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """What a strategy may know of a network's neurons."""

    weights: np.ndarray  # (neurons,) mean incoming weight, NaN where there is none
    hidden: np.ndarray  # (neurons,) not in the last layers
    difference: np.ndarray  # (neurons,) how much more often suspicious images fire it than clean ones
    threshold: float = THRESHOLD

    @classmethod
    def of(cls, subjects: Sequence[Subject], difference: np.ndarray | None, threshold: float = THRESHOLD) -> Neurons:
        """The neurons of one network, or of several in their order."""
        weights = np.concatenate([np.asarray(layer.weights) for subject in subjects for layer in subject.layers])
        unknown = np.zeros(len(weights))
        seen = np.concatenate([hidden(subject) for subject in subjects])
        return cls(weights, seen, unknown if difference is None else difference, threshold)


def layers(subjects: Sequence[Subject]) -> tuple[tuple[str, int], ...]:
    """Name and number of neurons of every layer."""
    return tuple((layer.name, len(layer.weights)) for subject in subjects for layer in subject.layers)


def hidden(subject: Subject) -> np.ndarray:
    """Which neurons are not in the last layers: those after the last layer with places, or else the output."""
    seeing = [number for number, layer in enumerate(subject.layers) if layer.places]
    last = seeing[-1] if seeing else len(subject.layers) - 2
    return np.concatenate([np.full(len(layer.weights), at <= last) for at, layer in enumerate(subject.layers)])


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Where a batch of images stands: one row for each."""

    times: np.ndarray  # (n, neurons) how often each neuron was covered so far
    activity: np.ndarray  # (n, neurons) of the image now
    noise: np.ndarray  # (n, neurons) uniform from 0 to 1, of each image's own stream


# Scores (n, neurons): the highest are chosen, those that are -inf never.
Strategy = Callable[[Neurons, Moment], np.ndarray]


def uncovered(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Random neurons that were not covered yet (DeepXplore)."""
    return np.where(moment.times == 0, moment.noise, NEVER)


def often(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Neurons with a chance in proportion to how often they were covered (DLFuzz's strategy 0)."""
    return _weighted(moment.times, moment.noise)


def rarely(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Neurons with a chance that falls with how often they were covered (DLFuzz's strategy 1)."""
    return _weighted(moment.times.max(1, keepdims=True) - moment.times, moment.noise)


def heavy(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Random neurons among the tenth with the highest mean incoming weight, if it is above 0 (DLFuzz's strategy 2)."""
    weights = np.nan_to_num(neurons.weights, nan=NEVER)
    tenth = np.sort(weights)[::-1][max(1, round(HEAVIEST * len(weights))) - 1]
    return np.where((weights >= tenth) & (weights > 0), moment.noise, NEVER)


def above(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Random neurons that are a little above the threshold: half of DLFuzz's strategy 3."""
    over = moment.activity - neurons.threshold
    return np.where((over > 0) & (over < ABOVE) & neurons.hidden, moment.noise, NEVER)


def below(neurons: Neurons, moment: Moment) -> np.ndarray:
    """Random neurons that are a little below the threshold, to be pushed down: the other half."""
    under = neurons.threshold - moment.activity
    return np.where((under > 0) & (under < BELOW) & neurons.hidden, moment.noise, NEVER)


def different(neurons: Neurons, moment: Moment) -> np.ndarray:
    """The neurons that suspicious images fire more often than clean ones, by how much."""
    return np.tile(np.where(neurons.difference > 0, neurons.difference, NEVER), (len(moment.noise), 1))


def _weighted(weights: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Scores whose highest are a draw without putting back, with chances in proportion to the weights.

    Efraimidis and Spirakis (Information Processing Letters 97, 2006): log(u) / weight.
    """
    scores = np.log(np.maximum(noise, 1e-12)) / np.maximum(weights, 1e-12)
    return np.where(weights > 0, scores, NEVER)


# By name: the scores, and whether the chosen neurons are pushed up or down.
STRATEGIES: Mapping[str, tuple[tuple[Strategy, float], ...]] = {
    "random": ((uncovered, 1.0),),
    "often": ((often, 1.0),),
    "rarely": ((rarely, 1.0),),
    "heavy": ((heavy, 1.0),),
    "threshold": ((above, 1.0), (below, -1.0)),
    "difference": ((different, 1.0),),
}


def chosen(neurons: Neurons, moment: Moment, strategies: Sequence[str], count: int) -> np.ndarray:
    """How to push each neuron of each image: 1 up, -1 down, 0 not at all: ``(n, neurons)``.

    Each strategy chooses as many as its share of ``count``, among the neurons that none before it chose.
    """
    parts = [(part, sign) for name in strategies for part, sign in STRATEGIES[name]]
    shares = np.diff(np.linspace(0, count, len(parts) + 1).round().astype(int))
    pushed = np.zeros_like(moment.noise)
    for (strategy, sign), share in zip(parts, shares, strict=True):
        scores = np.where(pushed == 0, strategy(neurons, moment), NEVER)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :share]
        allowed = np.take_along_axis(scores, best, 1) > NEVER
        np.put_along_axis(pushed, best, sign * allowed + np.take_along_axis(pushed, best, 1), 1)
    return pushed


def difference(subjects: Sequence[Subject], suspects: np.ndarray | None, clean: np.ndarray) -> np.ndarray | None:
    """The mean difference of each neuron over its places, ``(neurons,)``; None without suspects."""
    if suspects is None or not len(suspects):
        return None
    maps = [each for subject in subjects for each in differences(subject, suspects, clean)]
    return np.concatenate([each.reshape(-1, each.shape[-1]).mean(0) for each in maps])
