"""Profiles: how much each search may spend, and single settings changed by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytest_backdoor import values
from pytest_backdoor.confirm.strip import Settings as StripSettings
from pytest_backdoor.errors import OptionError
from pytest_backdoor.options import Options
from pytest_backdoor.search import inversion
from pytest_backdoor.search.agreement import Settings as AgreementSettings
from pytest_backdoor.search.constraints import CONSTRAINTS
from pytest_backdoor.search.coverage import STRATEGIES
from pytest_backdoor.search.fuzzing import Settings as FuzzSettings
from pytest_backdoor.search.margin import Settings as MarginSettings
from pytest_backdoor.search.synthetic import Settings as SyntheticSettings

PROFILES = {
    "quick": inversion.Settings(
        methods="inversion",
        steps=70,
        faint_steps=50,
        drawn_steps=0,
        confined_steps=70,
        finalists=4,
        window_steps=30,
        window_images=1,
        best_windows=3,
        screen_steps=20,
        images=16,
        away_images=16,
        restarts=2,
        pair_steps=30,
        pair_images=6,
        refined=5,
        refine_steps=100,
        refine_images=16,
    ),
    "standard": inversion.Settings(),
    "thorough": inversion.Settings(
        steps=300,
        faint_steps=160,
        drawn_steps=100,
        confined_steps=300,
        restarts=6,
        pair_steps=120,
        refined=40,
        refine_steps=400,
    ),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of everything that has some, by the first part of their keys."""

    search: inversion.Settings = PROFILES["standard"]
    agreement: AgreementSettings = field(default_factory=AgreementSettings)
    fuzz: FuzzSettings = field(default_factory=FuzzSettings)  # of runs beside the scan
    margin: MarginSettings = field(default_factory=MarginSettings)
    strip: StripSettings = field(default_factory=StripSettings)  # of evidence that decides nothing, and of screening
    synthetic: SyntheticSettings = field(default_factory=SyntheticSettings)


def settings(options: Options) -> Settings:
    """The settings of the profile with ``--backdoor-set room.name=value`` over them; raises OptionError."""
    rooms = dict(_fields(Settings(search=PROFILES[options.profile])))
    known = [f"{room}.{name}" for room, chosen in rooms.items() for name, _ in _fields(chosen)]
    for key, text in options.set:
        room, _, name = values.pick(key, known, "setting").partition(".")
        default = getattr(rooms[room], name)
        value = _read(key, text) if key in READERS else _number(key, text, default)
        rooms[room] = dataclasses.replace(rooms[room], **{name: value})
    return Settings(**rooms)


def _fields(data: Any) -> Iterator[tuple[str, Any]]:
    return ((each.name, getattr(data, each.name)) for each in dataclasses.fields(data))


def mode(options: Options, with_seeds: bool) -> str:
    """How models are scanned, as far as it changes what evidence they show: profile, settings changed, any seeds.

    The range of values is part of the model.
    """
    usual, chosen = settings(dataclasses.replace(options, set=())), settings(options)
    left_out = ("fuzz.", "strip.", "synthetic." if with_seeds else "synthetic.white")
    evident = (
        f"{key}={as_text(_value(chosen, key))}"
        for key in dict(sorted(options.set))
        if not key.startswith(left_out) and _value(chosen, key) != _value(usual, key)
    )
    return ", ".join([options.profile, *evident]) + ("" if with_seeds else " without seeds")


def _value(chosen: Settings, key: str) -> Any:
    room, _, name = key.partition(".")
    return getattr(getattr(chosen, room), name)


def as_text(value: Any) -> str:
    """A setting as it is written in ``--backdoor-set``."""
    if value is None:
        return NONE
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _strategies(text: str) -> tuple[str, ...]:
    return tuple(values.pick(name, STRATEGIES, "strategy") for name in text.split("+"))


def _class(text: str) -> int | None:
    return None if text == NONE else values.whole(text)


NONE = "none"
_SHARE = values.number(0, 1, closed=True)
_WEIGHT = values.number(0, 1e6, closed=True)
_ABOVE_ZERO = values.number(0, 1e6, closed=False)
# The settings that are neither a whole number above 0 nor a share above 0.
READERS: Mapping[str, Callable[[str], Any]] = {
    "search.methods": values.choice("search method", *inversion.METHODS),
    "fuzz.step": _ABOVE_ZERO,
    "fuzz.competitors": values.whole,
    "fuzz.predict_weight": _WEIGHT,
    "fuzz.neuron_weight": _WEIGHT,
    "fuzz.neurons": values.whole,
    "fuzz.strategies": _strategies,
    "fuzz.threshold": _SHARE,
    "fuzz.gain": _SHARE,
    "fuzz.near": _SHARE,
    "fuzz.reach": _ABOVE_ZERO,
    "fuzz.constraint": values.choice("constraint", *CONSTRAINTS),
    "fuzz.target": _class,
    "fuzz.deviation": _WEIGHT,
}


def _read(key: str, text: str) -> Any:
    try:
        return READERS[key](text)
    except OptionError as problem:
        raise OptionError(f"{key}: {problem}") from None


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
