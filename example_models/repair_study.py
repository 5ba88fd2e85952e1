"""Repairs the backdoored models of a folder and measures it: ``python -m example_models.repair_study DIR``; resumes.

Each model has 500 clean images as its seeds. What is reported is the success of the planted trigger, which no method
sees, and the accuracy, both on test images that are no seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np

from example_models import tables
from example_models.build import pick
from example_models.data import load
from example_models.study import BEGIN, END, Row, measure, rows
from pytest_backdoor import attacks, repaired
from pytest_backdoor.contract import Sample
from pytest_backdoor.options import Options
from pytest_backdoor.repair import fine_pruning
from pytest_backdoor.repair.tuning import rebuilt, seen_alike
from pytest_backdoor.repaired import FILTER, METHODS, REPAIRS, Known, Ward
from pytest_backdoor.results import to_dict
from pytest_backdoor.scan import scan, sha256_of
from pytest_backdoor.seeds import from_arrays
from pytest_backdoor.triggers.trigger import Trigger

SEEDS = 500
SHOWN = 2000  # further test images; the filter, which blends each, gets a quarter
KNOWN = "unlearning, trigger known"
ALONE = "pruning alone"
COLUMNS = ("lipschitz", ALONE, "fine-pruning", "unlearning", KNOWN, FILTER)
PATCHES = ("pixel", "pattern", "several", "combination", "neuron", "pruning-aware", "embedding", "adaptive-patch")
MAX_LOSS = 0.02


def backdoored(truth: Row) -> bool:
    return truth["attack"] is not None


def repaired_by_all(profile: str, model: Path, truth: Row) -> Row:
    """What each method makes of the model; the best one's copy is kept beside the results."""
    options = Options(profile=profile)
    seeds, shown = images(truth)
    ward = repaired.prepare(model, seeds, options, model.stem, sha256_of(model))
    planted = Known(
        Trigger.load(model.parent / "planted" / f"{model.stem}.npz"),
        {int(source): target for source, target in truth["mapping"].items()},
    )
    found = scan(model, seeds, options, model.stem)
    known = [repaired.known_of(finding, ward.subject.num_classes) for finding in found.findings]
    entry: Row = {"before": tried(ward, ward.model, planted, shown), "found": to_dict(found), ALONE: {}}
    accuracy, _ = repaired.measured(ward, ward.model, known)
    good = []
    for method in METHODS:
        if method == "unlearning" and not known:
            continue
        attempt, made = repaired.attempt(ward, method, known, options)
        if made is None:
            entry[method] = {"error": attempt.error}
            continue
        entry[method] = tried(ward, made, planted, quarter(shown) if method == FILTER else shown)
        if known and method in REPAIRS and repaired.is_good(attempt, accuracy, MAX_LOSS):
            good.append((repaired.worst(attempt), method, made))
    attempt, made = repaired.attempt(ward, "unlearning", [planted], options)
    entry[KNOWN] = tried(ward, made, planted, shown)
    entry[ALONE] = pruned(ward, planted, shown) if "error" not in entry["fine-pruning"] else {}
    best = min(good, key=lambda each: each[0], default=(1.0, None, None))
    if best[2] is not None:
        (model.parent / "repair").mkdir(exist_ok=True)
        best[2].save(model.parent / "repair" / f"{model.stem}.keras")
    keras.backend.clear_session()
    return entry | {"chosen": best[1]}


def pruned(ward: Ward, planted: Known, shown: Sample) -> Row:
    """The first half of fine-pruning."""
    channels = fine_pruning.pruned(ward.model, ward.subject, ward.tuning, fine_pruning.Settings())
    silenced = fine_pruning.silenced_weights(ward.model, fine_pruning.last(ward.model), channels)
    return tried(ward, rebuilt(ward.model, silenced), planted, shown)


def rescanned(profile: str, model: Path, truth: Row) -> Row:
    """The scan of the copy that was chosen; nothing where there is none."""
    copy = model.parent / "repair" / model.with_suffix(".keras").name
    seeds, _ = images(truth)
    return to_dict(scan(copy, seeds, Options(profile=profile), model.stem)) if copy.exists() else {}


