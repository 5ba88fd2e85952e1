"""JSON, schema 1: stable, other programs parse it."""

from __future__ import annotations

import json
import math
from typing import Any

from pytest_backdoor.report import Run
from pytest_backdoor.results import to_dict

SCHEMA = 1


def render(run: Run) -> str:
    """The document as text; NaN and infinities become null, because JSON has no word for them."""
    return json.dumps(_finite(document(run)), indent=2, allow_nan=False) + "\n"


def document(run: Run) -> dict[str, Any]:
    """The run as builtins."""
    return {
        "schema": SCHEMA,
        "tool": dict(run.tool),
        "options": dict(run.options),
        "models": [to_dict(result) for result in run.results],
        "missing": list(run.missing),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
