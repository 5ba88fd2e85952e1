"""Decides whether a Keras model carries a backdoor. The public names load on first use; importing this is cheap."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "assert_covered": "assertions",
    "assert_dataset_clean": "assertions",
    "assert_inputs_clean": "assertions",
    "assert_no_backdoor": "assertions",
    "assert_safe_to_load": "assertions",
    "assert_survives_pruning": "assertions",
    "assert_trigger_inert": "assertions",
    "AttackError": "errors",
    "Attempt": "results",
    "BackdoorError": "errors",
    "BackdoorFound": "errors",
    "CalibrationError": "errors",
    "ContractError": "errors",
    "OptionError": "errors",
    "OutOfScopeError": "errors",
    "TriggerError": "errors",
    "UnreadableModelError": "errors",
    "UnsafeModelError": "errors",
    "Options": "options",
    "ClassChecked": "dataset_results",
    "DatasetResult": "dataset_results",
    "Evidence": "results",
    "Finding": "results",
    "FuzzRun": "results",
    "Histogram": "check_results",
    "Planted": "results",
    "Pruning": "check_results",
    "Repair": "results",
    "repair_model": "repaired",
    "ScanResult": "results",
    "Screening": "check_results",
    "SeedsUsed": "results",
    "SelfTest": "results",
    "Seeds": "seeds",
    "read_seeds": "seeds",
    "Split": "dataset_results",
    "Trigger": "triggers.trigger",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
