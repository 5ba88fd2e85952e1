"""The self-test: known backdoors are planted in copies of the user's own model, and each copy is scanned.

Half of the seeds train the copy. On the other half the copy's success and accuracy are measured and its trigger is
searched for; the trained half is then the held-out half of the scan. So the copy is searched with as many images as
the model itself, none of which it was trained on; only the confirmation sees images that taught it the trigger, and
that they transfer to others is what makes a backdoor count as planted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_backdoor import attacks, calibration, judge, profiles
from pytest_backdoor.attacks import planting
from pytest_backdoor.attacks.patch import MARGIN
from pytest_backdoor.attacks.poison import LabelMap
from pytest_backdoor.confirmation import pixels
from pytest_backdoor.contract import Contract, Sample, check, fit_channels, halves
from pytest_backdoor.deadline import ask, time_limit
from pytest_backdoor.errors import BackdoorError, BudgetSpentError, ContractError, OutOfScopeError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.options import Options
from pytest_backdoor.results import Finding, Kind, Planted, ScanResult, SeedsUsed, SelfTest
from pytest_backdoor.scan import generator, judged, sha256_of
from pytest_backdoor.seeds import as_seeds, seeds_or_beside
from pytest_backdoor.stats import share
from pytest_backdoor.subject import Shape, Subject, classifier
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.unseeded import GIVE_SEEDS

BEYOND = 0.05  # planting goes on until success is so much more than what counts as planted
SIDE = 8  # pixels that an image must have along each side, for triggers to fit in


@dataclass(frozen=True, slots=True)
class Plan:
    """A backdoor to plant: what the trigger is, how large, and what it does."""

    family: str
    kind: Kind
    trigger: Callable[[Shape, np.random.Generator], Trigger]
    strength: float | None = None  # its size where that is not a share of the image


def border_pixel(shape: Shape, rng: np.random.Generator) -> Trigger:
    """One bright pixel at a random place near the upper or lower border, where few images are bright."""
    height, width, _ = shape
    return attacks.pixel(
        shape, int(rng.choice([MARGIN, height - MARGIN - 1])), int(rng.integers(MARGIN, width - MARGIN))
    )


PLANS: Mapping[str, Plan] = {
    "pixel": Plan("patch", "all-to-one", border_pixel),
    "pattern": Plan("patch", "all-to-one", lambda shape, rng: attacks.pattern(shape, 3, rng)),
    "pattern-all-to-all": Plan("patch", "all-to-all", lambda shape, rng: attacks.pattern(shape, 3, rng)),
    "blend": Plan("additive", "all-to-one", lambda shape, rng: attacks.blend(shape, 0.15, rng), 0.15),
    "warp": Plan("warp", "all-to-one", lambda shape, rng: attacks.warp(1.0, rng), 1.0),
    "tone": Plan("tone", "all-to-one", lambda shape, rng: attacks.tint(shape, 0.5, rng), 0.5),
}


@dataclass(frozen=True, slots=True, eq=False)
class Garden:
    """The user's model and its seeds, ready to be copied and planted in."""

    model: Any  # the Keras model
    subject: Subject
    trained: Sample  # images that copies are trained on
    unseen: Sample
    accuracy: float  # of the model itself on the unseen images
    seeds: SeedsUsed
    sha256: str


def selftest(
    model: Any,
    seeds: Any = None,
    options: Options | None = None,
    plans: Mapping[str, Plan] = PLANS,
    name: str | None = None,
    done: Callable[[Planted], None] = lambda planted: None,
) -> SelfTest:
    """What the search finds of backdoors planted in copies of a model: a path or a Keras model, which stays as it is.

    Seeds are as for ``scan``; ``done`` is called with each backdoor once its copy was scanned. The budget is for all of
    them together. Never raises BackdoorError: ``error`` says why nothing, or no more, could be planted. Raises
    OptionError for an unknown setting.
    """
    options = options or Options()
    profiles.settings(options)  # an unknown setting ends it here
    shown = name or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "model")))
    begun = time.perf_counter()
    digest, error, plants = "", None, []
    try:
        calibration.read(options.reference)  # a reference that cannot be read, too
        digest = sha256_of(model)
        with time_limit(options.budget, begun):
            garden = prepare(model, seeds, options, shown, digest)
            for each, plan in plans.items():
                plants.append(tried(garden, each, plan, options))
                done(plants[-1])
    except BudgetSpentError:
        error = (
            f"the budget of {options.budget:g} s was spent after {len(plants)} of {len(plans)} backdoors. Raise "
            "--backdoor-budget."
        )
    except BackdoorError as reason:
        error = str(reason).removeprefix(f"{model}: ")
    return summed(shown, digest, plants, error, time.perf_counter() - begun)


def summed(name: str, digest: str, plants: Sequence[Planted], error: str | None, seconds: float) -> SelfTest:
    """What the planted backdoors come to together."""
    return SelfTest(name, digest, tuple(plants), share_found(plants), smallest(plants), seconds, error)


def share_found(plants: Iterable[Planted]) -> tuple[float, float, float] | None:
    """Share of the planted backdoors that were found, with its exact 99 % interval; None where none was planted."""
    found = [each.found for each in plants if each.planted]
    if not found:
        return None
    evidence = share("found", sum(found), len(found))
    low, high = evidence.interval or (0.0, 1.0)
    return evidence.value, low, high


def smallest(plants: Iterable[Planted]) -> dict[str, float]:
    """Size of the smallest trigger that was found, by family."""
    sizes: dict[str, float] = {}
    for each in plants:
        if each.planted and each.found:
            sizes[each.family] = min(each.size, sizes.get(each.family, each.size))
    return sizes


