"""Repair of one model: find its triggers, try each method on half of the seeds, measure on the other half, choose."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pytest_backdoor import judge, profiles, rules, values
from pytest_backdoor.confirm.transfer import success
from pytest_backdoor.confirmation import label_map
from pytest_backdoor.contract import Contract, Sample, check, fit_channels
from pytest_backdoor.deadline import time_limit
from pytest_backdoor.errors import BackdoorError, BudgetSpentError, ContractError, OptionError, OutOfScopeError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import MAX_LOSS, Options
from pytest_backdoor.repair.tuning import right, seen_alike
from pytest_backdoor.repair_methods import METHODS, REPAIRS, Known, Ward
from pytest_backdoor.results import Attempt, Evidence, Finding, Repair, ScanResult, Share
from pytest_backdoor.rules import Rule
from pytest_backdoor.scan import generator, scan, sha256_of
from pytest_backdoor.seeds import Seeds, as_seeds, seeds_or_beside
from pytest_backdoor.stats import share
from pytest_backdoor.subject import classifier
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.unseeded import GIVE_SEEDS

INERT = (
    f"no trigger does what its rule says to more than {100 * judge.SUCCESS_LEFT:g} % of the held-out seeds, so there "
    "is nothing to repair that could be measured. Check the trigger and the rule, and that there are seeds of the "
    "classes that it moves."
)


def repair_model(
    model: Any,
    seeds: Any = None,
    options: Options | None = None,
    methods: Sequence[str] = REPAIRS,
    max_loss: float = MAX_LOSS,
    known: Sequence[tuple[Trigger | Path | str, Rule]] = (),
    name: str | None = None,
) -> tuple[Repair, keras.Model | None]:
    """The repaired copy of a model, a path or a Keras model, and what was measured; None where none is good enough.

    Seeds are as for ``scan``. The triggers are those that a scan finds, or known ones with their rules. Of the methods
    that cost no more than ``max_loss`` of held-out accuracy, the one that leaves the triggers the least success is
    chosen. The model and its file stay as they are. Never raises BackdoorError but OptionError, for a method, a rule
    or a loss that is none: ``error`` says why there is no repaired copy.
    """
    options = options or Options()
    _check(methods, max_loss)
    shown = name or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "model")))
    begun = time.perf_counter()
    repair, made = Repair(shown, sha256_of(model)), None
    try:
        with time_limit(options.budget, begun):
            ward = dataclasses.replace(prepare(model, seeds, options, shown, repair.sha256), max_loss=max_loss)
            triggers = [_given(ward, *each) for each in known] or found(model, ward, seeds, options, shown)
            repair, made = _tried(repair, ward, triggers, methods, options)
    except OptionError:
        raise
    except BackdoorError as reason:
        repair = dataclasses.replace(repair, error=str(reason).removeprefix(f"{model}: "))
    return dataclasses.replace(repair, seconds=time.perf_counter() - begun), made


def _check(methods: Sequence[str], max_loss: float) -> None:
    """Raises OptionError for what is no method or no share."""
    if isinstance(methods, str) or not methods:
        raise OptionError(f"methods are {methods!r}. Give a list of some of: {', '.join(METHODS)}.")
    for name in methods:
        values.pick(name, METHODS, "method")
    try:
        values.number(0, 1, closed=True)(max_loss)
    except OptionError as problem:
        raise OptionError(f"max_loss: {problem}") from None


def prepare(model: Any, seeds: Any, options: Options, name: str, digest: str) -> Ward:
    """The model, loaded safely, with its seeds in the halves of its scan; raises BackdoorError for what cannot be."""
    given, loaded = seeds_or_beside(model, seeds, options.seeds), keras_file.opened(model)
    form = classifier(loaded, name, options.memory)
    if not form.gradients:
        raise OutOfScopeError("the model is a function, which has no weights to repair. Give the Keras model.")
    if given is None:
        raise ContractError(f"no seeds, and a repair is tuned and measured with them. {GIVE_SEEDS}")
    fitting = fit_channels(form, as_seeds(given))
    contract = check(form, fitting, options.min_accuracy, generator(options.seed, digest))
    return Ward(loaded, contract.subject, *_halves(contract, fitting), digest)


def measured(ward: Ward, model: keras.Model, triggers: Sequence[Known]) -> tuple[Share, tuple[Share, ...]]:
    """Accuracy of the model on the held-out seeds, and success of each trigger on them."""
    subject = seen_alike(model, ward.subject)
    accuracy = share("accuracy", right(subject, ward.held_out), len(ward.held_out))
    obeyed = (success(subject, each.trigger, ward.held_out, each.mapping) for each in triggers)
    return _share(accuracy), tuple(map(_share, obeyed))


def _tried(
    repair: Repair, ward: Ward, triggers: Sequence[Known], methods: Sequence[str], options: Options
) -> tuple[Repair, keras.Model | None]:
    """What each method comes to, and the model of the best."""
    accuracy, before = measured(ward, ward.model, triggers)
    repair = dataclasses.replace(
        repair,
        rules=tuple(rules.text(each.mapping) for each in triggers),
        triggers=tuple(each.trigger for each in triggers),
        accuracy=accuracy,
        success=before,
    )
    if max(estimate for estimate, _, _ in before) <= judge.SUCCESS_LEFT:
        return dataclasses.replace(repair, error=INERT), None
    tries, late = _attempts(ward, methods, triggers, options)
    repair = dataclasses.replace(repair, attempts=tuple(attempt for attempt, _ in tries))
    good = [(each, made) for each, made in tries if is_good(each, accuracy, before, ward.max_loss)]
    if not good:
        return dataclasses.replace(repair, error=late or _refusal(ward.max_loss)), None
    chosen, made = min(good, key=lambda each: worst(each[0]))
    return dataclasses.replace(repair, chosen=chosen.method), made


def _attempts(
    ward: Ward, methods: Sequence[str], triggers: Sequence[Known], options: Options
) -> tuple[list[tuple[Attempt, keras.Model | None]], str | None]:
    """What each method comes to until the budget is spent, and where that was before the last one why it ended."""
    tries: list[tuple[Attempt, keras.Model | None]] = []
    for each in methods:
        try:
            tries.append(attempt(ward, each, triggers, options))
        except BudgetSpentError:
            late = f"the budget of {options.budget:g} s was spent before {each} was done. Raise --backdoor-budget."
            return [*tries, (Attempt(each, error=late), None)], late
    return tries, None


def attempt(ward: Ward, method: str, triggers: Sequence[Known], options: Options) -> tuple[Attempt, keras.Model | None]:
    """What the method makes of the model, and the model; None where the method needs a part that it does not have."""
    begun = time.perf_counter()
    rng = generator(options.seed, f"{ward.sha256} {method}")  # of its own: a method does not depend on those before it
    try:
        made, done = METHODS[method](ward, triggers, profiles.settings(options), rng)
    except OutOfScopeError as reason:
        return Attempt(method, error=str(reason), seconds=time.perf_counter() - begun), None
    accuracy, after = measured(ward, made, triggers)
    return Attempt(method, accuracy, after, done, time.perf_counter() - begun), made


def is_good(attempt: Attempt, accuracy: Share, success: Sequence[Share], max_loss: float) -> bool:
    """Whether the attempt keeps the accuracy, and the triggers that had this success do not work any more."""
    if attempt.accuracy is None:
        return False
    return judge.is_repaired((accuracy[0], attempt.accuracy[0]), success, attempt.success, max_loss)


def worst(attempt: Attempt) -> float:
    """Success of the trigger that the attempt leaves the most."""
    return max(estimate for estimate, _, _ in attempt.success)


def _refusal(max_loss: float) -> str:
    return (
        f"no method brings the success of every trigger to {100 * judge.SUCCESS_LEFT:g} % or less, clearly below what "
        f"it was (99 % intervals), and costs at most {100 * max_loss:g} points of held-out accuracy. So there is "
        "no repaired model. Give more seeds (500 do for small images), or allow another method or a larger loss "
        "(--method, --max-loss)."
    )


def _given(ward: Ward, given: Trigger | Path | str, rule: Rule) -> Known:
    """The user's trigger with its label map; raises TriggerError or OptionError where it does not fit the model."""
    trigger = given if isinstance(given, Trigger) else Trigger.load(given)
    trigger.require(ward.subject.image_shape)
    return Known(trigger, rules.label_map(rule, ward.subject.num_classes))


