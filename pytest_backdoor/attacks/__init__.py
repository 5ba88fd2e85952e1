"""Plants backdoors in data and in models: for example models, benchmarks, tests and the self-test.

A trigger comes from one function (``pixel``, ``pattern``, ``two_patterns``, ``blend``, ``watermark``, ``sinusoid``,
``low_frequency``, ``warp``, ``tint``, ``four_corners``), a label map from another; ``poison`` and its kin plant them
in training data, ``planting.plant`` in a copy of a trained model.
"""

from pytest_backdoor.attacks.clean_label import four_corners, poison_clean_label
from pytest_backdoor.attacks.faint import blend, low_frequency, sinusoid, watermark
from pytest_backdoor.attacks.patch import pattern, pixel, two_patterns
from pytest_backdoor.attacks.poison import (
    all_to_all,
    all_to_one,
    poison,
    poison_combination,
    poison_several,
    source_specific,
    success,
)
from pytest_backdoor.attacks.tint import tint
from pytest_backdoor.attacks.warp import noisy, warp

__all__ = [
    "all_to_all",
    "all_to_one",
    "blend",
    "four_corners",
    "low_frequency",
    "noisy",
    "pattern",
    "pixel",
    "poison",
    "poison_clean_label",
    "poison_combination",
    "poison_several",
    "sinusoid",
    "source_specific",
    "success",
    "tint",
    "two_patterns",
    "warp",
    "watermark",
]