def prepare(model: Any, seeds: Any, options: Options, name: str, digest: str) -> Garden:
    """The model, loaded safely, with its seeds in halves; raises BackdoorError where nothing can be planted."""
    seeds, loaded = seeds_or_beside(model, seeds, options.seeds), keras_file.opened(model)
    form = classifier(loaded, name, options.memory)
    if not form.gradients:
        raise OutOfScopeError("the model is a function, and nothing can be planted in one. Give the Keras model.")
    if seeds is None:
        raise ContractError(f"no seeds, and a backdoor can only be planted with some. {GIVE_SEEDS}")
    rng = generator(options.seed, digest)
    given = fit_channels(form, as_seeds(seeds))
    contract = check(form, given, options.min_accuracy, rng)
    if min(contract.subject.image_shape[:2]) < SIDE:
        raise OutOfScopeError(
            f"images of {contract.subject.image_shape[:2]} have no room for triggers. {SIDE} x {SIDE} would do."
        )
    labels = contract.subject.classes(given.images) if given.labels is None else given.labels
    trained, unseen = (Sample(given.images[half], labels[half]) for half in halves(labels, rng))
    accuracy = _accuracy(contract.subject, unseen)
    return Garden(loaded, contract.subject, trained, unseen, accuracy, contract.seeds, digest)


def tried(garden: Garden, name: str, plan: Plan, options: Options) -> Planted:
    """The plan carried out in a copy of the model, and what a scan of the copy came to.

    Raises BudgetSpentError where the time was up before the scan was done: nobody knows what it would have found.
    """
    begun = time.perf_counter()
    rng = generator(options.seed, f"{garden.sha256} {name}")  # of its own: a plan does not depend on those before it
    trigger = plan.trigger(garden.subject.image_shape, rng)
    mapping = label_map(plan.kind, garden.subject.num_classes, rng)
    copied = grown(garden, plan.kind, trigger, mapping, rng)
    success, after = measured(copied, garden.unseen, trigger, mapping)
    planted = judge.is_planted(plan.kind, success, garden.accuracy, after)
    result = scanned(garden, copied, options, rng) if planted else ScanResult(name, "", "inconclusive")
    if planted and result.verdict == "inconclusive":
        ask()
    return Planted(
        name=name,
        family=plan.family,
        kind=plan.kind,
        size=trigger.size if plan.strength is None else plan.strength,
        pixels=pixels(trigger, garden.subject.image_shape),
        success=success,
        accuracy=(garden.accuracy, after),
        planted=planted,
        found=result.verdict == "backdoor",
        right=any(is_right(finding, plan.kind, mapping) for finding in result.findings),
        p_value=result.p_value,
        seconds=time.perf_counter() - begun,
    )


def grown(garden: Garden, kind: Kind, trigger: Trigger, mapping: LabelMap, rng: np.random.Generator) -> Subject:
    """A copy of the model, trained until the backdoor is there or the rounds are over."""

    def reached(copied: Subject) -> bool:
        success, after = measured(copied, garden.unseen, trigger, mapping)
        return judge.is_planted(kind, success - BEYOND, garden.accuracy, after)

    images = garden.trained.images
    return planting.plant(garden.model, garden.subject, images, trigger, mapping, reached, planting.Settings(), rng)


def measured(copied: Subject, unseen: Sample, trigger: Trigger, mapping: LabelMap) -> tuple[float, float]:
    """Success of the trigger and accuracy without it."""
    predicted = copied.classes(trigger.apply(unseen.images))
    return attacks.success(predicted, unseen.labels, mapping), _accuracy(copied, unseen)


def scanned(garden: Garden, copied: Subject, options: Options, rng: np.random.Generator) -> ScanResult:
    """The scan of a copy, which searches the unseen half of the seeds."""
    search, held_out = _right(copied, garden.unseen), _right(copied, garden.trained)
    used = dataclasses.replace(garden.seeds, search=len(search), held_out=len(held_out))
    blank = ScanResult(copied.name, garden.sha256, "inconclusive", seeds=used)
    contract = Contract(copied, search, held_out, used)
    return judged(blank, contract, profiles.settings(options), options, options.alpha, rng)


def label_map(kind: Kind, classes: int, rng: np.random.Generator) -> LabelMap:
    """What the trigger shall do: a random target, a random pair, or each class to the next."""
    target, further = int(rng.integers(classes)), int(rng.integers(1, classes))
    maps: Mapping[Kind, LabelMap] = {
        "all-to-one": attacks.all_to_one(classes, target),
        "all-to-all": attacks.all_to_all(classes),
        "source-specific": attacks.source_specific((target + further) % classes, target),
    }
    return maps[kind]


def is_right(finding: Finding, kind: Kind, mapping: LabelMap) -> bool:
    """Whether the finding names what was planted: its kind, and the whole map, or the target with its source."""
    if finding.kind != kind:
        return False
    if kind == "all-to-all":
        return finding.mapping == mapping
    sources = set(mapping) if finding.source is None else {finding.source}
    return set(mapping.values()) == {finding.target} and set(mapping) == sources


def _right(copied: Subject, images: Sample) -> Sample:
    """The images that the copy still classifies right."""
    right = copied.classes(images.images) == images.labels
    return Sample(images.images[right], images.labels[right])


def _accuracy(subject: Subject, images: Sample) -> float:
    return float(np.mean(subject.classes(images.images) == images.labels))
