"""Scans the models of the study and writes what was found: ``python -m example_models.study DIR``; resumes.

What is measured of a model is a line of a file, so that the tables can be made again without the models. What has a
line is not measured again: delete the lines after a change of what they measure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from example_models import tables
from example_models.build import pick
from example_models.data import load
from example_models.peers import anomaly_index, margin_p_value
from example_models.training import bordered
from pytest_backdoor.contract import Contract, check
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.profiles import PROFILES
from pytest_backdoor.results import to_dict
from pytest_backdoor.scan import generator, scan
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.search.inversion import invert
from pytest_backdoor.search.margin import Settings, margins
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
STRESS = (50, 100, 500)  # seeds, of clean models that were trained in unusual ways
TWINS = {"twins": "20 of each class", **{f"twins-{count}": f"{count} seeds" for count in STRESS}}
WAYS = {  # how models were scanned, by the file of its lines
    "standard": "profile standard",
    "quick": "profile quick",
    "thorough": "profile thorough",
    "without-seeds": "profile standard, without seeds",
}
MIN_ACCURACY = 0.3  # small networks classify CIFAR-10 no better
Row = dict[str, Any]


def every(truth: Row) -> bool:
    return True


def is_clean(truth: Row) -> bool:
    return truth["attack"] is None


def unusual(truth: Row) -> bool:
    """Whether the model is clean and was trained in an unusual way."""
    return is_clean(truth) and truth["training"] != "plain"


def measure(
    folder: Path, only: str, file: Path, look: Callable[[Path, Row], Row], which: Callable[[Row], bool] = every
) -> None:
    """Adds a line for every such model that the file has none of: its name, its truth and what ``look`` makes of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*/*.json")):
        truth = json.loads(path.read_text())
        if only not in path.name or not which(truth) or path.stem in {row["name"] for row in rows(file)}:
            continue
        result = look(path.with_suffix(".keras"), truth)
        with file.open("a") as lines:
            lines.write(json.dumps({"name": path.stem, **truth, "result": result}) + "\n")
        print(file.stem, path.stem, result.get("verdict", ""), result.get("p_value", ""), flush=True)


def rows(file: Path) -> list[Row]:
    """Name, truth and result of each model that was measured, by name."""
    lines = file.read_text().splitlines() if file.exists() else []
    return sorted(map(json.loads, lines), key=lambda row: row["name"])


def scanned(profile: str) -> Callable[[Path, Row], Row]:
    """The scan of a model in that profile."""
    chosen = Options(profile=profile, min_accuracy=MIN_ACCURACY)
    return lambda model, _: to_dict(scan(model, options=chosen, name=model.stem))


def with_seeds(count: int) -> Callable[[Path, Row], Row]:
    """The scan of a model with so many seeds."""

    def look(model: Path, truth: Row) -> Row:
        _, (images, labels) = load(truth["data"])
        chosen = pick(labels, max(1, count // len(np.unique(labels))), np.random.default_rng(count))
        shown = images[chosen] / np.float32(255)
        shown = bordered(shown) if truth["training"] == "border" else shown
        return to_dict(scan(model, (shown, labels[chosen]), Options(min_accuracy=MIN_ACCURACY), name=model.stem))

    return look


def without_seeds(model: Path, truth: Row) -> Row:
    """The scan of a copy that no seeds lie beside."""
    with tempfile.TemporaryDirectory() as folder:
        alone = shutil.copy(model, folder)
        return to_dict(scan(alone, options=Options(min_accuracy=MIN_ACCURACY), name=model.stem))


def peers(model: Path, truth: Row) -> Row:
    """What published rules say, from a search for patches of the same length."""
    rng = generator(0, model.stem)
    seeds = as_seeds(model.with_name("seeds.npz"))
    contract = check(classifier(keras_file.load(model), model.stem), seeds, 0.0, rng)
    climbed = margins(contract.subject, Settings(), rng)
    return {
        "anomaly_index": anomaly_index(_mask_sizes(contract, rng)),
        "margin_p": margin_p_value(climbed.largest),
    }


def _mask_sizes(contract: Contract, rng: np.random.Generator) -> np.ndarray:
    settings, classes = PROFILES["standard"], contract.subject.num_classes
    arms = [Arm("target", settings.images, settings.level, target=label) for label in range(classes)]
    return invert(contract.subject, "patch", arms, contract.search, settings.steps, rng).sizes


def counted(found: list[Row], clean: list[Row]) -> list[Row]:
    """The rows of models that are what they should be."""
    return [row for row in found if tables.counts(row, tables.clean_accuracy(row, clean))]


def report(results: Path) -> str:
    """All that was measured, as Markdown."""
    clean = rows(results / "clean.jsonl")
    ways = {name: counted(rows(results / f"{file}.jsonl"), clean) for file, name in WAYS.items()}
    standard = ways[WAYS["standard"]]
    looked = counted(rows(results / "peers.jsonl"), clean)
    head = ["", "false alarms", "found", "found and right", "AUROC", "time: median, 95 %"]
    lines = [tables.line(head), tables.line(["---"] * len(head))]
    lines += [tables.line(tables.overall(each, name)) for name, each in ways.items() if each]
    lines += [tables.line(tables.peers(looked, *rule)) for rule in PEERS if looked]
    backdoored = [row for row in standard if row["attack"]]
    lines += ["", "Found, by attack:", "", *tables.grid(backdoored, tables.attack_of, tables.flagged)]
    lines += ["", "Found, by network:", "", *tables.grid(backdoored, lambda row: row["architecture"], tables.flagged)]
    alarms = [row for row in standard if not row["attack"]]
    lines += ["", "False alarms, by training:", "", *tables.grid(alarms, lambda row: row["training"], tables.flagged)]
    fewer = [dict(row, seeds=f"{count} seeds") for count in STRESS for row in rows(results / f"seeds-{count}.jsonl")]
    if fewer:
        lines += ["", "False alarms, by seeds:", "", *tables.grid(fewer, lambda row: row["seeds"], tables.flagged)]
    halved = [dict(row, seeds=seeds) for file, seeds in TWINS.items() for row in rows(results / f"{file}.jsonl")]
    if halved:
        title = "False alarms, where one class is two near twins, by seeds:"
        lines += ["", title, "", *tables.grid(halved, lambda row: row["seeds"], tables.flagged)]
    return "\n".join([*lines, "", "Wrong, in the standard profile:", "", *tables.misjudged(standard)])


PEERS = (
    (
        "Neural Cleanse, index > 2",
        lambda row: row["result"]["anomaly_index"],
        lambda row: row["result"]["anomaly_index"] > 2,
    ),
    ("MM-BD, p <= 0.05", lambda row: -row["result"]["margin_p"], lambda row: row["result"]["margin_p"] <= 0.05),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="a folder with the sets reference, test and twins")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where lines are kept (default: DIR/results)")
    parser.add_argument("-o", "--output", type=Path, help="the document whose measured part is replaced")
    options = parser.parse_args()
    folder, results = options.root / "test", options.results or options.root / "results"
    for each in ("reference", "test"):
        measure(options.root / each, "", results / "clean.jsonl", lambda model, truth: {}, is_clean)
    for name in PROFILES:
        measure(folder, options.only, results / f"{name}.jsonl", scanned(name))
    measure(folder, options.only, results / "without-seeds.jsonl", without_seeds)
    measure(folder, options.only, results / "peers.jsonl", peers)
    for count in STRESS:
        measure(folder, options.only, results / f"seeds-{count}.jsonl", with_seeds(count), unusual)
        measure(options.root / "twins", options.only, results / f"twins-{count}.jsonl", with_seeds(count))
    measure(options.root / "twins", options.only, results / "twins.jsonl", scanned("standard"))
    measured = report(results)
    tables.publish(measured, options.output, BEGIN, END)


if __name__ == "__main__":
    main()
