"""Rules: what a trigger makes of which class, as users and reports write it and as a label map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

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
        return {int(source): int(target) for source, target in (pair.split(">") for pair in given.split())}
    raise OptionError(f"a rule is next, the number of a class, or classes as '1>7 2>7', got {given!r}.")


def text(rule: Rule) -> str:
    """The rule as ``read`` takes it."""
    if isinstance(rule, Mapping):
        return " ".join(f"{source}>{target}" for source, target in sorted(rule.items()))
    return str(rule)


def goal(target: int | None, source: int | None, mapping: Mapping[int, int] | None) -> Rule | None:
    """The rule of a target with or without one source class, or of a label map; None where nothing is named."""
    if mapping is not None or target is None:
        return mapping
    return target if source is None else {source: target}


def label_map(rule: Rule, classes: int) -> dict[int, int]:
    """Where the rule leads each class that it speaks of; raises OptionError for one that the model does not know."""
    if rule == "next":
        return {source: (source + 1) % classes for source in range(classes)}
    given = dict(rule) if isinstance(rule, Mapping) else {each: int(rule) for each in range(classes) if each != rule}
    if unknown := [label for pair in given.items() for label in pair if not 0 <= label < classes]:
        raise OptionError(f"the rule speaks of class {unknown[0]}, but the model knows the classes 0 to {classes - 1}.")
    return given
