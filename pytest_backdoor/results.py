"""What a scan says: frozen data that every report renders, and the only place that turns it into plain dictionaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_backdoor.check_results import Histogram, histogram_from_dict, histogram_to_dict

if TYPE_CHECKING:
    import numpy as np

    from pytest_backdoor.triggers.trigger import Trigger

Verdict = Literal["clean", "backdoor", "inconclusive", "error"]
Kind = Literal["all-to-one", "all-to-all", "source-specific"]
KINDS: tuple[Kind, ...] = ("all-to-one", "all-to-all", "source-specific")
Share = tuple[float, float, float]  # estimate, low, high
BY_LABEL = ("before", "after")  # shares of a run of fuzzing


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured fact about a candidate, with its 99 % interval where it has one."""

    check: str
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Carrier:
    """A neuron that carries a trigger: how much more often it fires with the trigger than without (BackFuzz)."""

    layer: str
    neuron: int
    difference: float  # of shares of images, the mean over the neuron's places, above 0 up to 1


@dataclass(frozen=True, slots=True)
class Heat:
    """Where in a layer's output neurons fire more often with a trigger than without, over all its channels."""

    layer: str
    places: tuple[tuple[float, ...], ...]  # rows of shares, 0 to 1; of more than 16 along a side, means of blocks


@dataclass(frozen=True, slots=True)
class Finding:
    """A trigger confirmed on images that the search never saw."""

    rule: str  # stable id: BD301 all-to-one, BD302 all-to-all, BD303 source-specific
    family: str
    kind: Kind
    target: int | None
    source: int | None
    mapping: Mapping[int, int] | None  # the label map of an all-to-all trigger
    size: float  # share of the image that the trigger changes
    pixels: int  # the same, counted
    attack_success: tuple[float, float, float]  # estimate, low, high on held-out seeds
    p_value: float
    evidence: tuple[Evidence, ...] = ()
    trigger_path: str | None = None  # where the trigger was saved
    trigger: Trigger | None = field(default=None, compare=False, repr=False)
    carriers: tuple[Carrier, ...] = ()  # the hidden neurons that it moves most, the strongest first
    heat: tuple[Heat, ...] = ()  # of the hidden layers that have places
    entropies: Histogram | None = None  # of held-out seeds, blended (STRIP); None where that says nothing


@dataclass(frozen=True, slots=True)
class SeedsUsed:
    """The seeds as the contract check found them."""

    count: int
    scaling: str  # from the file's scale to the model's
    accuracy: float | None  # None: unlabelled
    search: int  # how many the searches used
    held_out: int  # how many were kept for confirmation


