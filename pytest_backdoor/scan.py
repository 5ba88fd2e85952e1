"""The scan of one model: load safely, check the contract, search, confirm on held-out seeds, judge."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import judge, profiles, rules, unseeded, yardstick
from pytest_backdoor.calibration import searches
from pytest_backdoor.check_results import Pruning
from pytest_backdoor.confirm.pruning import dormant
from pytest_backdoor.confirm.transfer import attacked, success
from pytest_backdoor.confirmation import confirm
from pytest_backdoor.contract import Contract, check, fit_suspects
from pytest_backdoor.deadline import time_limit
from pytest_backdoor.errors import (
    BackdoorError,
    BudgetSpentError,
    ContractError,
    OptionError,
    OutOfScopeError,
    TriggerError,
)
from pytest_backdoor.loading import keras_file, safety
from pytest_backdoor.options import Options
from pytest_backdoor.origins import loaded_sha256
from pytest_backdoor.results import ScanResult
from pytest_backdoor.search.coverage import Coverage, coverage
from pytest_backdoor.seeds import as_seeds, seeds_or_beside
from pytest_backdoor.stages import Bench, stages
from pytest_backdoor.subject import Classifier, Subject, classifier
from pytest_backdoor.suspected import accuse
from pytest_backdoor.trail import Trail, doubtful
from pytest_backdoor.triggers.trigger import Trigger

BLIND = (
    "the {} search{} found no trigger of any size, though in every clean model there is one, so a backdoor could not "
    "have been found either. Something hides the model's gradients, such as steps or saturated activations before or "
    "among its first layers, or the search was made shorter than its profile has it."
)
NOT_PASTED = "suspects search: regions of suspicious images are pasted on seeds, and there are none."


def scan(
    model: Any,
    seeds: Any = None,
    options: Options | None = None,
    name: str | None = None,
    suspects: Any = None,
) -> ScanResult:
    """The verdict on a model: a path, a Keras model, or a function from images to probabilities.

    Seeds are a path, images, an (images, labels) pair or Seeds; None takes those beside the model's file, or else
    synthetic ones, which can show a backdoor but clear no model. Suspects are suspicious images, as seeds are given;
    None takes those of the options. Never raises BackdoorError: a model without a verdict is ``inconclusive`` or
    ``error``, with the reason. Raises OptionError for an unknown setting.
    """
    options = options or Options()
    return _scanned(model, seeds, options, options.alpha, name, options.suspects if suspects is None else suspects)


def survey(model: Any, seeds: Any = None, options: Options | None = None, name: str | None = None) -> ScanResult:
    """The scan of a model that is known to be clean: every search runs, and nothing is called a backdoor.

    Strong suspicions are tried on held-out seeds, and are no evidence where those refute them.
    """
    return _scanned(model, seeds, options or Options(), 0.0, name, None)


def _scanned(model: Any, seeds: Any, options: Options, alpha: float, name: str | None, suspects: Any) -> ScanResult:
    settings = profiles.settings(options)
    shown = name or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "model")))
    begun = time.perf_counter()
    digest = ""
    try:
        digest = sha256_of(model)
        blank = ScanResult(shown, digest, "inconclusive")
        result = _scan(model, seeds, suspects, options, settings, alpha, blank, begun)
    except OutOfScopeError as reason:
        result = ScanResult(shown, digest, "inconclusive", error=f"out of scope: {reason}")
    except BudgetSpentError as reason:
        result = ScanResult(shown, digest, "inconclusive", error=str(reason))
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

    The rule is a label map, or a target with or without one source class. Raises ContractError, also where no seed is
    of a class that the trigger works on, TriggerError, or OptionError for a rule that is none.
    """
    contract = _contract(model, seeds, options or Options(), "model")
    rule = rule_map(contract.subject.num_classes, target, source, mapping)
    trigger.require(contract.subject.image_shape)
    attacked(contract.known, rule)
    evidence = success(contract.subject, trigger, contract.known, rule)
    low, high = evidence.interval or (0.0, 1.0)
    return evidence.value, low, high