def images(truth: Row) -> tuple[Any, Sample]:
    """The seeds of a model and further test images with their labels, in unit scale."""
    _, (stored, labels) = load(truth["data"])
    chosen = pick(labels, SEEDS // len(np.unique(labels)), np.random.default_rng(SEEDS))
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    others = np.random.default_rng(SHOWN).choice(others, SHOWN, replace=False)
    seeds = from_arrays(stored[chosen], labels[chosen])
    return seeds, Sample((stored[others] / 255).astype("float32"), labels[others])


def quarter(shown: Sample) -> Sample:
    return Sample(shown.images[::4], shown.labels[::4])


def tried(ward: Ward, model: Any, planted: Known, shown: Sample) -> Row:
    """Accuracy of the model, and success of the planted trigger."""
    subject = seen_alike(model, ward.subject)
    right = subject.classes(shown.images) == shown.labels
    triggered = subject.classes(planted.trigger.apply(shown.images))
    return {"accuracy": right.mean(), "success": attacks.success(triggered, shown.labels, planted.mapping)}


def report(root: Path) -> str:
    """Tables by attack and method, and of what was chosen, as Markdown."""
    found = rows(root, "repair")
    scans = {row["name"]: row["result"] for row in rows(root, "rescan")}
    head = ["attack", "models", "before", *COLUMNS]
    lines = [tables.line(head), tables.line(["---"] * len(head))]
    for group in sorted({tables.attack_of(row) for row in found}):
        mine = [row for row in found if tables.attack_of(row) == group]
        cells = [cell([row["result"].get(method, {}) for row in mine]) for method in ("before", *COLUMNS)]
        lines.append(tables.line([group, str(len(mine)), *cells]))
    return "\n".join([*lines, "", *summary(found, scans)])


def cell(entries: Sequence[Row]) -> str:
    """Median accuracy and median success of those that there are."""
    there = [each for each in entries if "accuracy" in each]
    if not there:
        return ""
    return f"{median(each['accuracy'] for each in there):.3f}, {median(each['success'] for each in there):.3f}"


def summary(found: list[Row], scans: dict[str, Row]) -> list[str]:
    """What the goal of a repair is measured by: of the chosen copies of patch kinds and of the others."""
    head = [
        "",
        "models",
        "repaired",
        "success: median",
        "success: worst",
        "accuracy lost: median",
        "worst",
        "scan clean",
    ]
    lines = [tables.line(head), tables.line(["---"] * len(head))]
    groups: dict[str, Callable[[Row], bool]] = {
        "patches": lambda row: row["attack"] in PATCHES,
        "other triggers": lambda row: row["attack"] not in PATCHES,
    }
    for name, belongs in groups.items():
        mine = [row for row in found if belongs(row)]
        done = [row["result"] for row in mine if row["result"]["chosen"]]
        verdicts = [scans[row["name"]]["verdict"] for row in mine if scans.get(row["name"])]
        lines.append(tables.line([name, str(len(mine)), str(len(done)), *figures(done), share_clean(verdicts)]))
    return lines


def figures(done: Sequence[Row]) -> list[str]:
    """Median and worst success, and median and largest loss of accuracy, of the chosen copies."""
    if not done:
        return [""] * 4
    left = [row[row["chosen"]]["success"] for row in done]
    lost = [row["before"]["accuracy"] - row[row["chosen"]]["accuracy"] for row in done]
    return [f"{100 * function(values):.1f} %" for values in (left, lost) for function in (median, max)]


def share_clean(verdicts: Sequence[str]) -> str:
    return tables.share(verdicts.count("clean"), len(verdicts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="a folder of models, such as the set develop or test")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("--profile", default="standard", help="of the scans (default: standard)")
    parser.add_argument("-o", "--output", type=Path, help="the document whose measured part is replaced")
    options = parser.parse_args()
    measure(options.root, options.only, "repair", partial(repaired_by_all, options.profile), backdoored)
    measure(options.root, options.only, "rescan", partial(rescanned, options.profile), backdoored)
    measured = report(options.root)
    tables.publish(measured, options.output, BEGIN, END)


if __name__ == "__main__":
    main()
