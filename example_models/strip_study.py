"""How often STRIP lets triggers pass: ``python -m example_models.strip_study MODELS --rows FILE -o docs/strip.md``.

A model is a .keras file with its .json beside it and its trigger under planted/; what is in FILE already is not
measured again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from example_models.data import load
from pytest_backdoor.confirm import strip
from pytest_backdoor.contract import check
from pytest_backdoor.seeds import Seeds, from_arrays
from pytest_backdoor.stats import share
from pytest_backdoor.subject import Subject, classifier
from pytest_backdoor.triggers.trigger import Trigger

CLEAN = 500  # test images for the boundary, and as many others for the false rejections
TRIGGERED = 300
SETTINGS = strip.Settings(overlays=50)
MARKS = ("<!-- measured -->", "<!-- end of measured -->")
HEADING = (
    "| model | kind | pixels | boundary, bits | clean: bits, rejected | triggered: bits, accepted |\n"
    "|---|---|---|---|---|---|"
)


def test_images(data: str, rng: np.random.Generator) -> Seeds:
    """Test images with their labels, as many as are needed."""
    _, (images, labels) = load(data)
    order = rng.permutation(len(images))[: 2 * CLEAN + 2 * TRIGGERED]
    return from_arrays(images[order], labels[order])


def attacked(subject: Subject, trigger: Trigger, seeds: Seeds, about: dict[str, Any]) -> np.ndarray:
    """Triggered images on which the attack succeeds."""
    assert seeds.labels is not None
    rule = {int(source): target for source, target in about["mapping"].items()}
    wanted = np.array([rule.get(int(label), -1) for label in seeds.labels])
    triggered = trigger.apply(seeds.images)
    return triggered[(subject.classes(triggered) == wanted) & (wanted != seeds.labels)][:TRIGGERED]


def measure(path: Path) -> dict[str, Any]:
    """What STRIP does with clean and triggered images of one model."""
    about = json.loads(path.with_suffix(".json").read_text())
    rng = np.random.default_rng(0)
    seeds = test_images(about["data"], rng)
    subject = check(classifier(keras.models.load_model(path, compile=False), path.stem), seeds, 0.0, rng).subject
    trigger = Trigger.load(path.parent / "planted" / f"{path.stem}.npz")
    triggered = attacked(subject, trigger, seeds, about)
    pool = seeds.images[:CLEAN]
    moves = strip.shifts(CLEAN, SETTINGS.overlays, rng)
    known, other, bearing = (
        strip.entropies(subject, images, pool, moves) for images in (pool, seeds.images[CLEAN : 2 * CLEAN], triggered)
    )
    boundary = strip.boundary(known, SETTINGS)
    return {
        "model": path.stem,
        "kind": about["kind"],
        "pixels": about.get("pixels"),
        "boundary": [boundary.value, boundary.rule],
        "clean": [float(other.mean()), int(np.sum(other < boundary.value)), len(other)],
        "triggered": [float(bearing.mean()), int(np.sum(bearing >= boundary.value)), len(bearing)],
    }


def row(entry: dict[str, Any]) -> str:
    """One model's row of the table."""
    cells = [f"`{entry['model']}`", entry["kind"], str(entry["pixels"])]
    cells.append("{:.2f}, {}".format(*entry["boundary"]))
    return "| " + " | ".join([*cells, *(counted(*entry[group]) for group in ("clean", "triggered"))]) + " |"


def counted(bits: float, hits: int, count: int) -> str:
    """Mean entropy, and a share with its interval."""
    found = share("", hits, count)
    low, high = found.interval or (0.0, 1.0)
    return f"{bits:.2f}, {100 * found.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def page(text: str, marks: tuple[str, str], table: str) -> str:
    """The document with a table in place of what stands between two marks."""
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{table}\n\n{marks[1]}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rows", type=Path, required=True, help="what was measured, one model per line")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the document whose measured part is renewed")
    options = parser.parse_args()
    lines = options.rows.read_text().splitlines() if options.rows.exists() else []
    done = {json.loads(line)["model"] for line in lines}
    for path in options.models:  # one model at a time, so that what is measured is kept
        if path.stem not in done:
            with options.rows.open("a") as rows:
                rows.write(json.dumps(measure(path)) + "\n")
    entries = [json.loads(line) for line in options.rows.read_text().splitlines()]
    entries.sort(key=lambda entry: (entry["kind"], entry["model"]))
    table = "\n".join([HEADING, *map(row, entries)])
    options.output.write_text(page(options.output.read_text(), MARKS, table))


if __name__ == "__main__":
    main()
