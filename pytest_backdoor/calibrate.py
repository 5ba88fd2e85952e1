"""Makes a reference: clean models are scanned to the end, and the evidence of each is kept."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pytest_backdoor import calibration, profiles
from pytest_backdoor.calibration import Entry
from pytest_backdoor.errors import CalibrationError, ContractError
from pytest_backdoor.loading import safety
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult
from pytest_backdoor.scan import survey
from pytest_backdoor.seeds import Seeds, as_seeds, seeds_beside

UNUSUAL = (
    "unusual for a clean model (p-value {:.2g}), and a backdoored one among the clean would hide others. Scan it; with "
    "--keep-unusual it is kept."
)
Step = tuple[Path, Entry | str]  # a model's file, and its entry or why it has none


def calibrate(
    files: Sequence[Path],
    begin: Sequence[Entry],
    output: Path,
    options: Options,
    each: int | None = None,
    unusual: bool = False,
) -> Iterator[Step]:
    """Scans the files that are not among the entries yet, and writes all entries after each; resumes from the output.

    each is how many seeds of each class are used at most, the first ones. What could not be scanned gets no entry, nor
    does, unless ``unusual``, a model with p <= alpha: a backdoored one would hide others. Of two entries of one scan
    that with more tests is kept. Raises CalibrationError if the output cannot be written.
    """
    entries = _written(begin, output)
    for file in files:
        try:
            seeds = first(options.seeds or seeds_beside(file), each)
        except ContractError as problem:
            yield file, str(problem)
            continue
        mode = profiles.mode(options, with_seeds=seeds is not None)
        if (known := entries.get((safety.sha256(file), mode, 0 if seeds is None else len(seeds)))) is not None:
            yield file, known
            continue
        result = survey(file, seeds, options)
        strange = not unusual and result.p_value is not None and result.p_value <= options.alpha
        step = UNUSUAL.format(result.p_value) if strange else entry_of(result, file.stem, mode)
        if isinstance(step, Entry):
            entries = _written((*entries.values(), step), output)
        yield file, step


def _key(entry: Entry) -> tuple[str, str, int]:
    return entry.sha256, entry.mode, entry.seeds


def first(given: str | Path | None, each: int | None) -> Seeds | None:
    """The first seeds of each class, so many at most; raises ContractError."""
    if given is None:
        return None
    seeds = as_seeds(given)
    if each is None:
        return seeds
    if seeds.labels is None:
        raise ContractError(f"seeds {given} have no labels, so nobody knows which are the first of each class.")
    chosen = np.concatenate([np.flatnonzero(seeds.labels == label)[:each] for label in np.unique(seeds.labels)])
    return dataclasses.replace(seeds, images=seeds.images[chosen], labels=seeds.labels[chosen], names=None)


def entry_of(result: ScanResult, name: str, mode: str) -> Entry | str:
    """What the reference keeps of a scan, or why the scan is of no use to it."""
    if not result.statistics or result.image_shape is None or result.classes is None or result.batch_norm is None:
        return result.error or "the search found no trigger of any size"
    height, width, channels = result.image_shape
    kind = channels, max(height, width), result.classes, result.batch_norm
    seeds = 0 if result.seeds is None else result.seeds.count
    statistics = {calibration.CONSENSUS: 0.0, **result.statistics}
    return Entry(name, result.sha256, mode, *kind, seeds, statistics, result.mixing)


def _written(entries: Sequence[Entry], output: Path) -> dict[tuple[str, str, int], Entry]:
    """The entries and those that the output holds, of another run perhaps, once all are in the output."""
    stored = calibration.read(output) if output.exists() else ()
    together = {_key(entry): entry for entry in sorted((*entries, *stored), key=lambda entry: len(entry.evidence))}
    target = output.resolve()  # what a link leads to, not the link
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(calibration.to_dict(tuple(together.values())), indent=0) + "\n")
        os.replace(partial, target)
    except OSError as problem:
        raise CalibrationError(f"the reference cannot be written to {output}: {problem.strerror}.") from problem
    return together