def neuron_coverage(model: Any, seeds: Any, threshold: float, options: Options) -> Coverage:
    """Which neurons the seeds that the model classifies right cover. Raises ContractError for a black box."""
    contract = _contract(model, seeds, options, "model")
    if not contract.subject.layers:
        raise ContractError("the model is a function, whose layers cannot be seen. Give the Keras model.")
    return coverage(contract.subject, contract.known.images, threshold)


def pruning_curve(
    model: Any,
    seeds: Any,
    trigger: Trigger | None = None,
    target: int | None = None,
    source: int | None = None,
    mapping: Mapping[int, int] | None = None,
    options: Options | None = None,
) -> Pruning:
    """The Fine-Pruning curve on the seeds that the model classifies right, with the success of a known trigger.

    The trigger's rule is a label map, or a target with or without one source class. Raises ContractError,
    TriggerError, or OptionError for a rule that is none or has no trigger.
    """
    contract = _contract(model, seeds, options or Options(), "model")
    sample, subject = contract.known, contract.subject
    if trigger is None and rules.goal(target, source, mapping) is not None:
        raise OptionError("a target or a mapping says what a trigger does, but there is no trigger. Give trigger=.")
    if trigger is None:
        return dormant(subject, sample)
    trigger.require(subject.image_shape)
    return dormant(subject, sample, (trigger, rule_map(subject.num_classes, target, source, mapping)))


def rule_map(
    classes: int, target: int | None, source: int | None, mapping: Mapping[int, int] | None
) -> Mapping[int, int]:
    """The label map of what a trigger should do."""
    rule = rules.goal(target, source, mapping)
    if rule is None:
        raise TriggerError("what should the trigger do? Give target=, target= and source=, or mapping=.")
    return rules.label_map(rule, classes)


def _scan(
    model: Any,
    seeds: Any,
    suspects: Any,
    options: Options,
    settings: profiles.Settings,
    alpha: float,
    blank: ScanResult,
    begun: float,
) -> ScanResult:
    seeds, loaded = seeds_or_beside(model, seeds, options.seeds), keras_file.opened(model)
    candidate = classifier(loaded, blank.path, options.memory)
    rng = generator(options.seed, blank.sha256)
    if seeds is None:
        result = _without_seeds(candidate, settings, options, alpha, rng, blank, begun)
        left_out = () if suspects is None else (NOT_PASTED,)
        return dataclasses.replace(result, skipped=(*result.skipped, *left_out))
    given = as_seeds(seeds)
    with time_limit(options.budget, begun):
        contract = check(candidate, given, options.min_accuracy, rng)
    if suspects is not None:
        contract = dataclasses.replace(contract, suspects=fit_suspects(candidate, given, suspects).images)
    subject = contract.subject
    blank = dataclasses.replace(_described(blank, subject), seeds=contract.seeds)
    if not subject.gradients:
        reason = "the model is a function without gradients, which trigger inversion needs. Give the Keras model."
        return dataclasses.replace(blank, error=reason, skipped=(f"inversion: {reason}",))
    return judged(blank, contract, settings, options, alpha, rng, begun)


def _described(result: ScanResult, subject: Subject) -> ScanResult:
    """The result with what kind of model it is of."""
    return dataclasses.replace(
        result,
        image_shape=subject.image_shape,
        classes=subject.num_classes,
        batch_norm=subject.batch_norm,
        mixing=subject.mixing,
    )


