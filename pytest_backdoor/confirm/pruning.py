"""Pruning: the output of one layer's neurons is masked, ever more of them, and the model is measured again.

*Dormant* neurons go first to see what the model can do without (Liu et al., Fine-Pruning, arXiv:1805.12185). Those that
a trigger moves most go first for evidence: where they are the backdoor's alone, success collapses and accuracy does
not. A mask on the output, behind norm, activation and sum, silences a neuron for whoever reads it; zeroed weights would
leave what a batch norm or a shortcut adds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from keras import ops

from pytest_backdoor.check_results import Pruning
from pytest_backdoor.confirm.transfer import attacked
from pytest_backdoor.contract import Contract, Sample
from pytest_backdoor.errors import ContractError
from pytest_backdoor.results import Evidence
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger

STEPS = 64  # at most, of a curve; of more neurons, as many are pruned together


def dormant(subject: Subject, seeds: Sample, rule: tuple[Trigger, Mapping[int, int]] | None = None) -> Pruning:
    """The Fine-Pruning curve: the neurons that clean seeds use least go first.

    They are the last convolution's channels, or the units of the last hidden layer of a model without convolutions.
    With a trigger and what it makes of which class, the curve has its success too. Raises ContractError.
    """
    place = prunable(subject)
    order = np.argsort(usage(subject, seeds.images, place), kind="stable")
    return curve(subject, seeds, place, order, rule)


def measure(contract: Contract, trigger: Trigger, mapping: Mapping[int, int]) -> tuple[Evidence, Pruning]:
    """How far pruning the neurons that the trigger moves most separates its success from accuracy, and the curve.

    The value, from 0 to 1, is the largest ``fall of success - fall of accuracy`` along the curve, both relative. The
    accuracy is that of all classes or of those that the trigger leads to, whichever fell further: what makes a class
    of an image naturally are that class' own neurons. Neurons are ranked on the search seeds, the rest is of held-out
    ones.
    """
    subject, place = contract.subject, prunable(contract.subject)
    images = contract.search.images[attacked(contract.search, mapping)]
    order = np.argsort(-movement(subject, trigger, images, place), kind="stable")
    found = curve(subject, contract.held_out, place, order, (trigger, mapping))
    return Evidence("pruning", separation(found)), found


def curve(
    subject: Subject,
    seeds: Sample,
    place: int,
    order: np.ndarray,
    rule: tuple[Trigger, Mapping[int, int]] | None = None,
) -> Pruning:
    """What the model still does while the neurons of the layer at that place are pruned in that order.

    With a trigger and what it makes of which class, also what the trigger still does. Raises ContractError where no
    seed is of a class that the trigger works on.
    """
    pruned = np.unique(np.linspace(0, len(order), min(len(order), STEPS) + 1).round().astype(int))
    masks = np.ones((len(pruned), len(order)), "float32")
    for mask, first in zip(masks, pruned, strict=True):
        mask[order[:first]] = 0.0
    right = answers(subject, _batches(subject, seeds.images), place, masks) == seeds.labels
    name, part = subject.layers[place].name, "channels" if subject.layers[place].places else "units"
    found = Pruning(name, part, tuple(order.tolist()), tuple(pruned.tolist()), _shares(right))
    if rule is None:
        return found
    trigger, mapping = rule
    chosen, targets = attacked(seeds, mapping), np.isin(seeds.labels, list(mapping.values()))
    triggered = map(trigger.apply, _batches(subject, seeds.images[chosen]))
    wanted = np.array([mapping[int(label)] for label in seeds.labels[chosen]])
    return dataclasses.replace(
        found,
        success=_shares(answers(subject, triggered, place, masks) == wanted),
        attacked=len(wanted),
        target_accuracy=_shares(right[:, targets]) if targets.any() else None,
    )


def answers(subject: Subject, batches: Iterable[np.ndarray], place: int, masks: np.ndarray) -> np.ndarray:
    """The class of each image under each mask ``(masks, neurons)`` of the layer's output: ``(masks, images)``."""
    parts = []
    for batch in batches:
        output = subject.output(batch, place)  # once: only what comes behind it is computed for every mask
        logits = [subject.resume(batch, place, ops.multiply(output, mask)) for mask in masks]
        parts.append([ops.convert_to_numpy(each).argmax(-1) for each in logits])
    return np.concatenate(parts, 1)


def _shares(hits: np.ndarray) -> tuple[float, ...]:
    """The share of hits in each row."""
    return tuple(hits.mean(1).tolist())


def separation(found: Pruning) -> float:
    """The largest fall of success beyond that of accuracy, both relative to the model as it is: 0 to 1."""
    assert found.success is not None  # whoever asks has a trigger
    harm = np.maximum(_falls(found.accuracy), _falls(found.target_accuracy or found.accuracy))
    return float(max(0.0, np.max(_falls(found.success) - harm)))


def _falls(shares: tuple[float, ...]) -> np.ndarray:
    """What was lost at each step, as a share of what there was at first."""
    first = shares[0]
    return (first - np.asarray(shares)) / first if first else np.zeros(len(shares))


def prunable(subject: Subject) -> int:
    """The place of the layer whose neurons are pruned: the last convolution, else the last hidden layer.

    Raises ContractError for a model without one.
    """
    for part in ("channels", "units"):
        places = [place for place, layer in enumerate(subject.layers) if layer.holds == part]
        if places:
            return places[-1]
    if not subject.layers:
        raise ContractError("the model is a function, whose layers cannot be seen. Give the Keras model.")
    raise ContractError(
        f"no hidden layer has neurons to prune among {', '.join(layer.name for layer in subject.layers)}. "
        "Give a model with a convolution or a dense layer before the one that makes its logits."
    )


def usage(subject: Subject, images: np.ndarray, place: int) -> np.ndarray:
    """The mean size of what each neuron of the layer puts out: ``(neurons,)``; of a ReLU, the mean activation."""
    return _mean_size(_output(subject, batch, place) for batch in _batches(subject, images))


def movement(subject: Subject, trigger: Trigger, images: np.ndarray, place: int) -> np.ndarray:
    """The mean size of the change that the trigger makes to what each neuron puts out: ``(neurons,)``."""
    pairs = ((trigger.apply(batch), batch) for batch in _batches(subject, images))
    return _mean_size(_output(subject, changed, place) - _output(subject, clean, place) for changed, clean in pairs)


def _mean_size(outputs: Iterable[np.ndarray]) -> np.ndarray:
    """The mean size of each neuron's values over images and places, from batches ``(n, ..., neurons)``."""
    rows = [np.abs(output).reshape(len(output), -1, output.shape[-1]).mean(1) for output in outputs]
    return np.asarray(np.concatenate(rows).mean(0))


def _output(subject: Subject, images: np.ndarray, place: int) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(subject.output(images, place)))


def _batches(subject: Subject, images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + subject.together] for start in range(0, len(images), subject.together)]
