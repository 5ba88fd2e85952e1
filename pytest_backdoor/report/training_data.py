"""The text of a failed check of training data: which classes, how many images, which, and what to do. No colour."""

from __future__ import annotations

from pytest_backdoor.dataset_results import ClassChecked, DatasetResult
from pytest_backdoor.report import words

SHOWN = 10  # numbers of images, of each class
NEXT = (
    "look at these images and at others of their class: one of the two groups is poisoned, mostly the smaller one, "
    "which is named; remove it, or the whole class, and train again; scan the model for the trigger"
)


def suspects_text(result: DatasetResult, alpha: float) -> str:
    """The report of training data with suspicious classes."""
    found = result.suspicious
    count = sum(len(each.suspects) for each in found)
    labels = ", ".join(str(each.label) for each in found)
    lines = [
        f"SUSPICIOUS TRAINING DATA class{'es' if len(found) > 1 else ''} {labels}: {count} of {result.images} images",
        f"  p-value  {result.p_value:.2g} for all classes and checks (alpha {alpha:g})",
        f"  images   scaling {words.visible(result.scaling)}, accuracy {words.percent(result.accuracy)}",
        *(f"  class {each.label:<3}{_about(each)}" for each in found),
        *(f"  skipped  class {each.label}: {each.skipped}" for each in result.classes if each.skipped),
        f"  next     {NEXT}",
    ]
    return "\n".join(lines)


def _about(found: ClassChecked) -> str:
    numbers = ", ".join(str(each) for each in found.suspects[:SHOWN])
    more = ", ..." if len(found.suspects) > SHOWN else ""
    groups = ", ".join(f"{split.check} {split.separation:.3g} (p {split.p_value:.2g})" for split in found.splits)
    return f"{len(found.suspects)} of {found.images} images: {numbers}{more}; two groups apart: {groups}"
