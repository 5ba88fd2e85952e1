"""Localising: the region of a suspicious image that makes the model answer as it does, as a candidate trigger.

Two ways to find regions: where the class draws on the last feature maps (Grad-CAM, Selvaraju et al., ICCV 2017; used so
by SentiNet, Chou et al., arXiv:1812.00292), and where a square in the image's dominant colour changes the answer (NEO,
Udeshi et al., arXiv:1908.02203). A region is worth what it does when pasted on clean seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from pytest_backdoor.backend import value_and_grad
from pytest_backdoor.contract import Sample
from pytest_backdoor.search.memory import bounded
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.cells import growing, restrict
from pytest_backdoor.triggers.trigger import Trigger

PARTS = (0.125, 0.25, 0.5, 1.0)  # of the largest region, those of the hottest pixels
SIDES = (8, 4)  # parts of the image's side that a square takes
SHADES = 8  # of each channel, to count colours by
LOST = 0.02  # success that a smaller region may lose
SQUARES = 8  # of those that change the answer, how many are tried on seeds


@dataclass(frozen=True, slots=True)
class Settings:
    """How many images are looked at, and how large a region may be."""

    largest: float  # share of the image
    suspects: int = 20  # suspicious images, at most
    seeds: int = 50  # that a region is pasted on, at most


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A region of one suspicious image, and what it does to seeds of other classes."""

    method: str
    suspect: int  # number of the image
    trigger: Trigger
    target: int  # class of the image
    success: float  # share of the seeds that are given that class


