"""Suspicious images: a region is a trigger if it does to held-out seeds what no such region of clean images does."""

from __future__ import annotations

import dataclasses

import numpy as np

from pytest_backdoor import judge
from pytest_backdoor.confirm import strip
from pytest_backdoor.confirmation import explained, settle
from pytest_backdoor.contract import Contract
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Finding
from pytest_backdoor.search import localising
from pytest_backdoor.search.localising import Candidate
from pytest_backdoor.stats import share
from pytest_backdoor.triggers.trigger import Trigger


def accuse(contract: Contract, blending: strip.Settings, alpha: float, rng: np.random.Generator) -> Finding | None:
    """The finding of the smallest region of a suspicious image that is confirmed, its p-value at most alpha."""
    assert contract.suspects is not None  # whoever asks has some
    settings = localising.Settings(judge.PATCH_SHARE)
    found = localising.candidates(contract.subject, contract.suspects, contract.search, settings, rng)
    promising = [each for each in found if each.success >= judge.SUCCESS_LOW["all-to-one"]]
    for candidate in sorted(promising, key=lambda each: each.trigger.size):
        finding = _confirmed(candidate, contract, len(found), alpha, rng)
        if finding is not None:
            return explained(finding, contract, blending, *rng.spawn(1))
    return None


def natural(candidate: Candidate, contract: Contract, rng: np.random.Generator) -> np.ndarray:
    """Which held-out seeds the same region of clean images of the class sends there: ``(images, seeds of others)``.

    The images are seeds that the model takes for the class, as many as the judge asks for at most.
    """
    clean = contract.known.images[contract.known.labels == candidate.target]
    chosen = clean[rng.permutation(len(clean))[: judge.CONTROLS]]
    mask = candidate.trigger.arrays["mask"]
    # Each region is a trigger of its own, and its seeds are a batch.
    hits = [_sent(Trigger("patch", {"mask": mask, "pattern": image}), candidate.target, contract) for image in chosen]
    return np.array(hits, bool).reshape(len(hits), int(np.sum(contract.held_out.labels != candidate.target)))


def _confirmed(
    candidate: Candidate, contract: Contract, tried: int, alpha: float, rng: np.random.Generator
) -> Finding | None:
    """The finding, if the region does more than those of clean images, and, minimised, passes on held-out seeds.

    It is not searched harder as other suspicions are: of a region that large a search makes a trigger in any model.
    """
    controls = natural(candidate, contract, rng)
    p_value = judge.accused(_sent(candidate.trigger, candidate.target, contract), controls, tried)
    if p_value > alpha:
        return None
    check = f"suspects {candidate.method}"
    suspicion = Suspicion(check, "all-to-one", p_value, tried, True, candidate.trigger, candidate.target)
    trigger = localising.tightened(contract.subject, candidate, contract.search)
    finding = settle(suspicion, (trigger,), contract, contract.search).finding
    if finding is None:
        return None
    control = share("natural control", int(controls.sum(1).max()), controls.shape[1])
    return dataclasses.replace(finding, p_value=max(judge.P_FLOOR, p_value), evidence=(*finding.evidence, control))


def _sent(trigger: Trigger, target: int, contract: Contract) -> np.ndarray:
    """Which held-out seeds of other classes the trigger sends to the target."""
    others = contract.held_out.images[contract.held_out.labels != target]
    return np.asarray(contract.subject.classes_under(trigger.apply, others) == target)
