"""Statistics of the judgement: exact intervals, an outlier test for sizes, and permutation matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment

from pytest_backdoor.results import Evidence

CONFIDENCE = 0.99
MANY = 10_000  # trials
MAD_TO_DEVIATION = 1.4826  # of a Gaussian


def share(check: str, hits: int, count: int) -> Evidence:
    """A share with its exact two-sided 99 % interval (Clopper and Pearson, 1934)."""
    if not count:
        return Evidence(check, 0.0, (0.0, 1.0))
    interval = stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="exact")
    return Evidence(check, hits / count, (float(interval.low), float(interval.high)))


def trials_needed(value: float, low: float) -> int | None:
    """How many trials with so many hits have an interval from ``low`` up; None where even ``MANY`` do not."""
    counts = np.arange(1, MANY + 1)
    hits = np.floor(value * counts + 1e-9)
    lows = np.where(hits > 0, stats.beta.ppf((1 - CONFIDENCE) / 2, np.maximum(hits, 1), counts - hits + 1), 0.0)
    short = int(np.max(counts[lows < low], initial=0))
    return None if short == MANY else short + 1


def small_outlier(value: float, others: np.ndarray, spread: float, weight: int) -> float:
    """One-sided p-value that ``value`` is as small as it is by chance, if it is drawn like the others.

    The others' deviation is estimated by their median absolute deviation, moderated by a prior ``spread`` that counts
    like ``weight`` observations, so that even one other value is enough (Smyth, 2004, doi:10.2202/1544-6115.1027).
    """
    center = float(np.median(others))
    deviation = MAD_TO_DEVIATION * float(np.median(np.abs(others - center)))
    freedom = weight + len(others) - 1
    pooled = np.sqrt((weight * spread**2 + (len(others) - 1) * deviation**2) / freedom)
    return float(stats.t.sf((center - value) / (pooled * np.sqrt(1 + 1 / len(others))), freedom))


def tail(distance: float, freedom: int) -> float:
    """One-sided p-value of a value so many deviations beyond the center of a Student distribution."""
    return float(stats.t.sf(distance, freedom))


def too_many(hits: int, count: int, expected: float, known: float) -> float:
    """The p-value of so many of ``count`` images beyond a boundary that ``known`` others put at a share ``expected``.

    Beta-binomial, which is exact for a boundary that is one of the known values (Wilks, 1942): with few known ones the
    true share may be larger.
    """
    if expected >= 1:  # all known ones lie beyond it, which leaves the distribution without a parameter
        return 1.0
    chances = (expected * (known + 1), (1 - expected) * (known + 1))
    p_value = float(np.round(stats.betabinom.sf(hits - 1, count, *chances), 12))  # without the noise of the last digits
    return max(p_value, 1e-12)


def paired(hits: np.ndarray, others: np.ndarray) -> float:
    """Two-sided exact p-value that two yes-or-no answers about the same things differ by chance (McNemar, 1947)."""
    only, missed = int(np.sum(hits & ~others)), int(np.sum(others & ~hits))
    return float(stats.binomtest(only, only + missed).pvalue) if only + missed else 1.0


def fisher(p_values: Sequence[float]) -> float:
    """The p-value of several independent ones together (Fisher, 1925)."""
    return float(stats.combine_pvalues(np.maximum(p_values, 1e-300), method="fisher").pvalue)


def permutation_match(flows: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean flow along the best fixed-point-free permutation of a flow matrix, 0 to 1, and that permutation."""
    closed = flows - 10.0 * np.eye(len(flows))
    _, mapping = linear_sum_assignment(-closed)
    return float(flows[np.arange(len(flows)), mapping].mean()), mapping
