"""The contract check: model and seeds must fit each other before any search is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from pytest_backdoor.errors import ContractError, OutOfScopeError
from pytest_backdoor.network import LEAST
from pytest_backdoor.results import SeedsUsed
from pytest_backdoor.scalings import usual
from pytest_backdoor.seeds import Seeds, in_scale_of
from pytest_backdoor.stats import paired
from pytest_backdoor.subject import Classifier, Subject, computed

ABOUT = 0.1  # accuracy that one scaling may lack to another and still be the right one
SURELY = 0.05  # p-value at which one scaling is more accurate than another
DEVIATIONS = 1.1  # standard errors by which the labels must surprise the model less; a single seed makes one
LEAST_LEAD, MOST_LEAD = 0.25, 250.0  # of the first class over the second, in nats, as trained networks have it
ABOUT_ONE, MOST_FOR_ONE = 0.15, 1.5  # what one-hot answers may miss in sum, and may be at most, in the median
MOST_SURPRISED = 10.0  # cross-entropy in nats that a single seed counts for at most
ALONE = 8  # seeds that are also asked one by one
SAMPLE = 500  # seeds that every scaling is tried on, at most
ROUGH = 0.05  # that a probability may differ by for want of precision
EACH_ALONE = (
    ", so that what it says of one depends on which others are asked with it. Give a model that answers each image by "
    "itself."
)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Correctly classified clean images in unit scale, with their classes."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """What the check agreed on: the subject in its scaling, and two samples that share no image."""

    subject: Subject
    search: Sample
    held_out: Sample
    seeds: SeedsUsed
    suspects: np.ndarray | None = None  # suspicious images in unit scale, where the user has some

    @property
    def known(self) -> Sample:
        """All seeds that the model classifies right."""
        first, second = self.search, self.held_out
        images, labels = (first.images, second.images), (first.labels, second.labels)
        return Sample(np.concatenate(images), np.concatenate(labels))


def check(model: Classifier, seeds: Seeds, min_accuracy: float, rng: np.random.Generator) -> Contract:
    """The scaling in which the model does best on the seeds, and the seeds split in halves by class.

    Unlabelled seeds take the model's own predictions as labels. Raises ContractError when the model does worse than
    ``min_accuracy``, answers NaN, or gives every seed the same class.
    """
    seeds = fit_channels(model, seeds)
    images = seeds.images
    if seeds.labels is not None:
        check_labels(model, seeds.labels)
    with computed():
        if (name := model.across_batch(model.layered(images.shape[1:]))) is not None:
            raise OutOfScopeError(f"layer {name} brings the images of a batch together{EACH_ALONE}")
        subjects = [model.subject(scaling, images.shape[1:]) for scaling in usual(seeds.low, seeds.high)]
        some = _sample(len(images))
        labels = None if seeds.labels is None else seeds.labels[some]
        tried = [subject.predict(images[some]) for subject in subjects]
        best = _best(tried, labels, [float(np.mean(subject.scaling.factor)) for subject in subjects])
        logits = tried[best] if len(images) <= SAMPLE else subjects[best].predict(images)
    subject = replace(subjects[best], num_classes=logits.shape[1])  # a function says it by its answers only
    predicted = logits.argmax(-1)
    _check_answers(logits, predicted, seeds)
    if model.gradients:  # what a function answers is read as chances or as logits batch by batch, and is not judged
        with computed():
            _check_alone(subject, images[:ALONE], logits[:ALONE])
    accuracy = None if seeds.labels is None else float(np.mean(predicted == seeds.labels))
    if accuracy is not None and accuracy < min_accuracy:
        shares = ", ".join(
            f"{option.scaling.name} {np.mean(z.argmax(-1) == labels):.0%}"
            for option, z in zip(subjects, tried, strict=True)
        )
        raise ContractError(
            f"the model classifies only {accuracy:.0%} of the seeds right in the likeliest scaling, "
            f"{subject.scaling.name} (tried {shares}). "
            "Seeds of another task, another class order or another scale? Give matching seeds, or lower "
            f"--backdoor-min-accuracy (now {min_accuracy:g}) if the model is that weak."
        )
    known = predicted if seeds.labels is None else seeds.labels
    right = np.flatnonzero(predicted == known)
    first, second = halves(known[right], rng)
    search, held_out = (Sample(images[right[half]], known[right[half]]) for half in (first, second))
    used = SeedsUsed(len(images), subject.scaling.name, accuracy, len(search), len(held_out))
    return Contract(subject, search, held_out, used)


def _check_alone(subject: Subject, images: np.ndarray, together: np.ndarray) -> None:
    """Raises OutOfScopeError where images are answered otherwise one by one than ``together`` with others."""
    alone = np.concatenate([subject.predict(image[None]) for image in images])
    if np.abs(softmax(alone, -1) - softmax(together, -1)).max() > ROUGH:
        raise OutOfScopeError(f"the model answers images otherwise alone than with others{EACH_ALONE}")


def check_labels(model: Classifier, labels: np.ndarray) -> None:
    """Raises ContractError for labels of classes that the model does not know; a function says it by its answers."""
    if model.gradients and not 0 <= labels.min() <= labels.max() < model.num_classes:
        raise ContractError(
            f"labels run from {labels.min()} to {labels.max()}, but the model knows the classes 0 to "
            f"{model.num_classes - 1}. Give the seeds of this model, with labels counted from 0."
        )


def fit_channels(model: Classifier, seeds: Seeds) -> Seeds:
    """The seeds with as many channels as the model takes; raises ContractError where height or width differ."""
    wanted = model.input_shape
    if not wanted:
        return seeds
    height, width, channels = seeds.images.shape[1:]
    takes = {3: wanted[-1], 2: 1, 1: wanted[-1] // (height * width)}[len(wanted)]
    if channels == 1 and takes > 1:
        low, high = np.repeat(seeds.low, takes), np.repeat(seeds.high, takes)
        seeds = replace(seeds, images=np.repeat(seeds.images, takes, axis=3), low=low, high=high)
    elif channels == 3 and takes == 1:
        grey = seeds.images @ np.array([[0.299], [0.587], [0.114]], "float32")
        low, high = seeds.low.mean(keepdims=True), seeds.high.mean(keepdims=True)
        seeds = replace(seeds, images=grey, low=low, high=high)
    given = seeds.images.shape[1:]
    fits = {3: given, 2: given[:2] if given[2] == 1 else None, 1: (int(np.prod(given)),)}[len(wanted)]
    if fits is None or not _is_shape(wanted, fits):
        first = "They seem to have their channels first: np.moveaxis(x, 1, -1) puts them last. "
        raise ContractError(
            f"the model takes images of shape {wanted}, those given are {given}. "
            f"{first if _is_shape(wanted, (*given[1:], given[0])) else ''}Give images (n, height, width, channels) of "
            "the model's own height, width and channels."
        )
    return seeds


def _is_shape(wanted: Sequence[int | None], given: Sequence[int]) -> bool:
    """Whether each wanted length is the given one or any."""
    return len(wanted) == len(given) and all(want in (None, have) for want, have in zip(wanted, given, strict=True))


def fit_suspects(model: Classifier, seeds: Seeds, given: Any) -> Seeds:
    """Suspicious images in the scale, the channels and the shape of the seeds; raises ContractError otherwise."""
    seeds = fit_channels(model, seeds)
    try:
        suspects = fit_channels(model, in_scale_of(seeds, given))
    except ContractError as problem:
        raise ContractError(f"suspicious images: {problem}") from problem
    found, wanted = suspects.images.shape[1:], seeds.images.shape[1:]
    if found != wanted:
        raise ContractError(f"the suspicious images are {found}, the seeds {wanted}. Give both in one shape.")
    return suspects


def halves(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two disjoint halves with every class split as evenly as can be."""
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def _sample(count: int) -> slice | np.ndarray:
    """Which of so many seeds the scalings are tried on: all, or the same random ones each time."""
    # Of its own: what is drawn here must not change what is drawn later.
    return slice(None) if count <= SAMPLE else np.random.default_rng(0).permutation(count)[:SAMPLE]


