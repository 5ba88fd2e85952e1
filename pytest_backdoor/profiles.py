"""Profiles: how much each search may spend, and single settings changed by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pytest_backdoor import values
from pytest_backdoor.errors import OptionError
from pytest_backdoor.options import Options
from pytest_backdoor.search.inversion import Settings

PROFILES = {
    "quick": Settings(steps=100, faint_steps=50, confined_steps=100, restarts=2, pair_steps=40, refined=10),
    "standard": Settings(),
    "thorough": Settings(
        steps=300, faint_steps=160, confined_steps=300, restarts=6, pair_steps=120, refined=40, refine_steps=400
    ),
}
ROOM = "search."


def settings(options: Options) -> Settings:
    """The settings of the profile with ``--backdoor-set search.name=value`` over them; raises OptionError."""
    chosen = PROFILES[options.profile]
    known = {ROOM + field.name: field.name for field in dataclasses.fields(Settings)}
    for key, text in options.set:
        name = known[values.pick(key, known, "setting")]
        change: dict[str, Any] = {name: _number(key, text, getattr(chosen, name))}
        chosen = dataclasses.replace(chosen, **change)
    return chosen


def mode(options: Options) -> str:
    """How models are scanned, as far as it changes what evidence they show: the profile, and settings changed."""
    return ", ".join([options.profile, *(f"{key}={text}" for key, text in options.set)])


def _number(key: str, text: str, default: float) -> float:
    """The text as a whole number above zero, or as a share, which is what every fractional setting is."""
    try:
        value = type(default)(text)
    except ValueError:
        value = 0
    if not 0 < value <= (np.inf if isinstance(default, int) else 1):
        wanted = "whole number above 0" if isinstance(default, int) else "number above 0 and at most 1"
        raise OptionError(f"{key} takes a {wanted} (default {default:g}), got {text!r}.")
    return value
