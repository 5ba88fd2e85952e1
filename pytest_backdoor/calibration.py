"""Calibration: what a scan's evidence is worth, from the evidence of clean models that were scanned the same way.

Each test's evidence is ranked among the clean models' (a conformal p-value; Vovk et al., 2005), beyond the largest by
an exponential tail. The tests' p-values are combined (Cauchy combination; Liu and Xie, arXiv:1808.09011), and the
combination is ranked again among those of the clean models, each taken without itself: so dependence between tests and
the fit of the tails cost no false alarms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import values
from pytest_backdoor.errors import CalibrationError

SCHEMA = 2
SHIPPED = Path(__file__).with_name("reference.json")
ENOUGH = 60  # clean models that a stratum needs
TAIL = 0.2  # share of the clean models that the tail is fitted to
P_FLOOR = 1e-6
# Evidence is -log10 of a p-value, whose tail in a clean model has this scale if the p-value is right. A test that finds
# less than that in most clean models is not to be trusted to do so in all.
EVIDENCE_SCALE = 1 / np.log(10)
FEW_CLASSES = 12
WIDER = 2.0  # an image side, or a number of classes, may be so many times the largest of the reference
MAP = " map"  # ends the name of a test of label maps
CONSENSUS = "consensus"  # a test that references made before it lack; every entry made since has it
MORE_SEEDS = 1.5  # times as many of each class are hardly more


@dataclass(frozen=True, slots=True)
class Entry:
    """One clean model of a reference: what it is, how it was scanned, and the evidence of each test."""

    name: str
    sha256: str
    mode: str  # profile, and whether there were seeds
    channels: int
    side: int  # the larger of height and width
    classes: int
    batch_norm: bool
    seeds: int  # images that were given; 0 without seeds
    evidence: Mapping[str, float]
    mixing: str = ""  # attention or recurrence, where the network has it


@dataclass(frozen=True, slots=True)
class Stratum:
    """The clean models that a scan is compared with: a row of evidence each, 0 where a test found nothing."""

    name: str
    tests: tuple[str, ...]
    evidence: np.ndarray  # (models, tests)
    together: np.ndarray  # (models,) log of the combination of each model's tests, against the other models
    seeing: frozenset[str]  # searches that found a trigger of some size in each of the models
    classes: int = 0  # of the model that has most

    @classmethod
    def of(cls, name: str, entries: Sequence[Entry]) -> Stratum:
        """The stratum of these clean models, without a test that some of them were surveyed before."""
        missed = set() if all(CONSENSUS in entry.evidence for entry in entries) else {CONSENSUS}
        tests = tuple(sorted({test for entry in entries for test in entry.evidence} - missed))
        rows = np.array([[entry.evidence.get(test, 0.0) for test in tests] for entry in entries])
        together = [combined(_ranked(rows[row], np.delete(rows, row, 0))) for row in range(len(rows))]
        seeing = frozenset.intersection(*(searches(entry.evidence) for entry in entries))
        most = max(entry.classes for entry in entries)
        return cls(f"{len(entries)} clean models: {name}", tests, rows, np.log(together), seeing, most)

    def p_values(self, evidence: Mapping[str, float]) -> dict[str, float]:
        """The share of clean models with as much evidence, of each test alone.

        A test that finds something in none of the clean models counts as one that found nothing in each. One that they
        were surveyed before counts nothing.
        """
        unknown = tuple(test for test in evidence if test not in (*self.tests, CONSENSUS))
        tests = (*self.tests, *unknown)
        others = np.pad(self.evidence, ((0, 0), (0, len(unknown))))
        mine = np.array([evidence.get(test, 0.0) for test in tests])
        return dict.fromkeys(evidence, 1.0) | dict(zip(tests, _ranked(mine, others).tolist(), strict=True))

    def p_value(self, evidence: Mapping[str, float]) -> float:
        """The share of clean models with as much evidence, all tests together; 1e-6 at least."""
        mine = combined(np.array(list(self.p_values(evidence).values())))
        return tail_p(float(np.log(mine)), self.together)


def searches(evidence: Iterable[str]) -> frozenset[str]:
    """The searches that these tests belong to; the consensus is none, and a label map is a test of its search."""
    return frozenset(test.removesuffix(MAP) for test in evidence if test != CONSENSUS)


def tail_p(value: float, others: np.ndarray, least_scale: float = 0.0) -> float:
    """The share of others as large as the value, counting itself; beyond them all, that of their exponential tail.

    The tail is fitted to the top fifth; its scale, the mean excess, is at least ``least_scale``.
    """
    rank = (1 + np.sum(others >= value)) / (1 + len(others))
    if rank > 1 / (1 + len(others)):
        return float(rank)
    start = np.quantile(others, 1 - TAIL)
    excess = others[others > start] - start  # fewer than a fifth, where many are the same
    if not len(excess):
        return float(rank)
    scale = max(float(excess.mean()), least_scale)
    return float(np.clip(len(excess) / len(others) * np.exp(-(value - start) / scale), P_FLOOR, rank))


def _ranked(evidence: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.array([tail_p(value, others[:, test], EVIDENCE_SCALE) for test, value in enumerate(evidence)])


def combined(p_values: np.ndarray) -> float:
    """The Cauchy combination of p-values, larger the smaller they are; those above one half count nothing.

    So a test that has not run yet cannot make a model less suspicious, and a scan may stop before all are done.
    """
    return float(np.sum(np.tan((0.5 - np.minimum(p_values, 0.5)) * np.pi)) + 1e-6)


def stratum(
    reference: Sequence[Entry],
    mode: str,
    channels: int,
    side: int,
    classes: int,
    batch_norm: bool,
    seeds: int,
    mixing: str = "",
) -> Stratum | str:
    """The clean models to compare a model with, or why there are none.

    They are of the same kind of image, with batch norm or without, with attention, recurrence or neither, and of few
    classes or many as the model is, and were scanned with hardly more seeds of each class: the fewer, the more natural
    triggers fit all of them.
    """
    many = classes > FEW_CLASSES
    kind = (
        f"{'colour' if channels > 1 else 'grey'} images, {'with' if batch_norm else 'without'} batch norm, "
        f"{mixing and f'with {mixing}, '}{'more than' if many else 'at most'} {FEW_CLASSES} classes"
    )
    wanted = (mode, channels > 1, batch_norm, mixing, many)
    same = [
        entry
        for entry in reference
        if (entry.mode, entry.channels > 1, entry.batch_norm, entry.mixing, entry.classes > FEW_CLASSES) == wanted
    ]
    if len(same) < ENOUGH:
        return (
            f"the reference has {len(same)} clean models ({kind}) scanned in the mode {mode}, and {ENOUGH} are needed"
        )
    most_seeds = MORE_SEEDS * seeds / classes
    if len(fitting := _with_seeds(same, most_seeds)) < ENOUGH:
        usual = np.median([entry.seeds / entry.classes for entry in same])
        return (
            f"{seeds / classes:.3g} seeds of each class are few: the reference has {len(fitting)} clean models "
            f"({kind}) scanned with at most {most_seeds:.3g}, and {ENOUGH} are needed. "
            f"Give about {usual:.3g} of each class"
        )
    largest, most = max(entry.side for entry in fitting), max(entry.classes for entry in fitting)
    if side > WIDER * largest:
        return f"images of {side} pixels are larger than those of the reference ({largest})"
    if classes > WIDER * most:
        return f"{classes} classes are more than those of the reference ({most})"
    return Stratum.of(kind, fitting)


def _with_seeds(entries: Sequence[Entry], most: float) -> list[Entry]:
    """Of each clean model the scan with most seeds of each class, up to so many; without those with far fewer.

    Enough models stay, if there are enough.
    """
    models: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda each: each.seeds / each.classes):
        if entry.seeds <= most * entry.classes:
            models[entry.sha256] = entry
    counts = sorted((entry.seeds / entry.classes for entry in models.values()), reverse=True)
    least = counts[min(ENOUGH, len(counts)) - 1] / MORE_SEEDS if counts else 0.0
    return [entry for entry in models.values() if entry.seeds >= least * entry.classes]


def read(path: Path | None = None) -> tuple[Entry, ...]:
    """The entries of a reference file, or of the one that is shipped; raises CalibrationError."""
    path = path or SHIPPED
    try:
        if other := values.other_than_file(path):
            raise ValueError(f"it is {other}, not a file")
        stored = json.loads(path.read_text())
        if stored["schema"] != SCHEMA:
            raise ValueError(f"schema {stored['schema']}, not {SCHEMA}")
        entries = tuple(_entry(entry) for entry in stored["models"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise CalibrationError(f"no reference in {path}: {problem}. Give a file that calibrate wrote.") from problem
    return entries


def _entry(stored: Mapping[str, Any]) -> Entry:
    """The entry as ``to_dict`` wrote it; raises TypeError or ValueError for any other."""
    entry = Entry(**stored)
    numbers = (entry.channels, entry.side, entry.classes, entry.seeds)
    if not all(type(number) is int for number in numbers) or min(numbers[:3]) < 1 or type(entry.batch_norm) is not bool:
        raise ValueError(f"model {entry.name!r} has channels, side, classes, seeds or batch_norm that are none")
    if not all(type(text) is str for text in (entry.name, entry.sha256, entry.mode, entry.mixing)):
        raise ValueError(f"model {entry.name!r} has a name, sha256, mode or mixing that is no text")
    evidence = dict(entry.evidence)
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in evidence.values()):
        raise ValueError(f"model {entry.name!r} has evidence that is no number")
    return entry


def to_dict(entries: Sequence[Entry]) -> dict[str, Any]:
    """The reference as builtins, for its file."""
    return {"schema": SCHEMA, "models": [asdict(entry) for entry in entries]}
