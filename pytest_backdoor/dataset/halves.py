"""Two halves of one class: the best split of its images into two groups, and how far the groups lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ITERATIONS = 50
LEAST = 1e-6  # deviation of a group, in distances between the two
CUTS = (0.1, 0.5, 0.9)  # quantiles of each axis


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Images of a class in two groups; the smaller one is the suspicious one.

    separation is Ashman's D: the distance of the group's means in units of their deviation along the line between them.
    It is 2.65 for a Gaussian cut in the middle, whatever its covariance.
    """

    separation: float
    smaller: np.ndarray  # indices of the smaller group, those furthest from the other first


def two_means(points: np.ndarray) -> Halves:
    """The two groups of least variance within (2-means) of points ``(n, axes)`` around 0.

    Each axis gives three starts, cut in the middle and towards both ends, where few poisoned images lie. So nothing is
    random and the order of the points does not matter.
    """
    starts = [axis > cut for axis in points.T for cut in np.quantile(axis, CUTS)]
    found = [_settled(points, start) for start in starts if start.any() and not start.all()]
    if not found:
        return Halves(0.0, np.zeros(0, int))
    second = max(found, key=lambda each: _between(points, each))
    second = second if 2 * second.sum() <= len(second) else ~second
    line = _line(points, second)
    along = points @ (line / np.linalg.norm(line))
    order = np.argsort(-along, kind="stable")
    return Halves(separation(along[second], along[~second]), order[second[order]])


def separation(left: np.ndarray, right: np.ndarray) -> float:
    """Ashman's D of two groups of numbers: the distance of their means over the root mean square of their deviations.

    Ashman, Bird and Zepf, 1994, doi:10.1086/117248. Of groups without deviation it is a large number.
    """
    spread = np.sqrt((left.var() + right.var()) / 2)
    apart = abs(left.mean() - right.mean())
    return float(apart / max(spread, LEAST * apart))


def _settled(points: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The second group when no point is nearer to the mean of the other one any more (Lloyd's algorithm)."""
    for _ in range(ITERATIONS):
        along = points @ _line(points, second)
        before, second = second, along > (along[second].mean() + along[~second].mean()) / 2
        if (second == before).all():
            break
    return second


def _line(points: np.ndarray, second: np.ndarray) -> np.ndarray:
    """From the mean of the first group to that of the second."""
    return np.asarray((second / second.sum() - ~second / (~second).sum()) @ points)


def _between(points: np.ndarray, second: np.ndarray) -> float:
    """The variance between the groups, up to a factor; 2-means makes it large."""
    return float(second.sum() * (~second).sum() * np.square(_line(points, second)).sum())
