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
from example_models.build import pick, planted_file
from example_models.data import load
from example_models.study import BEGIN, END, MIN_ACCURACY, Row, measure, rows
from pytest_backdoor import attacks, repaired, rules
from pytest_backdoor.cli_repair import repair
from pytest_backdoor.contract import Sample
from pytest_backdoor.loading import keras_file
from pytest_backdoor.network import rebuilt
from pytest_backdoor.options import Options
from pytest_backdoor.repair import fine_pruning
from pytest_backdoor.repair.tuning import seen_alike
from pytest_backdoor.repair_methods import FILTER, METHODS, Known, Ward
from pytest_backdoor.results import Repair
from pytest_backdoor.scan import sha256_of
from pytest_backdoor.triggers.trigger import Trigger

SEEDS = 500
SHOWN = 2000  # further test images; the filter, which blends each, gets a quarter
KNOWN = "unlearning, trigger known"
ALONE = "pruning alone"
COLUMNS = ("lipschitz", ALONE, "fine-pruning", "unlearning", KNOWN, FILTER)
PATCHES = ("pixel", "pattern", "several", "combination", "neuron", "pruning-aware", "embedding", "adaptive-patch")


def backdoored(truth: Row) -> bool:
    """Whether the model has a backdoor that works."""
    return truth["attack"] is not None and tables.counts(truth, truth["accuracy"])


def repaired_by_all(profile: str, model: Path, truth: Row) -> Row:
    """What the command makes of the model, whose new file is kept beside the results, and what each method does."""
    copy = model.parent / "repair" / model.name
    copy.parent.mkdir(exist_ok=True)
    seeds, shown = images(truth, copy.with_suffix(".seeds.npz"))
    options = Options(seeds=str(seeds), profile=profile, min_accuracy=MIN_ACCURACY)
    ward = repaired.prepare(model, None, options, model.stem, sha256_of(model))
    planted = [
        Known(Trigger.load(planted_file(model, number)), {int(source): target for source, target in mapping.items()})
        for number, mapping in enumerate([truth["mapping"], *truth["further"]])
    ]
    done = repair(model, copy, options)
    entry = {"before": tried(ward, ward.model, planted, shown), "command": said(done), ALONE: {}, "chosen": None}
    if done.output is not None:
        entry |= {"chosen": done.chosen, "after": tried(ward, keras_file.load(copy), planted, shown)}
    known = [
        Known(trigger, rules.label_map(rules.read(rule), ward.subject.num_classes))
        for trigger, rule in zip(done.triggers, done.rules, strict=True)
    ]
    for method in METHODS:
        if method != "unlearning" or known:
            entry[method] = by_method(ward, method, known, options, planted, shown)
    entry[KNOWN] = by_method(ward, "unlearning", planted, options, planted, shown)
    if "error" not in entry["fine-pruning"]:
        entry[ALONE] = pruned(ward, planted, shown)
    keras.backend.clear_session()
    return entry


def by_method(
    ward: Ward, method: str, known: Sequence[Known], options: Options, planted: Sequence[Known], shown: Sample
) -> Row:
    attempt, made = repaired.attempt(ward, method, known, options)
    if made is None:
        return {"error": attempt.error}
    return tried(ward, made, planted, quarter(shown) if method == FILTER else shown)


def said(done: Repair) -> Row:
    """What the command says of its triggers and of its new file."""
    return {
        "rules": list(done.rules),
        "accuracy": done.accuracy,
        "success": list(done.success),
        "verdict": done.rescan and done.rescan.verdict,
        "error": done.error,
        "seconds": round(done.seconds, 1),
        "did": {each.method: each.done for each in done.attempts},
    }


def pruned(ward: Ward, planted: Sequence[Known], shown: Sample) -> Row:
    """The first half of fine-pruning."""
    channels = fine_pruning.pruned(ward.model, ward.subject, ward.tuning, fine_pruning.Settings())
    silenced = fine_pruning.silenced_weights(ward.model, fine_pruning.last(ward.model), channels)
    return tried(ward, rebuilt(ward.model, silenced), planted, shown)


def images(truth: Row, path: Path) -> tuple[Path, Sample]:
    """The file of a model's seeds, which it writes, and further test images with their labels, in unit scale."""
    _, (stored, labels) = load(truth["data"])
    chosen = pick(labels, SEEDS // len(np.unique(labels)), np.random.default_rng(SEEDS))
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    others = np.random.default_rng(SHOWN).choice(others, SHOWN, replace=False)
    np.savez_compressed(path, x=stored[chosen].squeeze(), y=labels[chosen].astype("uint8"))
    return path, Sample((stored[others] / 255).astype("float32"), labels[others])


def quarter(shown: Sample) -> Sample:
    return Sample(shown.images[::4], shown.labels[::4])


def tried(ward: Ward, model: Any, planted: Sequence[Known], shown: Sample) -> Row:
    """Accuracy of the model, and success of the planted trigger; of several, the one that works best."""
    subject = seen_alike(model, ward.subject)
    right = subject.classes(shown.images) == shown.labels
    success = [
        attacks.success(subject.classes(each.trigger.apply(shown.images)), shown.labels, each.mapping)
        for each in planted
    ]
    return {"accuracy": right.mean(), "success": max(success)}


def report(found: Sequence[Row]) -> str:
    """Tables by attack and method, and of what was chosen, as Markdown."""
    head = ["attack", "models", "before", *COLUMNS]
    lines = [tables.line(head), tables.line(["---"] * len(head))]
    for group in sorted({tables.attack_of(row) for row in found}):
        mine = [row for row in found if tables.attack_of(row) == group]
        cells = [cell([row["result"].get(method, {}) for row in mine]) for method in ("before", *COLUMNS)]
        lines.append(tables.line([group, str(len(mine)), *cells]))
    return "\n".join([*lines, "", *summary(found)])


def cell(entries: Sequence[Row]) -> str:
    """Median accuracy and median success of those that there are."""
    there = [each for each in entries if "accuracy" in each]
    if not there:
        return ""
    return f"{median(each['accuracy'] for each in there):.3f}, {median(each['success'] for each in there):.3f}"


def summary(found: Sequence[Row]) -> list[str]:
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
        verdicts = [row["command"]["verdict"] for row in done]
        lines.append(tables.line([name, str(len(mine)), str(len(done)), *figures(done), share_clean(verdicts)]))
    return lines


def figures(done: Sequence[Row]) -> list[str]:
    """Median and worst success, and median and largest loss of accuracy, of the chosen copies."""
    if not done:
        return [""] * 4
    left = [row["after"]["success"] for row in done]
    lost = [row["before"]["accuracy"] - row["after"]["accuracy"] for row in done]
    return [f"{100 * function(values):.1f} %" for values in (left, lost) for function in (median, max)]


def share_clean(verdicts: Sequence[str]) -> str:
    return tables.share(verdicts.count("clean"), len(verdicts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="a folder of models, such as the set develop or test")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("--profile", default="standard", help="of the scans (default: standard)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where measured lines are kept (default: in DIR)")
    parser.add_argument("-o", "--output", type=Path, help="the document whose measured part is replaced")
    options = parser.parse_args()
    file = options.results or options.root / "repair.jsonl"
    measure(options.root, options.only, file, partial(repaired_by_all, options.profile), backdoored)
    measured = report(rows(file))
    tables.publish(measured, options.output, BEGIN, END)


if __name__ == "__main__":
    main()
