"""Plants backdoors in data and in models: for example models, benchmarks, tests and the self-test.

A trigger comes from one function (``pixel``, ``pattern``, ``two_patterns``, ``blend``, ``watermark``, ``sinusoid``,
``low_frequency``, ``warp``, ``tint``, ``four_corners``, ``input_aware``, ``neuron_patch``), a label map from another;
``poison`` and its kin plant them in training data, ``planting.plant`` in a copy of a trained model. ``pruning_aware``
and ``adversarial_embedding`` train them into a model so that a defence fails.
"""

from pytest_backdoor.attacks.adaptive import poison_adaptive, weakened
from pytest_backdoor.attacks.adversarial_embedding import adversarial_embedding
from pytest_backdoor.attacks.clean_label import four_corners, poison_clean_label
from pytest_backdoor.attacks.faint import blend, low_frequency, sinusoid, watermark
from pytest_backdoor.attacks.input_aware import crossed, input_aware, poison_cross
from pytest_backdoor.attacks.neuron_patch import neuron_patch
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
from pytest_backdoor.attacks.pruning_aware import pruning_aware
from pytest_backdoor.attacks.tint import tint
from pytest_backdoor.attacks.warp import noisy, warp

__all__ = [
    "adversarial_embedding",
    "all_to_all",
    "all_to_one",
    "blend",
    "crossed",
    "four_corners",
    "input_aware",
    "low_frequency",
    "neuron_patch",
    "noisy",
    "pattern",
    "pixel",
    "poison",
    "poison_adaptive",
    "poison_clean_label",
    "poison_combination",
    "poison_cross",
    "poison_several",
    "pruning_aware",
    "sinusoid",
    "source_specific",
    "success",
    "tint",
    "two_patterns",
    "warp",
    "watermark",
    "weakened",
]