def _best(logits: list[np.ndarray], labels: np.ndarray | None, factors: Sequence[float]) -> int:
    """Which scaling suits best, of those in which the model is about as often right and leads as networks do.

    That is the first, the likeliest, unless the labels surprise the model less in another; without labels the one in
    which most classes are seen. With labels one in which the answers are about one-hot comes before any other.
    ``factors`` are the mean factors of the scalings.
    """
    alike = list(range(len(logits))) if labels is None else _as_accurate(logits, labels)
    likely = [number for number in alike if LEAST_LEAD <= _lead(logits[number]) <= MOST_LEAD] or alike
    if labels is None:
        return max(likely, key=lambda number: _diversity(logits[number].argmax(-1)))
    likely = [number for number in likely if _one_hot(logits[number])] or likely
    best = likely[0]
    for number in likely[1:]:
        lead = _lead(logits[best]) * factors[number] / factors[best]  # there, of a network without much bias
        if _is_cut(logits[number]) and lead > MOST_LEAD:
            continue
        gain = _surprise(logits[best], labels) - _surprise(logits[number], labels)
        best = number if gain.mean() > DEVIATIONS * gain.std() / np.sqrt(len(gain)) else best
    return best


def _as_accurate(logits: list[np.ndarray], labels: np.ndarray) -> list[int]:
    """In which scalings about as many seeds are right as in the most accurate one."""
    right = [np.isfinite(z).all(-1) & (z.argmax(-1) == labels) for z in logits]
    most = max(right, key=np.mean)
    return [n for n, hits in enumerate(right) if most.mean() - hits.mean() <= ABOUT or paired(most, hits) > SURELY]


