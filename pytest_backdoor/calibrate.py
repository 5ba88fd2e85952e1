"""Makes a reference: clean models are scanned to the end, and the evidence of each is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_backdoor import calibration, profiles
from pytest_backdoor.calibration import Entry
from pytest_backdoor.errors import CalibrationError
from pytest_backdoor.loading import safety
from pytest_backdoor.options import Options
from pytest_backdoor.results import ScanResult
from pytest_backdoor.scan import survey
from pytest_backdoor.seeds import seeds_beside

Step = tuple[Path, Entry | str]  # a model's file, and its entry or why it has none


def calibrate(files: Sequence[Path], begin: Sequence[Entry], output: Path, options: Options) -> Iterator[Step]:
    """Scans the files that are not among the entries yet, and writes all entries after each; resumes from the output.

    What could not be scanned gets no entry. Raises CalibrationError if the output cannot be written.
    """
    entries = {(entry.sha256, entry.mode): entry for entry in begin}
    if output.exists():
        entries |= {(entry.sha256, entry.mode): entry for entry in calibration.read(output)}
    _write(tuple(entries.values()), output)
    for file in files:
        mode = profiles.mode(options, with_seeds=(options.seeds or seeds_beside(file)) is not None)
        if (known := entries.get((safety.sha256(file), mode))) is not None:
            yield file, known
            continue
        result = survey(file, None, options)
        step = entry_of(result, file.stem, mode)
        if isinstance(step, Entry):
            entries[step.sha256, mode] = step
            _write(tuple(entries.values()), output)
        yield file, step


def entry_of(result: ScanResult, name: str, mode: str) -> Entry | str:
    """What the reference keeps of a scan, or why the scan is of no use to it."""
    if not result.statistics or result.image_shape is None or result.classes is None or result.batch_norm is None:
        return result.error or "the search found no trigger of any size"
    height, width, channels = result.image_shape
    kind = channels, max(height, width), result.classes, result.batch_norm
    return Entry(name, result.sha256, mode, *kind, evidence=dict(result.statistics))


def _write(entries: Sequence[Entry], output: Path) -> None:
    partial = output.with_name(output.name + ".partial")
    try:
        partial.write_text(json.dumps(calibration.to_dict(entries), indent=0) + "\n")
        os.replace(partial, output)
    except OSError as problem:
        raise CalibrationError(f"the reference cannot be written to {output}: {problem.strerror}.") from problem
