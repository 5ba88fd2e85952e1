"""Results as properties of a pytest report: they reach JUnit XML and cross from xdist's workers to their controller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_backdoor.results import ScanResult, from_dict, to_dict

Property = tuple[str, Any]
OURS = "backdoor_"
RESULT = f"{OURS}result"
SCALARS = ("verdict", "p_value", "score", "seconds", "sha256")
OF_FINDING = ("rule", "kind", "target", "source", "trigger")
OF_TOOL = ("backend", "keras", "device")


def properties(result: ScanResult, tool: Mapping[str, str]) -> list[Property]:
    """The result as builtins: the whole as JSON text, and what a person looks for one by one.

    xdist ends the session on anything that is not a builtin, NumPy's numbers included.
    """
    text = json.dumps(to_dict(result), default=_builtin)
    entry = json.loads(text)
    finding = entry["findings"][0] if entry["findings"] else {}
    single = [(name, entry[name]) for name in SCALARS]
    single += [(name, finding.get(name)) for name in OF_FINDING]
    single += [(name, tool.get(name)) for name in OF_TOOL]
    return [(RESULT, text)] + [(f"{OURS}{name}", value) for name, value in single if value is not None]


def results_in(properties: Iterable[Property]) -> list[ScanResult]:
    """The results among the properties of one report."""
    return [from_dict(json.loads(value)) for name, value in properties if name == RESULT]


def tool_in(properties: Iterable[Property]) -> dict[str, str]:
    """Backend, Keras version and device of the process that wrote the properties."""
    names = {f"{OURS}{name}": name for name in OF_TOOL}
    return {names[name]: value for name, value in properties if name in names}


def _builtin(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item()
