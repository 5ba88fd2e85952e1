"""Confirmation: a suspicion is searched harder, minimised, and tried on seeds that no search ever saw."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pytest_backdoor import judge, profiles, rules
from pytest_backdoor.confirm import activation, pruning, strip
from pytest_backdoor.confirm.minimise import TOLERANCE, minimise
from pytest_backdoor.confirm.transfer import flows, success
from pytest_backdoor.contract import Contract, Sample
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Evidence, Finding
from pytest_backdoor.search import inversion
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.search.shifting import shifted
from pytest_backdoor.stats import permutation_match
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.cells import cell_strength
from pytest_backdoor.triggers.trigger import Trigger

CARRIERS = 5  # neurons that a finding names


@dataclass(frozen=True, slots=True)
class Outcome:
    """What held-out seeds say of a suspicion: a finding, that they are too few, or neither, which refutes it."""

    finding: Finding | None = None
    undecided: Evidence | None = None  # what the trigger does to them, where they are too few or it proves nothing
    holds: bool = False  # whether it proves nothing, though they are enough
    image_gradients: int = 0


def confirm(suspicion: Suspicion, contract: Contract, settings: profiles.Settings, rng: np.random.Generator) -> Outcome:
    """What held-out seeds say of the suspicion."""
    seeds, suspected = contract.search, suspicion.trigger
    assert suspected is not None  # the judge names no other
    if suspicion.source is not None:  # a trigger that fits the few seeds of one class fits no others
        seeds = shifted(contract.subject, seeds, rng)
    stronger, cost = harder(arm_of(suspicion), suspected, contract.subject, seeds, settings.search, rng)
    if suspicion.kind == "all-to-all":
        suspicion = dataclasses.replace(suspicion, mapping=clearest_map(contract, suspected, *stronger))
    outcome = settle(suspicion, (suspected, *stronger), contract, seeds)
    if outcome.finding is None:
        return dataclasses.replace(outcome, image_gradients=cost)
    return Outcome(explained(outcome.finding, contract, settings.strip, *rng.spawn(1)), image_gradients=cost)


def explained(finding: Finding, contract: Contract, blending: strip.Settings, rng: np.random.Generator) -> Finding:
    """The finding with what else is known of its trigger on held-out seeds; what does not apply to it is left out.

    It decides nothing: natural triggers have such values too (docs/detection.md).
    """
    subject, trigger, seeds = contract.subject, finding.trigger, contract.held_out
    assert trigger is not None  # of a new finding
    blended = strip.measure(subject, trigger, finding.kind, finding.target, seeds, blending, rng)
    evidence = [*finding.evidence, *([] if blended is None else blended[:1])]
    mapping, hidden = label_map(finding, subject.num_classes), {layer.name for layer in subject.layers if layer.holds}
    if hidden:
        evidence.append(pruning.measure(contract, trigger, mapping)[0])
    attacked = seeds.images[np.isin(seeds.labels, list(mapping))]
    moved = [each for each in activation.measure(subject, trigger, attacked) if each.layer in hidden]
    return dataclasses.replace(
        finding,
        evidence=tuple(evidence),
        carriers=activation.carriers(moved, CARRIERS),
        heat=activation.heat(moved),
        entropies=None if blended is None else blended[1],
    )


def settle(suspicion: Suspicion, triggers: tuple[Trigger, ...], contract: Contract, seeds: Sample) -> Outcome:
    """What held-out seeds say of the trigger that does most to the seeds, minimised.

    Where they are too few to be sure of it, one with a few more cells is tried: the two points of success on the search
    seeds that minimising may cost can be more on others.
    """
    outcome = _tried(suspicion, strongest(suspicion, triggers, contract, seeds), contract)
    if outcome.undecided is None:
        return outcome
    larger = _tried(suspicion, strongest(suspicion, triggers, contract, seeds, tolerance=0.0), contract)
    return outcome if larger.finding is None else larger


def _tried(suspicion: Suspicion, trigger: Trigger, contract: Contract) -> Outcome:
    mapping, unseen = label_map(suspicion, contract.subject.num_classes), contract.held_out
    transfer = success(contract.subject, trigger, unseen, mapping)
    match, _ = permutation_match(flows(contract.subject, trigger, unseen))
    if judge.confirmed(suspicion, trigger, unseen.images, transfer, match, len(mapping)):
        return Outcome(_finding(suspicion, trigger, contract, transfer, match))
    undecided = judge.undecided(suspicion, trigger, unseen.images, transfer, len(mapping))
    return Outcome(undecided=transfer if undecided else None)


def strongest(
    suspicion: Suspicion,
    triggers: tuple[Trigger, ...],
    contract: Contract,
    seeds: Sample,
    tolerance: float = TOLERANCE,
) -> Trigger:
    """The trigger that does most to the seeds of what is suspected, minimised, within so much of its success."""
    mapping = label_map(suspicion, contract.subject.num_classes)

    def on_search_seeds(trigger: Trigger) -> float:
        return success(contract.subject, trigger, seeds, mapping).value

    return minimise(max(triggers, key=on_search_seeds), on_search_seeds, tolerance)


def harder(
    arm: Arm,
    suspected: Trigger,
    subject: Subject,
    seeds: Sample,
    settings: inversion.Settings,
    rng: np.random.Generator,
) -> tuple[tuple[Trigger, ...], int]:
    """Stronger triggers for the arm's rule, where inversion is among the methods; and what they cost."""
    if "inversion" not in settings.methods:
        return (), 0
    found = inversion.strengthen(subject, suspected, arm, seeds, settings, rng)
    return found.triggers, found.image_gradients