@dataclass(frozen=True, slots=True)
class Planted:
    """A known backdoor in a copy of the user's model, and what a scan of the copy came to."""

    name: str  # of the plan
    family: str
    kind: Kind
    size: float  # patch: share of the image; additive and tone: strength, 0 to 1; warp: pixels moved
    pixels: int  # that the trigger changes
    success: float  # on seeds that the copy was not trained on
    accuracy: tuple[float, float]  # on the same seeds, before and after
    planted: bool  # False: the copy did not learn it, so it says nothing about the search
    found: bool
    right: bool  # found with its kind, target and label map
    p_value: float | None  # of the scan; None: not planted, so not scanned
    seconds: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the search finds of backdoors that were planted in copies of the user's own model."""

    path: str
    sha256: str
    plants: tuple[Planted, ...] = ()
    found: tuple[float, float, float] | None = None  # share of the planted: estimate, low, high (99 %)
    smallest: Mapping[str, float] = field(default_factory=dict)  # size of the smallest found trigger, by family
    seconds: float = 0.0
    error: str | None = None  # why nothing, or no more, was planted


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Adversarial inputs of a run of fuzzing, and where each comes from."""

    seeds: tuple[str, ...]  # number of each input's seed, and its name where it has one
    turn: np.ndarray  # (m,) which image of the seed's queue it was pushed from
    iteration: np.ndarray  # (m,) from 1
    before: np.ndarray  # (m,) class of the seed
    after: np.ndarray  # (m,) class of the input
    images: np.ndarray  # (m, height, width, channels), 0 to 1


@dataclass(frozen=True, slots=True)
class FuzzRun:
    """What became of a model's seeds when they were pushed along gradients; it is no verdict.

    Shares, rates and distances are those of the adversarial inputs, and None where there are none.
    """

    path: str
    sha256: str
    settings: Mapping[str, int | float | str]
    changed: tuple[str, ...] = ()  # what differs from the defaults, as name=value
    against: tuple[str, ...] = ()  # other models, where an input is adversarial that they disagree on
    seeds: int = 0  # that were pushed: those that the model classifies right
    seeds_sha256: str = ""  # of their images
    images: int = 0  # that the seeds became, one for each iteration
    adversarial: int = 0  # those of another class than their seed
    flipped: int = 0  # seeds with adversarial inputs
    before: Mapping[int, float] = field(default_factory=dict)  # share by class of the seed
    after: Mapping[int, float] = field(default_factory=dict)  # share by class of the input
    rule: str | None = None  # under test: next, a class, or a label map
    activation: float | None = None  # backdoor activation rate: share that lands where the rule leads
    l2: tuple[float, float] | None = None  # from the seed: mean, largest
    linf: tuple[float, float] | None = None
    coverage: tuple[float, float] | None = None  # share of neurons, before and after
    seconds: float = 0.0
    saved: str | None = None  # folder of the inputs
    error: str | None = None  # why nothing was fuzzed, or the inputs were not saved
    inputs: Inputs | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """What was measured along the path of each seed: ``(seeds, iterations + 1)``, NaN where there is no path."""

    target_loss: np.ndarray  # cross-entropy to the target; without one, to the likeliest other class
    original_loss: np.ndarray  # cross-entropy to the class of the seed
    objective: np.ndarray
    covered: np.ndarray  # share of neurons that the seeds and this path so far covered
    l2: np.ndarray  # distance from the seed
    left: np.ndarray  # L2 distance to the triggered seed


@dataclass(frozen=True, slots=True, eq=False)
class Trajectories:
    """The paths of seeds that were fuzzed, and the straight ones from the seeds to their triggered versions."""

    classes: np.ndarray  # (seeds,) class of each
    targets: np.ndarray | None  # (seeds,) class that each should reach; None: any other
    fuzzed: Paths
    desired: Paths | None  # None: no trigger is known


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The verdict on one model and everything needed to repeat and to explain it."""

    path: str
    sha256: str
    verdict: Verdict
    seconds: float = 0.0
    p_value: float | None = None
    score: float | None = None  # higher is more suspicious; counts what held-out seeds refute where p is above alpha
    seeds: SeedsUsed | None = None  # clean images; None: there were none
    findings: tuple[Finding, ...] = ()
    power: Mapping[str, float] = field(default_factory=dict)  # smallest planted trigger that was found, by family
    self_test: SelfTest | None = None  # only of a clean model, on request
    calibration: str | None = None  # the clean models that the p-value compares with, or why there are none
    statistics: Mapping[str, float] = field(default_factory=dict)  # evidence of each test, -log10 of a p-value
    image_gradients: int = 0  # cost of the searches
    skipped: tuple[str, ...] = ()  # what was not done, and why
    options: Mapping[str, Any] = field(default_factory=dict)  # of the scan, as it was run
    error: str | None = None  # why the verdict is error or inconclusive
    image_shape: tuple[int, ...] | None = None  # height, width, channels
    batch_norm: bool | None = None  # whether the network has one
    mixing: str = ""  # what it has beside convolutions and dense layers: attention or recurrence
    classes: int | None = None
    synthetic_seeds: SeedsUsed | None = None  # drawn from the model itself for want of clean images
    fuzzing: FuzzRun | None = None  # on request; no part of the verdict


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one method of repair came to; shares on held-out seeds are estimate, low, high (99 %)."""

    method: str
    accuracy: Share | None = None  # None: the method could not be used
    success: tuple[Share, ...] = ()  # of each trigger
    done: str = ""  # what was changed, in words
    seconds: float = 0.0
    error: str | None = None  # why the method could not be used


@dataclass(frozen=True, slots=True)
class Repair:
    """What methods of repair make of a model, and the new file; shares as in ``Attempt``."""

    path: str
    sha256: str
    rules: tuple[str, ...] = ()  # what each trigger makes of which class: 0>7 1>7 ...
    accuracy: Share | None = None  # of the model as it was
    success: tuple[Share, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    chosen: str | None = None  # the method
    output: str | None = None  # the new file; None: there is none
    rescan: ScanResult | None = None  # of the new file
    seconds: float = 0.0
    error: str | None = None  # why there is no new file, or no scan of it
    triggers: tuple[Trigger, ...] = field(default=(), compare=False, repr=False)


def to_dict(result: ScanResult) -> dict[str, Any]:
    """The model's entry in the JSON report: builtins only."""
    return {
        "path": result.path,
        "sha256": result.sha256,
        "verdict": result.verdict,
        "p_value": result.p_value,
        "score": result.score,
        "seconds": round(result.seconds, 2),
        "seeds": _seeds_to_dict(result.seeds),
        "batch_norm": result.batch_norm,
        "mixing": result.mixing,
        "image_shape": None if result.image_shape is None else list(result.image_shape),
        "classes": result.classes,
        "synthetic_seeds": _seeds_to_dict(result.synthetic_seeds),
        "findings": [_finding_to_dict(finding) for finding in result.findings],
        "power": dict(result.power),
        "calibration": result.calibration,
        "self_test": None if result.self_test is None else self_test_to_dict(result.self_test),
        "fuzzing": None if result.fuzzing is None else fuzz_run_to_dict(result.fuzzing),
        "statistics": dict(result.statistics),
        "image_gradients": result.image_gradients,
        "skipped": list(result.skipped),
        "options": dict(result.options),
        "error": result.error,
    }