def _without_seeds(
    candidate: Classifier,
    settings: profiles.Settings,
    options: Options,
    alpha: float,
    rng: np.random.Generator,
    blank: ScanResult,
    begun: float,
) -> ScanResult:
    """The result of the searches on synthetic seeds, which can accuse a model but not clear it."""
    with time_limit(options.budget, begun):
        contract, drawn = unseeded.synthesise(candidate, settings.synthetic, rng)
    subject = contract.subject
    blank = dataclasses.replace(_described(blank, subject), synthetic_seeds=contract.seeds)
    result = judged(blank, contract, settings, options, alpha, rng, begun)
    result = dataclasses.replace(result, image_gradients=result.image_gradients + drawn)
    if result.verdict == "clean":
        return dataclasses.replace(result, verdict="inconclusive", error=unseeded.NOTHING_FOUND)
    return result


def judged(
    blank: ScanResult,
    contract: Contract,
    settings: profiles.Settings,
    options: Options,
    alpha: float,
    rng: np.random.Generator,
    begun: float | None = None,
) -> ScanResult:
    """Runs the searches until one is confirmed, the budget is spent or all are done.

    The budget is counted from ``begun``, a value of the performance counter, or from now.
    """
    subject, begun = contract.subject, time.perf_counter() if begun is None else begun
    if min(subject.image_shape[:2]) < 2:
        raise OutOfScopeError(
            f"images of shape {subject.image_shape} are one pixel high or wide: no place for a patch."
        )
    mode = profiles.mode(options, with_seeds=not blank.synthetic_seeds)
    left_out = unseeded.LEFT_OUT if blank.synthetic_seeds else {}
    given = 0 if blank.synthetic_seeds else contract.seeds.count
    trail = Trail(yardstick.choose(subject, options, mode, settings.search.methods, given, blank.sha256))
    bench = Bench.of(contract, settings, rng)
    last = {} if contract.suspects is None else {"suspects": None}
    for name, search in (stages(settings.search.methods) | last).items():
        if trail.findings and (not options.exhaustive or search is None):
            trail.skip(name, "not needed, a backdoor was found before")
        elif name in left_out:
            trail.skip(name, left_out[name])
        else:
            try:
                with time_limit(options.budget, begun):
                    if search is None:
                        _accuse(trail, contract, settings, alpha, rng)
                        continue
                    suspicions = bench.run(search)
            except BudgetSpentError as reason:
                trail.late = str(reason)
                trail.skip(name, f"the budget of {options.budget:g} s was spent")
                continue
            if not trail.findings:
                trail.add(suspicions)
                _confirm(trail, contract, settings, alpha, rng)
            _confirm_further(trail, bench, contract, settings, alpha, rng)
    blank = dataclasses.replace(blank, score=round(abs(float(np.log10(trail.p_value))), 3))
    if not trail.findings and not trail.late and trail.yardstick.stratum is not None:
        _confirm(trail, contract, settings, 0.0, rng)  # as those of the clean models were, which p compares with
    return _verdict(blank, contract, options, alpha, trail, bench)


def _confirm(
    trail: Trail, contract: Contract, settings: profiles.Settings, alpha: float, rng: np.random.Generator
) -> None:
    """Tries the suspicions on held-out seeds, the likeliest first, until one is confirmed or too few are left.

    What is refuted is no evidence any more. Of models that are known to be clean all that are strong enough are tried.
    """
    while not trail.findings and (suspicion := trail.to_try(alpha)) is not None:
        outcome = confirm(suspicion, contract, settings, *rng.spawn(1))
        outcome = trail.weighed(suspicion, outcome)
        trail.take(suspicion, outcome)
        p_value = trail.yardstick.p_value(judge.held(judge.speaking_for(suspicion, trail.suspicions)))
        if outcome.finding is not None and p_value <= alpha:
            trail.findings.append(dataclasses.replace(outcome.finding, p_value=p_value))