@np.errstate(invalid="ignore")  # infinite logits
def _lead(logits: np.ndarray) -> float:
    """The median lead of the first class over the second.

    A network without much bias classifies about as well in a scale 255 times as large or small, but with such a lead.
    """
    first = np.sort(logits, axis=-1)[:, -2:]
    return float(np.median(first[:, -1] - first[:, 0]))


def _is_cut(logits: np.ndarray) -> bool:
    """Whether the second class has a probability of 0, in the median, which tells of the lead only that it is large."""
    return bool(np.isclose(np.median(np.sort(logits, axis=-1)[:, -2]), np.log(LEAST)))


@np.errstate(invalid="ignore")
def _one_hot(answers: np.ndarray) -> bool:
    """Whether the answers are about the ones and zeros themselves, which a network was taught by squared error.

    They are no logits: read as such, they are unsure however right they are, and less so in a scale 255 times as large.
    """
    return bool(np.median(np.abs(answers.sum(-1) - 1)) <= ABOUT_ONE and np.median(answers.max(-1)) <= MOST_FOR_ONE)


@np.errstate(invalid="ignore")
def _surprise(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each label, up to a bound."""
    if labels.max() >= logits.shape[1]:
        return np.full(len(labels), MOST_SURPRISED)
    surprise = -log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]
    return np.asarray(np.minimum(np.nan_to_num(surprise, nan=MOST_SURPRISED), MOST_SURPRISED))


def _diversity(predicted: np.ndarray) -> float:
    """Entropy of the predicted classes in bits, to one decimal: a wrong scale makes predictions collapse."""
    shares = np.bincount(predicted) / len(predicted)
    shares = shares[shares > 0]
    return float(np.round(-np.sum(shares * np.log2(shares)), 1))


def _check_answers(logits: np.ndarray, predicted: np.ndarray, seeds: Seeds) -> None:
    if not np.isfinite(logits).all():
        raise ContractError(
            "the model answers NaN or infinite values for clean seeds, whose black and white are "
            f"{seeds.low.min():g} and {seeds.high.max():g}. Its weights are broken, so retrain it, or the seeds are in "
            "another scale than its own."
        )
    if len(np.unique(predicted)) == 1:
        raise ContractError(
            f"the model gives all {len(predicted)} seeds the class {predicted[0]}. Give seeds of at least two classes; "
            "if they are, the model is constant or takes another scale of values."
        )
