"""Do suspicious images give a trigger away? ``python -m example_models.suspects_study MODELS --rows FILE -o PAGE``.

Ten test images, clean and triggered, are given to each model, and the triggered ones to its clean twin as well. A line
of FILE is one try; what is in FILE already is not tried again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from example_models.strip_study import attacked, page, test_images
from pytest_backdoor.contract import Contract, check
from pytest_backdoor.seeds import read_seeds
from pytest_backdoor.subject import classifier
from pytest_backdoor.suspected import accuse
from pytest_backdoor.triggers.trigger import Trigger

SUSPECTS = 10
ALPHA = 0.01
MARKS = ("<!-- suspects -->", "<!-- end of suspects -->")
HEADING = "| model | images | finding | success | best clean region | p |\n|---|---|---|---|---|---|"


def contract_of(path: Path) -> Contract:
    """A model with the seeds in its folder."""
    seeds = read_seeds(path.with_name("seeds.npz"))
    model = keras.models.load_model(path, compile=False)
    return check(classifier(model, path.stem), seeds, 0.0, np.random.default_rng(0))


def tries(path: Path) -> Iterator[tuple[str, Contract]]:
    """The model and its clean twin, where there is one, with ten images each time."""
    about = json.loads(path.with_suffix(".json").read_text())
    seeds = test_images(about["data"], np.random.default_rng(1))
    contract = contract_of(path)
    triggered = attacked(contract.subject, Trigger.load(path.parent / "planted" / f"{path.stem}.npz"), seeds, about)
    yield "triggered", replace(contract, suspects=triggered[:SUSPECTS])
    yield "clean", replace(contract, suspects=seeds.images[-SUSPECTS:])
    twin = path.with_name(path.name.split(f"_{about['attack']}_")[0] + "_clean.keras")
    if twin.exists():
        yield "triggered, to the clean twin", replace(contract_of(twin), suspects=triggered[:SUSPECTS])


def tried(name: str, given: str, contract: Contract) -> dict[str, Any]:
    """What came of one try."""
    finding = accuse(contract, ALPHA, np.random.default_rng(0))
    entry = {"model": name, "given": given, "found": finding is not None}
    if finding is None:
        return entry
    said = {each.check: each.value for each in finding.evidence}
    return entry | {"target": finding.target, "pixels": finding.pixels, "p_value": finding.p_value, "evidence": said}


def row(entry: dict[str, Any]) -> str:
    """One try's row of the table."""
    cells = [f"`{entry['model']}`", entry["given"], "none", "", "", ""]
    if entry["found"]:
        success, control = (f"{100 * entry['evidence'][name]:.0f} %" for name in ("transfer", "natural control"))
        what = f"class {entry['target']}, {entry['pixels']} px"
        cells[2:] = [what, success, control, f"{entry['p_value']:.0e}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the document whose table is renewed")
    options = parser.parse_args()
    lines = options.rows.read_text().splitlines() if options.rows.exists() else []
    done = {json.loads(line)["model"] for line in lines}
    for path in options.models:  # one model at a time, so that what is tried is kept
        if path.stem not in done:
            entries = [json.dumps(tried(path.stem, given, contract)) for given, contract in tries(path)]
            with options.rows.open("a") as rows:
                rows.write("".join(f"{entry}\n" for entry in entries))
    table = "\n".join([HEADING, *(row(json.loads(line)) for line in options.rows.read_text().splitlines())])
    options.output.write_text(page(options.output.read_text(), MARKS, table))


if __name__ == "__main__":
    main()
