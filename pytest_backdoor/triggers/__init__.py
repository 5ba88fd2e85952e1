"""Trigger families: one file each, one line here."""

from __future__ import annotations

import difflib

from pytest_backdoor.errors import TriggerError
from pytest_backdoor.triggers.additive import ADDITIVE
from pytest_backdoor.triggers.family import Family, Params
from pytest_backdoor.triggers.generator import GENERATOR
from pytest_backdoor.triggers.low_frequency import LOW_FREQUENCY
from pytest_backdoor.triggers.patch import PATCH
from pytest_backdoor.triggers.tone import TONE
from pytest_backdoor.triggers.warp import WARP

FAMILIES = {family.name: family for family in (PATCH, ADDITIVE, WARP, TONE, LOW_FREQUENCY, GENERATOR)}

__all__ = ["FAMILIES", "Family", "Params", "family_named"]


def family_named(name: str) -> Family:
    """The family of that name; raises TriggerError with the nearest one otherwise."""
    if name not in FAMILIES:
        near = "".join(f" Did you mean {match!r}?" for match in difflib.get_close_matches(name, FAMILIES, 1))
        raise TriggerError(f"unknown trigger family {name!r}.{near} Choose from: {', '.join(sorted(FAMILIES))}.")
    return FAMILIES[name]
