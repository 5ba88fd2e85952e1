"""Published decision rules, on the same searches as ours, for the study to compare with."""

from __future__ import annotations

import numpy as np
from scipy import stats

MAD_TO_DEVIATION = 1.4826  # of a Gaussian


def anomaly_index(sizes: np.ndarray) -> float:
    """Neural Cleanse's index of the smallest mask: above 2 the model is called infected (Wang et al., 2019).

    sizes ``(classes,)`` are in pixels, NaN where a class has no trigger.
    """
    known = sizes[np.isfinite(sizes)]
    if len(known) < 2:
        return 0.0
    deviations = np.median(known) - known
    return float(deviations.max() / max(MAD_TO_DEVIATION * np.median(np.abs(deviations)), 1e-9))


def margin_p_value(margins: np.ndarray) -> float:
    """MM-BD's p-value of the largest margin: at most 0.05 the model is called infected (Wang et al., 2024).

    The other classes' margins ``(classes,)`` are fitted by a gamma distribution, as published.
    """
    others = np.sort(margins)[:-1]
    if len(others) < 3 or others.min() <= 0 or np.ptp(others) == 0:
        return 1.0
    shape, _, scale = stats.gamma.fit(others, floc=0)
    return float(1 - stats.gamma.cdf(margins.max(), shape, scale=scale) ** len(margins))
