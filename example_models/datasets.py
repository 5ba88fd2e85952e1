"""Checks the training data of a set of models: ``python -m example_models.datasets FOLDER [--set NAME] -o PAGE``.

FOLDER is where ``example_models.build`` put the models. What each was trained on is made again from its recipe. Each
result is kept beside the model as ``NAME.dataset.json``, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import keras
import numpy as np

from example_models.planting import MODEL_ATTACKS
from example_models.recipes import Recipe
from example_models.sets import SETS
from example_models.train import planted_data
from pytest_backdoor import training_data as checks
from pytest_backdoor.dataset_results import ClassChecked, Split, dataset_from_dict, dataset_to_dict
from pytest_backdoor.options import Options

MARK = "<!-- measured -->\n"
HEAD = (
    "| model | success | poisoned of all | share of their classes | verdict | classes right | wrong "
    "| clustering: p, precision, recall | spectral: p, precision, recall | s |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)
FOLLOWED = 0.5  # success from which a model counts as backdoored


def run(recipe: Recipe, folder: Path, into: Path) -> dict[str, object]:
    """The check of one model's training data, and which images are poisoned."""
    planted, images, labels = planted_data(recipe, np.random.default_rng(recipe.seed))
    changed = np.any(planted.images != images, axis=(1, 2, 3))
    poisoned = np.flatnonzero(changed if recipe.attack == "clean-label" else planted.labels != labels)
    begun = time.perf_counter()
    shown = planted.images * 255 if recipe.scale == 255 else planted.images
    result = checks.check_dataset(folder / recipe.folder / f"{recipe.name}.keras", shown, planted.labels, Options())
    row = {"result": dataset_to_dict(result), "poisoned": poisoned.tolist(), "labels": planted.labels.tolist()}
    row |= {"seconds": round(time.perf_counter() - begun, 1)}
    into.with_suffix(".partial").write_text(json.dumps(row))
    os.replace(into.with_suffix(".partial"), into)
    return row


def table_row(recipe: Recipe, facts: dict[str, object], row: dict) -> tuple[str, str, bool]:
    """A line of the table, whether the model counts as clean, backdoored or neither, and whether it was accused.

    Of poisoned data the p-value is the median of the poisoned classes, of clean data the smallest of all.
    """
    result, labels = dataset_from_dict(row["result"]), np.array(row["labels"])
    poisoned = np.isin(np.arange(len(labels)), row["poisoned"])
    bad = set(np.unique(labels[poisoned]).tolist())
    accused = {each.label for each in result.suspicious}
    shares = [poisoned[labels == label].mean() for label in bad]
    success = facts.get("success")
    kind = "clean" if not bad else "backdoored" if float(success or 0) >= FOLLOWED else "neither"
    cells = [
        recipe.name,
        "" if success is None else f"{success:.2f}",
        f"{poisoned.mean():.1%}" if bad else "",
        f"{np.mean(shares):.0%}" if bad else "",
        "suspicious" if accused else "clean",
        f"{len(accused & bad)} of {len(bad)}" if bad else "",
        f"{len(accused - bad)}",
        *(
            _method(number, [each for each in result.classes if not bad or each.label in bad], poisoned)
            for number in range(len(checks.CHECKS))
        ),
        f"{row['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |", kind, bool(accused)


def _method(number: int, classes: list[ClassChecked], poisoned: np.ndarray) -> str:
    """Median p-value, and of all these classes together, precision and recall of the suspects."""
    splits: list[Split] = [each.splits[number] for each in classes if each.splits]
    p_value = float(np.median([split.p_value for split in splits]))
    if not poisoned.any():
        return f"{min(split.p_value for split in splits):.2g}"
    named = np.concatenate([np.array(split.suspects, int) for split in splits])
    right = poisoned[named].sum()
    return f"{p_value:.2g}, {right / max(1, len(named)):.2f}, {right / poisoned.sum():.2f}"


def write(page: Path, rows: list[tuple[str, str, bool]]) -> None:
    """The page with its tables after the mark replaced."""
    accused = {kind: [hit for _, each, hit in rows if each == kind] for kind in ("clean", "backdoored", "neither")}
    found, false = accused["backdoored"], accused["clean"]
    summary = (
        f"Found: {sum(found)} of {len(found)} backdoored. False alarms: {sum(false)} of {len(false)} clean. Of "
        f"{len(accused['neither'])} models the backdoor did not take (success below {FOLLOWED:.0%}); not counted.\n\n"
    )
    kept = page.read_text().partition(MARK)[0]
    page.write_text(kept + MARK + "\n" + summary + HEAD + "\n".join(line for line, _, _ in rows) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="models that example_models.build trained")
    parser.add_argument("--set", nargs="+", choices=SETS, default=["develop"], help="which models")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="just those with TEXT in their name")
    parser.add_argument("-o", dest="page", type=Path, help="the page that gets the table")
    options = parser.parse_args()
    rows = []
    for recipe in (each for name in options.set for each in SETS[name]()):
        truth = options.folder / recipe.folder / f"{recipe.name}.json"
        if (
            recipe.attack in MODEL_ATTACKS
            or not truth.exists()
            or not any(text in recipe.name for text in options.only)
        ):
            continue
        kept = truth.with_suffix(".dataset.json")
        row = json.loads(kept.read_text()) if kept.exists() else run(recipe, options.folder, kept)
        rows.append(table_row(recipe, json.loads(truth.read_text()), row))
        print(rows[-1][0], flush=True)
        keras.backend.clear_session()
    if options.page is not None:
        write(options.page, rows)


if __name__ == "__main__":
    main()
