"""Statistics of the judgement: exact intervals, an outlier test for sizes, and permutation matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment

from pytest_backdoor.results import Evidence

CONFIDENCE = 0.99
MAD_TO_DEVIATION = 1.4826  # of a Gaussian


def share(check: str, hits: int, count: int) -> Evidence:
    """A share with its exact two-sided 99 % interval (Clopper and Pearson, 1934)."""
    if not count:
        return Evidence(check, 0.0, (0.0, 1.0))
    interval = stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="exact")
    return Evidence(check, hits / count, (float(interval.low), float(interval.high)))


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


def lower_tail(value: float, center: float, spread: float, freedom: int) -> float:
    """One-sided p-value of a value so far below the center of a Student distribution of that spread."""
    return float(stats.t.sf((center - value) / spread, freedom))


def fisher(p_values: Sequence[float]) -> float:
    """The p-value of several independent ones together (Fisher, 1925)."""
    return float(stats.combine_pvalues(np.maximum(p_values, 1e-300), method="fisher").pvalue)


def permutation_match(flows: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean flow along the best fixed-point-free permutation of a flow matrix, 0 to 1, and that permutation."""
    closed = flows - 10.0 * np.eye(len(flows))
    _, mapping = linear_sum_assignment(-closed)
    return float(flows[np.arange(len(flows)), mapping].mean()), mapping


def permutation_p(flows: np.ndarray, rng: np.random.Generator, draws: int = 500) -> float:
    """One-sided p-value of the permutation match, if each class chose where it flows without regard to the others.

    Rows are shuffled off the diagonal; the tail is that of a Gaussian fitted to the shuffled matches.
    """
    classes = len(flows)
    off_diagonal = flows[~np.eye(classes, dtype=bool)].reshape(classes, classes - 1)
    matches = []
    for _ in range(draws):
        shuffled = np.zeros_like(flows)
        shuffled[~np.eye(classes, dtype=bool)] = rng.permuted(off_diagonal, axis=1).ravel()
        matches.append(permutation_match(shuffled)[0])
    deviation = float(np.std(matches))
    if deviation < 1e-9:
        return 1.0  # two classes: there is only one permutation
    return float(stats.norm.sf((permutation_match(flows)[0] - np.mean(matches)) / deviation))


def median_polish(table: np.ndarray, sweeps: int = 10) -> np.ndarray:
    """Residuals of a table with NaN gaps after row and column medians are taken out in turn (Tukey, 1977)."""
    filled = np.isfinite(table)
    some = np.ix_(filled.any(axis=1), filled.any(axis=0))  # a class without seeds is a row of gaps
    inner = table[some] - np.nanmedian(table[some])
    for _ in range(sweeps):
        inner = inner - np.nanmedian(inner, axis=1, keepdims=True)
        inner = inner - np.nanmedian(inner, axis=0, keepdims=True)
    residuals = np.full(table.shape, np.nan)
    residuals[some] = inner
    return residuals
