"""Reports: one file each renders the results of a run; this one writes them, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import importlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_backdoor.errors import OptionError
from pytest_backdoor.results import Finding, FuzzRun, ScanResult

# Each module has ``render(run: Run) -> str``.
FORMATS: Mapping[str, str] = {"json": "pytest_backdoor.report.json"}
Targets = Iterable[tuple[str, Path]]  # format and path


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run, and what a reader needs to know about it."""

    results: tuple[ScanResult, ...] = ()
    tool: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()  # models that were found and not scanned


def check_formats(targets: Targets) -> None:
    """Raises OptionError for a format that nobody writes."""
    for name, _ in targets:
        if name not in FORMATS:
            near = "".join(f" Did you mean {match!r}?" for match in difflib.get_close_matches(name, FORMATS, 1))
            raise OptionError(f"unknown report format {name!r}.{near} Choose from: {', '.join(sorted(FORMATS))}.")


def write_reports(targets: Targets, run: Run) -> list[str]:
    """Writes each report and returns what could not be written, and why."""
    problems = (_attempt(path, functools.partial(_render, name, run)) for name, path in targets)
    return [problem for problem in problems if problem]


def write_text(path: Path, text: str) -> str | None:
    """Writes the file, whole or not at all, and returns what is wrong if it could not."""
    return _attempt(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_with(path: Path, write: Callable[[Path], object]) -> str | None:
    """Lets ``write`` write the file, whole or not at all, and returns what is wrong if it could not."""
    return _attempt(path, write)


def save_triggers(result: ScanResult, folder: Path) -> ScanResult:
    """The result with each finding's trigger saved in the folder; what could not be saved is said in ``skipped``.

    No file of another trigger is replaced: one of the same model that other seeds or options led to keeps its name.
    """
    stem = result.sha256[:12] or "model"
    saved = [_save_trigger(finding, folder / f"{stem}-{index}.npz") for index, finding in enumerate(result.findings)]
    problems = tuple(f"trigger not saved: {problem}" for _, problem in saved if problem)
    findings = tuple(finding for finding, _ in saved)
    return dataclasses.replace(result, findings=findings, skipped=result.skipped + problems)


def save_inputs(run: FuzzRun, folder: Path) -> FuzzRun:
    """The run with its inputs and its metrics saved in a folder of its own; ``error`` says what could not be saved."""
    from pytest_backdoor.report import inputs

    if run.inputs is None:
        return run
    place = folder / inputs.folder(run)
    saved = dataclasses.replace(run, saved=place.as_posix())
    problems = (_attempt(place / name, write) for name, write in inputs.files(saved, run.inputs))
    problem = next((problem for problem in problems if problem), None)  # one is enough: the next has no room either
    return dataclasses.replace(run, error=f"inputs not saved: {problem}") if problem else saved


def _save_trigger(finding: Finding, path: Path) -> tuple[Finding, str | None]:
    if finding.trigger is None:
        return finding, None
    file = io.BytesIO()
    finding.trigger.save(file)
    path = _free(path, file.getvalue())
    problem = _attempt(path, lambda part: part.write_bytes(file.getvalue()))
    return (finding, problem) if problem else (dataclasses.replace(finding, trigger_path=path.as_posix()), None)


def _free(path: Path, content: bytes) -> Path:
    """The path, or one beside it that ends in the content's digest where the path holds something else."""
    with contextlib.suppress(OSError):  # writing says what is wrong
        if path.is_file() and path.read_bytes() != content:
            return path.with_stem(f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}")
    return path


def _render(name: str, run: Run, part: Path) -> None:
    text = importlib.import_module(FORMATS[name]).render(run)
    part.write_text(text, encoding="utf-8")


def _attempt(path: Path, write: Callable[[Path], object]) -> str | None:
    """Lets ``write`` fill a file that then takes the path's name; returns the problem, if any."""
    # Beside the path, for a rename is atomic within one file system; same suffix, for NumPy adds .npz otherwise.
    path = path.resolve() if path.is_symlink() else path  # what a link leads to, not the link
    part = path.parent / f".{path.stem}-{os.getpid()}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            write(path)  # a pipe or /dev/stdout, which a rename would replace
            return None
        write(part)
        os.replace(part, path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            part.unlink()
        return f"{path}: {problem.strerror or problem}"
    return None
