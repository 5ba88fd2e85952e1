"""Rules: what a trigger makes of which class, as users and reports write it and as a label map."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, Literal

from pytest_backdoor.errors import OptionError

Rule = Literal["next"] | int | Mapping[int, int]  # the class after the image's, a target class, a label map
PAIRS = re.compile(r"\d+>\d+( \d+>\d+)*", re.ASCII)


def read(given: str) -> Rule:
    """The rule in a text: ``next``, ``7`` or ``1>7 2>7``; raises OptionError for any other."""
    if given == "next":
        return "next"
    if given.isdecimal() and given.isascii():
        return int(given)
    if PAIRS.fullmatch(given):
        pairs = [pair.split(">") for pair in given.split()]
        led = {int(source): int(target) for source, target in pairs}
        if len(led) < len(pairs):
            raise OptionError(f"a rule leads each class to one other, got {given!r}.")
        return led
    raise OptionError(f"a rule is next, the number of a class, or classes as '1>7 2>7', got {given!r}.")


def text(rule: Rule) -> str:
    """The rule as ``read`` takes it."""
    if isinstance(rule, Mapping):
        return " ".join(f"{source}>{target}" for source, target in sorted(rule.items()))
    return str(rule)


def goal(target: int | None, source: int | None, mapping: Mapping[int, int] | None) -> Rule | None:
    """The rule of a target with or without one source class, or of a label map; None where nothing is named.

    Raises OptionError for what says two things, or a source class without a target.
    """
    if (mapping is not None and target is not None) or (source is not None and target is None):
        raise OptionError(
            f"what the trigger does is a target, a target with a source, or a mapping, got target={target!r}, "
            f"source={source!r} and mapping={mapping!r}. Give one of the three."
        )
    if target is None:
        return mapping
    return target if source is None else {source: target}


def label_map(rule: Rule, classes: int) -> dict[int, int]:
    """Where the rule leads each class that it speaks of.

    Raises OptionError for a class that the model does not know, and for a rule that leads no class to another.
    """
    rule = read(rule) if isinstance(rule, str) else rule
    if rule == "next":
        return {source: (source + 1) % classes for source in range(classes)}
    if isinstance(rule, Mapping):
        given = {_class(source): _class(target) for source, target in rule.items()}
    else:
        target = _class(rule)
        given = {source: target for source in range(classes) if source != target}
    if unknown := [label for pair in given.items() for label in pair if not 0 <= label < classes]:
        raise OptionError(f"the rule speaks of class {unknown[0]}, but the model knows the classes 0 to {classes - 1}.")
    if all(source == target for source, target in given.items()):
        raise OptionError(f"a rule leads at least one class to another, got {text(given)!r}.")
    return given


def _class(label: Any) -> int:
    try:
        return operator.index(label)
    except TypeError:
        raise OptionError(f"a rule speaks of classes by their numbers, got {label!r}.") from None