def candidates(
    subject: Subject, suspects: np.ndarray, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> list[Candidate]:
    """The best region of each suspicious image by each method, the most successful first.

    Suspects are images in unit scale; of many, as many as the settings say are drawn.
    """
    chosen = np.sort(rng.permutation(len(suspects))[: min(settings.suspects, subject.together)])
    images, few = suspects[chosen], bounded(seeds, settings.seeds, rng)
    targets = subject.classes(images)
    found = [
        Candidate(method, int(chosen[number]), *_best(subject, images[number], masks, few, int(targets[number])))
        for method, regions in METHODS.items()
        for number, masks in enumerate(regions(subject, images, targets, settings.largest))
        if len(masks) and np.any(few.labels != targets[number])
    ]
    return sorted(found, key=lambda each: -each.success)


def tightened(subject: Subject, candidate: Candidate, seeds: Sample) -> Trigger:
    """The fewest cells of a region that still send as many seeds to its class, those least like the seeds first."""
    trigger, others = candidate.trigger, seeds.images[seeds.labels != candidate.target]
    shown = trigger.arrays["mask"][..., 0] > 0
    unlike = np.abs(trigger.arrays["pattern"] - others).mean((0, 3))
    order = np.argsort(np.where(shown, -unlike, 1.0), axis=None, kind="stable")[: shown.sum()]
    wanted = _sent(subject, trigger, others, candidate.target) - LOST
    cuts = (restrict(trigger, order[:count]) for count in growing(len(order)))
    return next(cut for cut in cuts if _sent(subject, cut, others, candidate.target) >= wanted)


def hottest(subject: Subject, images: np.ndarray, classes: np.ndarray, largest: float) -> Iterator[np.ndarray]:
    """For each image the pixels that its class draws on most, in several sizes ``(regions, height, width, 1)``."""
    heats = heat(subject, images, classes)
    pixels = heats.shape[1] * heats.shape[2]
    counts = sorted({max(1, int(part * largest * pixels)) for part in PARTS})
    for hot in heats:
        rank = np.argsort(np.argsort(-hot, axis=None, kind="stable")).reshape(hot.shape)
        yield np.stack([rank < count for count in counts])[..., None].astype("float32")


def heat(subject: Subject, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Grad-CAM: how much the class of each image draws on each pixel, ``(n, height, width)``, from 0 up.

    Empty for a subject whose layers cannot be seen or have no maps of several places.
    """
    placed = _mapped(subject, images)
    if not placed:
        return np.zeros((0, *images.shape[1:3]))
    last, wanted = placed[-1], np.eye(subject.num_classes, dtype="float32")[classes]

    def logit(maps: object) -> tuple[object, object]:
        return ops.sum(wanted * subject.resume(images, last, maps)), None

    maps = subject.output(images, last)
    _, slopes = value_and_grad(logit)(maps)
    weights = ops.mean(slopes, axis=(1, 2), keepdims=True)
    hot = ops.relu(ops.sum(weights * maps, axis=-1, keepdims=True))
    resized = ops.image.resize(hot, images.shape[1:3], data_format="channels_last")
    return np.asarray(ops.convert_to_numpy(resized))[..., 0]


def _mapped(subject: Subject, images: np.ndarray) -> list[int]:
    """The layers that put out maps ``(n, height, width, channels)``: no sequences, and not of one place only."""
    if not any(layer.places for layer in subject.layers):
        return []
    shapes = [tuple(output.shape) for output in subject.activations(images[:1])[1]]
    return [place for place, shape in enumerate(shapes) if len(shape) == 4 and max(shape[1:3]) > 1]


def decisive(subject: Subject, images: np.ndarray, classes: np.ndarray, largest: float) -> Iterator[np.ndarray]:
    """For each image the squares without which it is given another class, as masks ``(regions, height, width, 1)``.

    A square is covered with the image's dominant colour; the most decisive come first.
    """
    masks = squares(images.shape[1:3])
    masks = masks[masks.mean((1, 2, 3)) <= largest]
    starts = range(0, max(1, len(masks)), subject.together)
    for image, label in zip(images, classes, strict=True):  # a batch is as many squares of one image as fit memory
        change = (dominant_colour(image) - image).astype("float32")
        logits = np.concatenate([subject.predict(image + masks[s : s + subject.together] * change) for s in starts])
        lead = logits[:, label] - np.delete(logits, label, axis=1).max(1)
        order = np.argsort(lead, kind="stable")[:SQUARES]
        yield masks[order[lead[order] < 0]]


def squares(shape: tuple[int, ...]) -> np.ndarray:
    """Masks ``(squares, height, width, 1)`` of squares of two sizes that overlap by half, in every place."""
    pixels = np.arange(shape[0] * shape[1]).reshape(shape)
    masks = []
    for part in SIDES:
        side = max(1, min(shape) // part)
        step = max(1, side // 2)
        rows, columns = (sorted({*range(0, length - side, step), length - side}) for length in shape)  # to the edge
        inside = sliding_window_view(pixels, (side, side))[np.ix_(rows, columns)].reshape(-1, side * side)
        shown = np.zeros((len(inside), pixels.size), "float32")
        np.put_along_axis(shown, inside, 1.0, axis=1)
        masks.append(shown.reshape(-1, *shape, 1))
    return np.concatenate(masks)


def dominant_colour(image: np.ndarray) -> np.ndarray:
    """The mean of the image's pixels of the commonest shade, ``(channels,)``."""
    colours = image.reshape(-1, image.shape[-1])
    shades = np.minimum((colours * SHADES).astype(int), SHADES - 1)
    _, group, counts = np.unique(shades, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(colours[group.reshape(-1) == counts.argmax()].mean(0))


def _best(
    subject: Subject, image: np.ndarray, masks: np.ndarray, seeds: Sample, target: int
) -> tuple[Trigger, int, float]:
    """The smallest region of those that send most seeds of other classes to an image's class; class and share."""
    others = seeds.images[seeds.labels != target]
    triggers = [Trigger("patch", {"mask": mask, "pattern": image}) for mask in masks]
    # Each region is a trigger of its own, and its seeds are a batch.
    shares = np.array([_sent(subject, trigger, others, target) for trigger in triggers])
    enough = np.flatnonzero(shares >= shares.max() - LOST)
    best = min(enough, key=lambda number: triggers[number].size)
    return triggers[best], target, float(shares[best])


def _sent(subject: Subject, trigger: Trigger, images: np.ndarray, target: int) -> float:
    """Share of the images that the trigger sends to the target."""
    return float(np.mean(subject.classes(trigger.apply(images)) == target))


Regions = Callable[[Subject, np.ndarray, np.ndarray, float], Iterator[np.ndarray]]
METHODS: dict[str, Regions] = {"grad-cam": hottest, "blocker": decisive}
