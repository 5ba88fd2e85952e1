"""The report of a screening of suspicious images: how many were rejected, which, and what that is worth."""

from __future__ import annotations

from pytest_backdoor.check_results import Screening
from pytest_backdoor.report import words

BLIND = "images that pass may bear a trigger that leads each class to another or works on one class only"
MOST = 20  # rejected images that are listed


def text(screening: Screening, alpha: float) -> str:
    """What an assertion says of images that are too predictable when blended with clean ones."""
    rejected, count = len(screening.rejected), len(screening.entropies)
    expected = words.percent(screening.false_rejections)
    reason = f", because {screening.poor}" if screening.poor else ""
    lines = (
        f"BACKDOOR inputs: {rejected} of {count} images stay predictable when blended with clean ones (STRIP), "
        f"{expected} of clean images of these classes do",
        f"  images   {_listed(screening)}",
        f"  p-value  {screening.p_value:.2g}, alpha {alpha:g}",
        f"  boundary {screening.boundary:.3g} bits, {screening.rule}, from {screening.clean} seeds with "
        f"{screening.overlays} overlays each{reason}",
        f"  blind    {BLIND}",
    )
    return "\n".join(lines)


def _listed(screening: Screening) -> str:
    """Number of each rejected image, with the name of its file, as far as there is room."""
    names = screening.names or ("",) * len(screening.rejected)
    shown = [
        f"{number} ({words.visible(name)})" if name else f"{number}"
        for number, name in zip(screening.rejected[:MOST], names[:MOST], strict=True)
    ]
    more = len(screening.rejected) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