def _confirm_further(
    trail: Trail, bench: Bench, contract: Contract, settings: profiles.Settings, alpha: float, rng: np.random.Generator
) -> None:
    """After a trigger to one class, tries what the searches show of other classes: a model may have several.

    Only clean models tell how unusual that is: plain rules take natural triggers beside a planted one for planted too.
    """
    known = {each.target for each in trail.findings if each.kind == "all-to-one" and each.target is not None}
    while known and trail.yardstick.stratum is not None:
        suspicions = bench.further(known, trail.refuted)
        suspicion = trail.yardstick.likeliest(suspicions, alpha)
        if suspicion is None or suspicion.target is None:
            return
        outcome = confirm(suspicion, contract, settings, *rng.spawn(1))
        finding, trail.confirming = outcome.finding, trail.confirming + outcome.image_gradients
        shown = [each.tried(confirmed=True) if each is suspicion else each for each in suspicions]
        p_value = trail.yardstick.p_value(judge.held(shown))
        if finding is None or p_value > alpha:
            trail.refuted.add((suspicion.check, suspicion.target))
        else:
            known.add(suspicion.target)
            trail.findings.append(dataclasses.replace(finding, p_value=p_value))


def _accuse(
    trail: Trail, contract: Contract, settings: profiles.Settings, alpha: float, rng: np.random.Generator
) -> None:
    """Tries regions of the suspicious images on held-out seeds."""
    finding = accuse(contract, settings.strip, alpha, rng)
    if finding is not None:
        trail.findings.append(finding)


def _verdict(
    blank: ScanResult, contract: Contract, options: Options, alpha: float, trail: Trail, bench: Bench
) -> ScanResult:
    p_value = trail.p_value
    result = dataclasses.replace(
        blank,
        p_value=p_value,
        findings=tuple(trail.findings),
        calibration=trail.yardstick.name,
        statistics=judge.evidence(trail.suspicions),
        image_gradients=bench.image_gradients + trail.confirming,
        skipped=trail.left_out(),
    )
    if trail.findings:
        return dataclasses.replace(result, verdict="backdoor")
    if p_value <= alpha:
        reason = (
            f"the evidence is unusual for a clean model (p-value {p_value:.2g}), but no trigger that explains it holds "
            "on held-out seeds. Give more seeds or choose a larger --backdoor-profile."
        )
        return dataclasses.replace(result, error=reason)
    if (doubt := trail.in_doubt(alpha)) is not None:
        return dataclasses.replace(result, error=doubtful(*doubt, trail.yardstick.name))
    if trail.late:
        return dataclasses.replace(result, error=trail.late)
    classes = contract.subject.num_classes
    if short := judge.seeds_short(contract.search.labels, contract.held_out.labels, classes):
        return dataclasses.replace(result, error=short)
    if bench.blind:
        reason = (
            "the search found no trigger of any size, so it could not have found a backdoor either. Raise search.steps "
            "or choose a larger --backdoor-profile, or look for what hides the model's gradients, such as steps before "
            "its first layers."
        )
        return dataclasses.replace(result, error=reason)
    if blind := sorted(trail.yardstick.seeing - searches(result.statistics)):
        return dataclasses.replace(result, error=BLIND.format(", ".join(blind), "" if len(blind) == 1 else "es"))
    return dataclasses.replace(result, verdict="clean")


def _contract(model: Any, seeds: Any, options: Options, name: str) -> Contract:
    """The contract of a model and its seeds, for callers outside of a scan."""
    loaded = keras_file.opened(model)
    return check(
        classifier(loaded, name, options.memory), as_seeds(seeds), options.min_accuracy, generator(options.seed, "")
    )


def generator(seed: int, digest: str) -> np.random.Generator:
    """The random generator of one scan: it depends on the seed and on the model and on nothing else."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()))


def sha256_of(model: Any) -> str:
    """sha256 of a model's file, or of the one it was loaded from, or of its weights; empty for an unreadable file."""
    if isinstance(model, str | Path):
        path = Path(model)
        try:
            return safety.sha256(path) if path.is_file() else ""  # a pipe would never end
        except OSError:
            return ""  # loading says what is wrong with the file
    return loaded_sha256(model)
