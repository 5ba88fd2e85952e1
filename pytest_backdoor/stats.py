"""Statistics of the judgement: exact intervals, outlier tests and permutation matches."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment

from pytest_backdoor.results import Evidence


def share(check: str, hits: int, count: int, confidence: float = 0.95) -> Evidence:
    """A share with its exact two-sided interval (Clopper and Pearson, 1934)."""
    if not count:
        return Evidence(check, 0.0, (0.0, 1.0))
    interval = stats.binomtest(hits, count).proportion_ci(confidence, method="exact")
    return Evidence(check, hits / count, (float(interval.low), float(interval.high)))


def permutation_match(flows: np.ndarray) -> tuple[float, np.ndarray]:
    """The best fixed-point-free permutation of a flow matrix ``(classes, classes)`` and its mean flow, 0 to 1."""
    closed = flows - 10.0 * np.eye(len(flows))
    _, mapping = linear_sum_assignment(-closed)
    return float(flows[np.arange(len(flows)), mapping].mean()), mapping


def median_polish(table: np.ndarray, sweeps: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, row effects and column effects of a table with NaN gaps (Tukey, 1977)."""
    residuals = table - np.nanmedian(table)
    rows, columns = np.zeros(len(table)), np.zeros(table.shape[1])
    for _ in range(sweeps):
        row, column = np.nanmedian(residuals, axis=1), np.zeros(table.shape[1])
        residuals = residuals - row[:, None]
        column = np.nanmedian(residuals, axis=0)
        residuals, rows, columns = residuals - column, rows + row, columns + column
    return residuals, rows, columns
