"""Scans the models of the study and writes what was found: ``python -m example_models.study DIR``; resumes."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from example_models.build import pick
from example_models.data import load
from example_models.peers import anomaly_index
from example_models.training import bordered
from pytest_backdoor.contract import Contract, check
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.profiles import PROFILES
from pytest_backdoor.results import to_dict
from pytest_backdoor.scan import generator, scan
from pytest_backdoor.search.inversion import Arm, invert
from pytest_backdoor.seeds import as_seeds
from pytest_backdoor.subject import classifier

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
STRESS = (50, 100, 500)  # seeds, of clean models that were trained in unusual ways
Row = dict[str, Any]


def measure(folder: Path, only: str, results: str, look: Callable[[Path, Row], Row]) -> None:
    """Writes what ``look`` makes of every model that has no result of that name yet."""
    for truth in sorted(folder.glob("*/*.json")):
        result = truth.parent / results / truth.name
        if only not in truth.name or result.exists():
            continue
        result.parent.mkdir(exist_ok=True)
        entry = look(truth.with_suffix(".keras"), json.loads(truth.read_text()))
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps(entry, indent=1))
        os.replace(partial, result)
        print(results, truth.stem, entry.get("verdict", ""), entry.get("p_value", ""), flush=True)


def scanned(profile: str) -> Callable[[Path, Row], Row]:
    """The scan of a model in that profile."""
    return lambda model, _: to_dict(scan(model, options=Options(profile=profile), name=model.stem))


def with_seeds(count: int) -> Callable[[Path, Row], Row]:
    """The scan of a model with so many seeds."""

    def look(model: Path, truth: Row) -> Row:
        _, (images, labels) = load(truth["data"])
        chosen = pick(labels, max(1, count // len(np.unique(labels))), np.random.default_rng(count))
        shown = images[chosen] / np.float32(255)
        shown = bordered(shown) if truth["training"] == "border" else shown
        return to_dict(scan(model, (shown, labels[chosen]), name=model.stem))

    return look


def peers(model: Path, truth: Row) -> Row:
    """What published rules say, from a search for patches of the same length."""
    rng = generator(0, model.stem)
    seeds = as_seeds(model.with_name("seeds.npz"))
    contract = check(classifier(keras_file.load(model), model.stem), seeds, 0.0, rng)
    return {"anomaly_index": anomaly_index(_mask_sizes(contract, rng))}


def _mask_sizes(contract: Contract, rng: np.random.Generator) -> np.ndarray:
    settings, classes = PROFILES["standard"], contract.subject.num_classes
    arms = [Arm("target", settings.images, settings.level, target=label) for label in range(classes)]
    return invert(contract.subject, "patch", arms, contract.search, settings.steps, rng).sizes


def rows(folder: Path, results: str) -> list[Row]:
    """Truth and result of each scanned model."""
    paths = sorted(folder.glob(f"*/{results}/*.json"))
    return [
        {
            "name": path.stem,
            **json.loads((path.parents[1] / path.name).read_text()),
            "result": json.loads(path.read_text()),
        }
        for path in paths
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a set that example_models.build --into DIR trained")
    parser.add_argument("--only", default="", metavar="TEXT", help="just the models with TEXT in their name")
    parser.add_argument("-o", "--output", type=Path, help="the document whose measured part is replaced")
    options = parser.parse_args()
    measure(options.folder, options.only, "standard", scanned("standard"))
    measure(options.folder, options.only, "peers", peers)
    measure(options.folder, options.only, "quick", scanned("quick"))
    print(options.folder)


if __name__ == "__main__":
    main()