def from_dict(entry: Mapping[str, Any]) -> ScanResult:
    """The result that ``to_dict`` was given, without the trigger's arrays (they are in its file)."""
    return ScanResult(
        path=entry["path"],
        sha256=entry["sha256"],
        verdict=entry["verdict"],
        seconds=entry["seconds"],
        p_value=entry["p_value"],
        score=entry["score"],
        batch_norm=entry["batch_norm"],
        mixing=entry.get("mixing", ""),
        image_shape=None if entry["image_shape"] is None else tuple(entry["image_shape"]),
        classes=entry["classes"],
        seeds=_seeds_from_dict(entry["seeds"]),
        synthetic_seeds=_seeds_from_dict(entry.get("synthetic_seeds")),
        findings=tuple(_finding_from_dict(finding) for finding in entry["findings"]),
        power=entry["power"],
        calibration=entry["calibration"],
        self_test=self_test_from_dict(entry["self_test"]) if entry.get("self_test") else None,
        fuzzing=fuzz_run_from_dict(entry["fuzzing"]) if entry.get("fuzzing") else None,
        statistics=entry["statistics"],
        image_gradients=entry["image_gradients"],
        skipped=tuple(entry["skipped"]),
        options=entry.get("options", {}),
        error=entry["error"],
    )


def self_test_to_dict(test: SelfTest) -> dict[str, Any]:
    """The self-test in the JSON report: builtins only."""
    entry = dataclasses.asdict(dataclasses.replace(test, smallest=dict(test.smallest), seconds=round(test.seconds, 2)))
    plants = [
        each | {"accuracy": list(each["accuracy"]), "seconds": round(each["seconds"], 2)} for each in entry["plants"]
    ]
    return entry | {"plants": plants, "found": None if test.found is None else list(test.found)}


def self_test_from_dict(entry: Mapping[str, Any]) -> SelfTest:
    """The self-test that ``self_test_to_dict`` was given."""
    plants = tuple(Planted(**{**each, "accuracy": tuple(each["accuracy"])}) for each in entry["plants"])
    return SelfTest(**{**entry, "plants": plants, "found": None if entry["found"] is None else tuple(entry["found"])})