def clearest_map(contract: Contract, *triggers: Trigger) -> dict[int, int]:
    """The label map of the trigger that shows one best: the suspected one may be too weak to show every entry."""
    matches = [permutation_match(flows(contract.subject, trigger, contract.search)) for trigger in triggers]
    _, mapping = max(matches, key=lambda found: found[0])
    return {source: int(target) for source, target in enumerate(mapping)}


def label_map(suspicion: Suspicion | Finding, classes: int) -> dict[int, int]:
    """What the trigger makes of each class that it works on."""
    rule = rules.goal(suspicion.target, suspicion.source, suspicion.mapping)
    assert rule is not None  # every kind has one
    return rules.label_map(rule, classes)


def arm_of(suspicion: Suspicion) -> Arm:
    """The arm that searches for the suspected rule alone."""
    if suspicion.kind == "all-to-all":
        return Arm("away", 0, 0.0)
    return Arm("target", 0, 0.0, target=suspicion.target, source=suspicion.source)


def _finding(suspicion: Suspicion, trigger: Trigger, contract: Contract, transfer: Evidence, match: float) -> Finding:
    low, high = transfer.interval or (0.0, 1.0)
    evidence, shape = [transfer], contract.subject.image_shape
    changed = pixels(trigger, shape)
    if suspicion.kind == "all-to-all":
        evidence.append(Evidence("permutation", round(match, 4)))
    return Finding(
        rule=judge.RULES[suspicion.kind],
        family=trigger.family,
        kind=suspicion.kind,
        target=suspicion.target,
        source=suspicion.source,
        mapping=suspicion.mapping,
        size=round(changed / (shape[0] * shape[1]), 6),
        pixels=changed,
        attack_success=(transfer.value, low, high),
        p_value=1.0,  # the scan puts in that of the model
        evidence=tuple(evidence),
        trigger=trigger,
    )


def pixels(trigger: Trigger, shape: tuple[int, int, int]) -> int:
    """How many pixels of an image of that shape the trigger changes: all, if it is no patch and not additive."""
    if trigger.image_shape is None:
        return shape[0] * shape[1]
    return int(np.sum(cell_strength(trigger) > 0.01))