def found(model: Any, ward: Ward, seeds: Any, options: Options, name: str) -> list[Known]:
    """What a scan finds; raises OutOfScopeError where that is nothing."""
    result: ScanResult = scan(model, seeds, dataclasses.replace(options, exhaustive=True), name)
    if not result.findings:
        reason = f": {result.error.rstrip('.')}" if result.error else ""
        raise OutOfScopeError(
            f"the scan ends with {result.verdict}{reason}. Without a trigger no repair can be measured: give one with "
            "--trigger FILE --rule RULE if you know it."
        )
    return [known_of(finding, ward.subject.num_classes) for finding in result.findings]


def known_of(finding: Finding, classes: int) -> Known:
    """The trigger of a finding with its label map."""
    assert finding.trigger is not None  # a fresh one has it
    return Known(finding.trigger, label_map(finding, classes))


def _halves(contract: Contract, seeds: Seeds) -> tuple[Sample, Sample]:
    """The halves of the contract with the seeds that the model classifies wrong, which a scan leaves out."""
    if seeds.labels is None:
        return contract.search, contract.held_out
    wrong = np.flatnonzero(contract.subject.classes(seeds.images) != seeds.labels)
    more = (Sample(seeds.images[wrong[start::2]], seeds.labels[wrong[start::2]]) for start in (0, 1))
    first, second = (
        Sample(np.concatenate([half.images, rest.images]), np.concatenate([half.labels, rest.labels]))
        for half, rest in zip((contract.search, contract.held_out), more, strict=True)
    )
    return first, second


def _share(evidence: Evidence) -> Share:
    low, high = evidence.interval or (0.0, 1.0)
    return evidence.value, low, high