def fuzz_run_to_dict(run: FuzzRun) -> dict[str, Any]:
    """The run of fuzzing in the JSON report, without the images: builtins only."""
    names = (each.name for each in dataclasses.fields(run) if each.name != "inputs")
    entry = {name: getattr(run, name) for name in names} | {"settings": dict(run.settings)}
    shares = {name: {str(label): share for label, share in entry[name].items()} for name in BY_LABEL}
    tuples = {name: list(value) for name, value in entry.items() if isinstance(value, tuple)}
    return entry | shares | tuples | {"seconds": round(run.seconds, 2)}


def fuzz_run_from_dict(entry: Mapping[str, Any]) -> FuzzRun:
    """The run of fuzzing that ``fuzz_run_to_dict`` was given, without the images."""
    shares = {name: {int(label): share for label, share in entry[name].items()} for name in BY_LABEL}
    tuples = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return FuzzRun(**{**entry, **shares, **tuples})


def repair_to_dict(repair: Repair) -> dict[str, Any]:
    """The repair in the JSON report: builtins only."""
    entry = dataclasses.asdict(dataclasses.replace(repair, rescan=None, triggers=()))
    del entry["triggers"]
    attempts = [_plain(each) for each in entry["attempts"]]
    rescan = None if repair.rescan is None else to_dict(repair.rescan)
    return _plain(entry) | {"attempts": attempts, "rescan": rescan}


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, and seconds with the digits that matter."""
    lists = {name: list(value) for name, value in entry.items() if isinstance(value, tuple)}
    shares = [list(each) for each in entry["success"]]
    return {**entry, **lists, "success": shares, "seconds": round(entry["seconds"], 2)}


def _seeds_to_dict(seeds: SeedsUsed | None) -> dict[str, Any] | None:
    return None if seeds is None else dataclasses.asdict(seeds)


def _seeds_from_dict(entry: Mapping[str, Any] | None) -> SeedsUsed | None:
    return None if entry is None else SeedsUsed(**entry)


def _finding_to_dict(finding: Finding) -> dict[str, Any]:
    mapping = finding.mapping
    return {
        "rule": finding.rule,
        "family": finding.family,
        "kind": finding.kind,
        "target": finding.target,
        "source": finding.source,
        "mapping": None if mapping is None else {str(source): target for source, target in mapping.items()},
        "trigger": finding.trigger_path,
        "size": finding.size,
        "pixels": finding.pixels,
        "attack_success": list(finding.attack_success),
        "p_value": finding.p_value,
        "evidence": [_evidence_to_dict(evidence) for evidence in finding.evidence],
        "carriers": [dataclasses.asdict(carrier) for carrier in finding.carriers],
        "heat": [{"layer": heat.layer, "places": [list(row) for row in heat.places]} for heat in finding.heat],
        "entropies": None if finding.entropies is None else histogram_to_dict(finding.entropies),
    }


def _evidence_to_dict(evidence: Evidence) -> dict[str, Any]:
    entry: dict[str, Any] = {"check": evidence.check, "value": evidence.value}
    return entry if evidence.interval is None else entry | {"interval": list(evidence.interval)}


def _finding_from_dict(entry: Mapping[str, Any]) -> Finding:
    mapping = entry["mapping"]
    estimate, low, high = entry["attack_success"]
    return Finding(
        rule=entry["rule"],
        family=entry["family"],
        kind=entry["kind"],
        target=entry["target"],
        source=entry["source"],
        mapping=None if mapping is None else {int(source): target for source, target in mapping.items()},
        size=entry["size"],
        pixels=entry["pixels"],
        attack_success=(estimate, low, high),
        p_value=entry["p_value"],
        evidence=tuple(_evidence_from_dict(evidence) for evidence in entry["evidence"]),
        carriers=tuple(Carrier(**carrier) for carrier in entry.get("carriers", ())),
        heat=tuple(Heat(heat["layer"], tuple(map(tuple, heat["places"]))) for heat in entry.get("heat", ())),
        entropies=histogram_from_dict(entry["entropies"]) if entry.get("entropies") else None,
        trigger_path=entry["trigger"],
    )


def _evidence_from_dict(entry: Mapping[str, Any]) -> Evidence:
    interval = entry.get("interval")
    return Evidence(entry["check"], entry["value"], None if interval is None else (interval[0], interval[1]))
