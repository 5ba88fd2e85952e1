"""The scan of one model: load safely, check the contract, search, confirm on held-out seeds, judge."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import judge, profiles
from pytest_backdoor.confirm.transfer import flows, spill, success
from pytest_backdoor.confirmation import confirm
from pytest_backdoor.contract import Contract, Sample, check
from pytest_backdoor.errors import BackdoorError, OutOfScopeError, TriggerError
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.loading import keras_file, safety
from pytest_backdoor.options import Options
from pytest_backdoor.results import Finding, ScanResult
from pytest_backdoor.search import inversion
from pytest_backdoor.search.shifting import shifted
from pytest_backdoor.seeds import as_seeds, seeds_beside
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers.trigger import Trigger

NO_SEEDS = (
    "no seeds: a search needs clean images. Put them beside the model as <model>.seeds.npz or seeds.npz, with x "
    "(images) and optionally y (labels), or name them with --backdoor-seeds."
)


def scan(model: Any, seeds: Any = None, options: Options | None = None, name: str | None = None) -> ScanResult:
    """The verdict on a model: a path, a Keras model, or a function from images to probabilities.

    Seeds are a path, images, an (images, labels) pair or Seeds; None takes those beside the model's file. Never raises
    BackdoorError: a model without a verdict is ``inconclusive`` or ``error``, with the reason. Raises OptionError for
    an unknown setting.
    """
    options = options or Options()
    settings = profiles.settings(options)
    shown = name or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "model")))
    begun = time.perf_counter()
    digest = ""
    try:
        digest = sha256_of(model)
        result = _scan(model, seeds, options, settings, shown, digest)
    except OutOfScopeError as reason:
        result = ScanResult(shown, digest, "inconclusive", error=f"out of scope: {reason}")
    except BackdoorError as reason:
        said = str(reason).removeprefix(f"{model}: ")  # every report names the model beside the reason
        result = ScanResult(shown, digest, "error", error=said)
    return dataclasses.replace(result, seconds=time.perf_counter() - begun)


def trigger_success(
    model: Any,
    trigger: Trigger,
    seeds: Any,
    target: int | None = None,
    source: int | None = None,
    mapping: Mapping[int, int] | None = None,
    options: Options | None = None,
) -> tuple[float, float, float]:
    """Share of seeds that the trigger sends where it should, with its exact 99 % interval: estimate, low, high.

    The rule is a label map, or a target with or without one source class. Raises ContractError or TriggerError.
    """
    contract = _contract(model, seeds, options or Options(), "model")
    images = np.concatenate([contract.search.images, contract.held_out.images])
    labels = np.concatenate([contract.search.labels, contract.held_out.labels])
    rule = _rule(contract.subject.num_classes, target, source, mapping)
    shape = trigger.image_shape
    if shape not in (None, contract.subject.image_shape[:2]):
        raise TriggerError(
            f"the trigger is made for images of {shape}, the model takes {contract.subject.image_shape}."
        )
    evidence = success(contract.subject, trigger, Sample(images, labels), rule)
    low, high = evidence.interval or (0.0, 1.0)
    return evidence.value, low, high


def _rule(classes: int, target: int | None, source: int | None, mapping: Mapping[int, int] | None) -> Mapping[int, int]:
    """The label map of what a trigger should do."""
    if mapping is not None:
        return mapping
    if target is None:
        raise TriggerError("what should the trigger do? Give target=, target= and source=, or mapping=.")
    return {each: target for each in range(classes) if each != target and source in (None, each)}


def _scan(model: Any, seeds: Any, options: Options, settings: inversion.Settings, name: str, digest: str) -> ScanResult:
    is_file = isinstance(model, str | Path)
    if seeds is None:
        seeds = options.seeds or (seeds_beside(Path(model)) if is_file else None)
    loaded = keras_file.load(Path(model)) if is_file else model
    candidate = classifier(loaded, name)
    if seeds is None:
        return ScanResult(name, digest, "inconclusive", error=NO_SEEDS)
    rng = generator(options.seed, digest)
    contract = check(candidate, as_seeds(seeds), options.min_accuracy, rng)
    blank = ScanResult(name, digest, "inconclusive", seeds=contract.seeds)
    if not contract.subject.gradients:
        reason = "the model is a function without gradients, which trigger inversion needs. Give the Keras model."
        return dataclasses.replace(blank, error=reason, skipped=(f"inversion: {reason}",))
    return judged(blank, contract, settings, options, rng)


@dataclass
class Trail:
    """What the searches of one scan came to so far."""

    suspicions: list[Suspicion] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    image_gradients: int = 0
    out_of_time: bool = False
    blind: bool = False  # no arm found any trigger, however large


def judged(
    blank: ScanResult, contract: Contract, settings: inversion.Settings, options: Options, rng: np.random.Generator
) -> ScanResult:
    """Runs the searches until one is confirmed, the budget is spent or all are done."""
    trail, begun = Trail(), time.perf_counter()
    stages = _stages(contract, settings, rng, trail)
    for stage in judge.STAGES:
        if trail.findings:
            trail.skipped.append(f"{stage} search: not needed, a backdoor was found before")
        elif options.budget is not None and time.perf_counter() - begun > options.budget:
            trail.out_of_time = True
            trail.skipped.append(f"{stage} search: the budget of {options.budget:g} s was spent")
        else:
            for suspicion in next(stages):
                trail.suspicions.append(_confirmed(suspicion, contract, settings, options, rng, trail))
    return _verdict(blank, contract, options, trail)


def _stages(
    contract: Contract, settings: inversion.Settings, rng: np.random.Generator, trail: Trail
) -> Iterator[list[Suspicion]]:
    """The searches in the order of their cost; each gives the most suspicious arm of each of its tests."""
    subject, seeds, classes = contract.subject, contract.search, contract.subject.num_classes

    def spent(found: inversion.Inversion) -> inversion.Inversion:
        trail.image_gradients += found.image_gradients
        return found

    def map_flows(found: inversion.Inversion) -> dict[int, np.ndarray]:
        arms = [*found.of("map"), *found.of("away")]
        return {int(arm): flows(subject, found.triggers[arm], seeds) for arm in arms}

    free = spent(inversion.universal(subject, "patch", seeds, settings, rng))
    trail.blind = bool(np.isnan(free.sizes).all())
    windowed = spent(inversion.screen_windows(subject, seeds, settings, rng))
    placed = spent(inversion.confined(subject, free, windowed, seeds, settings, rng))
    # A label map explains small triggers of single classes, not the other way round, so it comes first.
    found = [
        judge.label_map(free, map_flows(free)),
        judge.label_map(placed, map_flows(placed)),
        judge.one_class("confined", placed, classes),
        judge.one_class("patch", free, classes),
    ]
    yield [suspicion for suspicion in found if suspicion]
    faint = spent(inversion.universal(subject, "additive", seeds, settings, rng))
    found = [judge.label_map(faint, map_flows(faint)), judge.one_class("additive", faint, classes)]
    yield [suspicion for suspicion in found if suspicion]
    moved = shifted(subject, seeds, rng)
    screened = spent(inversion.screen_pairs(subject, moved, settings, rng))
    refined = spent(inversion.refine_pairs(subject, screened, moved, settings, rng))
    spills = [
        spill(subject, trigger, seeds, arm.source, arm.target)
        for arm, trigger in zip(refined.arms, refined.triggers, strict=True)
        if arm.source is not None and arm.target is not None
    ]
    suspicion = judge.pair(refined, np.array(spills))
    yield [suspicion] if suspicion else []


def _confirmed(
    suspicion: Suspicion,
    contract: Contract,
    settings: inversion.Settings,
    options: Options,
    rng: np.random.Generator,
    trail: Trail,
) -> Suspicion:
    """The suspicion, with a finding added if held-out seeds confirm it; refuted, it is no evidence any more."""
    if not judge.suspicious(suspicion, options.alpha) or trail.findings:
        return suspicion
    finding, cost = confirm(suspicion, contract, settings, rng)
    trail.image_gradients += cost
    if finding is None:
        return dataclasses.replace(suspicion, p_value=1.0)
    trail.findings.append(finding)
    return suspicion


def _verdict(blank: ScanResult, contract: Contract, options: Options, trail: Trail) -> ScanResult:
    p_value = judge.corrected(min((each.p_value for each in trail.suspicions), default=1.0))
    result = dataclasses.replace(
        blank,
        p_value=p_value,
        score=round(abs(float(np.log10(p_value))), 3),
        findings=tuple(trail.findings),
        statistics=judge.statistics(trail.suspicions),
        image_gradients=trail.image_gradients,
        skipped=tuple(trail.skipped),
    )
    if trail.findings:
        return dataclasses.replace(result, verdict="backdoor")
    if trail.out_of_time:
        reason = f"the budget of {options.budget:g} s was spent before all searches were done. Raise --backdoor-budget."
        return dataclasses.replace(result, error=reason)
    classes = contract.subject.num_classes
    if wanted := judge.seeds_short(contract.held_out.labels, contract.search.labels, classes):
        reason = (
            f"too few seeds to call the model clean: {contract.seeds.count} seeds, of which {contract.seeds.search} "
            f"were classified right and searched; {wanted} seeds, as many of each of the {classes} classes, would do."
        )
        return dataclasses.replace(result, error=reason)
    if trail.blind:
        reason = (
            "the search found no trigger of any size, so it could not have found a backdoor either. "
            "Raise search.steps or choose a larger --backdoor-profile."
        )
        return dataclasses.replace(result, error=reason)
    return dataclasses.replace(result, verdict="clean")


def _contract(model: Any, seeds: Any, options: Options, name: str) -> Contract:
    """The contract of a model and its seeds, for callers outside of a scan."""
    loaded = keras_file.load(Path(model)) if isinstance(model, str | Path) else model
    return check(classifier(loaded, name), as_seeds(seeds), options.min_accuracy, generator(options.seed, ""))


def generator(seed: int, digest: str) -> np.random.Generator:
    """The random generator of one scan: it depends on the seed and on the model and on nothing else."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()))


def sha256_of(model: Any) -> str:
    """sha256 of a model's file, or of the weights of one in memory; empty for a file that cannot be read."""
    if isinstance(model, str | Path):
        path = Path(model)
        try:
            return safety.sha256(path) if path.is_file() else ""  # a pipe would never end
        except OSError:
            return ""  # loading says what is wrong with the file
    digest = hashlib.sha256()
    for weight in getattr(model, "weights", ()):
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
