"""The exceptions of pytest-backdoor.

Exception
├── AssertionError
│   └── BackdoorFound           an assertion of ours failed: the report is the message
└── BackdoorError               everything below means that no verdict could be given, or no backdoor planted
    ├── UnreadableModelError    the file is not a model, or is damaged
    ├── UnsafeModelError        the file could run code when loaded
    ├── ContractError           model and seeds do not fit, or the model's numbers are broken
    ├── OutOfScopeError         a model that this tool does not judge: ends as inconclusive
    ├── BudgetSpentError        the time was up before the searches were done: ends as inconclusive
    ├── TriggerError            a trigger file cannot be read or does not fit the images
    ├── CalibrationError        a reference file cannot be read, or cannot be made
    ├── AttackError             what an attack is given, model, images or numbers, cannot be used
    └── OptionError             an option has a value that cannot be used
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar


class BackdoorFound(AssertionError):
    """An assertion about a model failed; the message is the report.

    ``result`` is what was measured, what the assertion returns where it holds; None where it returns nothing.
    """

    def __init__(self, report: str, result: Any = None) -> None:
        super().__init__(report)
        self.result = result


class BackdoorError(Exception):
    """No verdict or no backdoor; the message says what is wrong, what was received and what to do."""


class UnreadableModelError(BackdoorError):
    """The file is not a model that can be read."""


class UnsafeModelError(BackdoorError):
    """Loading the file could run code that is not Keras' own."""


class ContractError(BackdoorError):
    """The model and the seeds do not fit each other, or the model's numbers are broken."""


class OutOfScopeError(BackdoorError):
    """The model is not an image classifier with one input and one output."""


class BudgetSpentError(BackdoorError):
    """The time that a scan may take was up before its searches were done."""


class TriggerError(BackdoorError):
    """A trigger file cannot be read, or does not fit the images."""


class CalibrationError(BackdoorError):
    """A reference of clean models cannot be read, or cannot be made."""


class AttackError(BackdoorError):
    """What an attack is given cannot be used: the model lacks a part, or images or numbers are out of range."""


class OptionError(BackdoorError):
    """An option has a value that cannot be used."""


P = ParamSpec("P")
R = TypeVar("R")
LINE = 300  # characters
NOISE = re.compile(r"\x1b\[[0-9;]*m|\{\{\w+ \S+\}\} | \[Op:.*")  # bold of Keras, names of TensorFlow's graph
NODE = "\n\t [[{{node"  # what TensorFlow prints behind the reason
WRAPPED = "Exception encountered"


def plain(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with errors that end at the line of its caller: the way that they took in here helps nobody."""

    @functools.wraps(function)
    def called(*given: P.args, **named: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return function(*given, **named)
        except BackdoorError as problem:
            raise problem.with_traceback(None) from None

    return called


def reason(problem: Exception) -> str:
    """What went wrong innermost, in one line: Keras and TensorFlow wrap it in where it did."""
    told, node, _ = str(problem).rpartition(f"{WRAPPED}:")[2].partition(NODE)
    lines = [line.strip() for line in NOISE.sub("", told).splitlines()]
    lines = [line for line in lines if line and not line.startswith(WRAPPED)]
    first = lines[-1:] if node else lines[:2] if lines and lines[0].endswith(":") else lines[:1]
    line = " ".join(first) or type(problem).__name__
    return f"{line[: LINE - 3]}..." if len(line) > LINE else line.rstrip(".")
