"""STRIP: a trigger survives blending, so a triggered image stays predictable (Gao et al., arXiv:1902.06531).

The entropy is over the classes of each blended image, then averaged over the blended images, so that values from any
number of overlays compare. It is blind to triggers that lead each class elsewhere or work on one class only: blended
with images of other classes these lose their sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special, stats

from pytest_backdoor.check_results import Histogram
from pytest_backdoor.contract import Sample
from pytest_backdoor.results import Evidence, Kind
from pytest_backdoor.stats import share
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger

BINS = 30  # of a histogram
FITTED = 5000  # entropies that the p-value of the fit is accurate for, at most


@dataclass(frozen=True, slots=True)
class Settings:
    """How images are blended, and where the boundary lies."""

    overlays: int = 100  # clean images that each image is blended with, one at a time
    false_rejections: float = 0.01  # share of clean images under the boundary
    clean: int = 1000  # images that the boundary is found from, at most
    poor_fit: float = 0.01  # p-value under which clean entropies are not normally distributed


@dataclass(frozen=True, slots=True)
class Boundary:
    """The entropy in bits under which an image is rejected, and how it was found."""

    value: float
    rule: Literal["normal", "empirical"]
    expected: float  # share of clean images that it rejects
    poor: str | None = None  # why the normal fit does not hold


@dataclass(frozen=True, slots=True, eq=False)
class Blended:
    """Entropies in bits of seeds, clean and triggered, under the same overlays."""

    boundary: Boundary
    clean: np.ndarray
    triggered: np.ndarray  # of seeds that are not of the target class


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon entropy of the softmax of each row, in bits: ``(..., classes) -> (...)``, from 0 to log2(classes)."""
    chances = special.softmax(np.asarray(logits, "float64"), axis=-1)
    return np.asarray(special.entr(chances).sum(-1) / np.log(2))


def shifts(pool: int, overlays: int, rng: np.random.Generator) -> np.ndarray:
    """How far on in a pool of images the overlays of each image lie; all but itself where the pool has no more."""
    return np.asarray(rng.permutation(pool - 1)[:overlays] + 1)


def entropies(subject: Subject, images: np.ndarray, pool: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Mean entropy of each image, blended with images of the pool one at a time, in bits: ``(n,)``.

    Image i meets the images i + shift, counted round the pool: where the images are the pool, changed or not, none
    meets itself. Both are in unit scale.
    """
    size = max(1, subject.together // len(shifts))
    numbers = np.arange(len(images))
    parts = [
        _blended_entropy(subject, images[part], pool[(part[:, None] + shifts) % len(pool)])
        for part in np.split(numbers, numbers[size::size])
    ]
    return np.concatenate(parts)


def boundary(clean: np.ndarray, settings: Settings) -> Boundary:
    """Where a normal distribution fitted to clean entropies has the share of false rejections, if it holds.

    Where it does not, the boundary is the largest of the clean entropies that no more than that share fall under, or
    the smallest of all.
    """
    fitted = float(clean.mean() + clean.std() * stats.norm.ppf(settings.false_rejections))
    poor = _poor(clean, fitted, settings)
    if poor is None:
        return Boundary(fitted, "normal", settings.false_rejections)
    rank = max(1, int(settings.false_rejections * (len(clean) + 1)))
    return Boundary(float(np.sort(clean)[rank - 1]), "empirical", rank / (len(clean) + 1), poor)


def blend(
    subject: Subject, trigger: Trigger, target: int, seeds: Sample, settings: Settings, rng: np.random.Generator
) -> Blended:
    """Entropies of the seeds, two at least, before and after the trigger."""
    moves = shifts(len(seeds), settings.overlays, rng)
    clean = entropies(subject, seeds.images, seeds.images, moves)
    triggered = entropies(subject, trigger.apply(seeds.images), seeds.images, moves)
    return Blended(boundary(clean, settings), clean, triggered[seeds.labels != target])


def measure(
    subject: Subject,
    trigger: Trigger,
    kind: Kind,
    target: int | None,
    seeds: Sample,
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Evidence, Histogram] | None:
    """Share of triggered seeds that are too predictable when blended, and the entropies that it comes from.

    None for kinds of trigger that do not survive it, and where there are not two seeds to blend.
    """
    if kind != "all-to-one" or target is None or len(seeds) < 2:
        return None
    found = blend(subject, trigger, target, seeds, settings, rng)
    below = int(np.sum(found.triggered < found.boundary.value))
    entropies = histogram(found.boundary.value, found.clean, found.triggered, np.zeros(0))
    return share("strip", below, len(found.triggered)), entropies


def histogram(boundary: float, clean: np.ndarray, triggered: np.ndarray, suspicious: np.ndarray) -> Histogram:
    """How many of the entropies lie in each of 30 equal steps from 0 to the largest."""
    largest = max(float(np.max(group, initial=0)) for group in (clean, triggered, suspicious)) or 1.0
    edges = np.linspace(0, largest, BINS + 1)
    counts = [tuple(np.histogram(group, edges)[0].tolist()) for group in (clean, triggered, suspicious)]
    return Histogram(tuple(edges.tolist()), counts[0], counts[1], counts[2], boundary)


def _blended_entropy(subject: Subject, images: np.ndarray, overlays: np.ndarray) -> np.ndarray:
    """Mean entropy of images ``(n, *shape)`` under their overlays ``(n, m, *shape)``."""
    # The sum and not the mean, and not clipped: at half its contrast a faint trigger is lost (docs/strip.md).
    blends = images[:, None] + overlays
    logits = subject.predict(blends.reshape(-1, *images.shape[1:]))  # (n * m, classes)
    return np.asarray(entropy(logits).reshape(overlays.shape[:2]).mean(1))


def _poor(clean: np.ndarray, fitted: float, settings: Settings) -> str | None:
    """Why a normal fit to the clean entropies does not hold."""
    if len(clean) < 3 or np.ptp(clean) == 0:
        return "there are too few different clean entropies to fit"
    if fitted < 0:
        return f"the normal fit puts the boundary at {fitted:.3g} bits"
    p_value = stats.shapiro(clean[:: -(-len(clean) // FITTED)]).pvalue
    if p_value < settings.poor_fit:
        return f"clean entropies are not normally distributed (Shapiro and Wilk, p = {p_value:.2g})"
    return None
