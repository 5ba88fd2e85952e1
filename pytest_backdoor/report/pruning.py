"""The report of a pruned layer: one line for each step of the curve."""

from __future__ import annotations

from pytest_backdoor.check_results import Pruning
from pytest_backdoor.report import words


def table(found: Pruning) -> str:
    """How many neurons are pruned, and what accuracy and, of a known trigger, success are left: plain ASCII."""
    columns = [["pruned", *map(str, found.pruned)], ["accuracy", *map(words.percent, found.accuracy)]]
    if found.success is not None:
        columns.append(["success", *map(words.percent, found.success)])
    return "\n".join("".join(f"  {cell:>8}" for cell in row) for row in zip(*columns, strict=True))
