"""The methods of a repair: what each makes of a model whose triggers are known, tuned on half of the seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pytest_backdoor import judge
from pytest_backdoor.calibration import CONSENSUS
from pytest_backdoor.confirm.transfer import success
from pytest_backdoor.confirmation import arm_of, harder
from pytest_backdoor.contract import Sample
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import MAX_LOSS
from pytest_backdoor.profiles import Settings
from pytest_backdoor.repair import fine_pruning, inpainting, input_filter, lipschitz, tuning, unlearning
from pytest_backdoor.repair.tuning import right, seen_alike
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.stages import INVERSION, Bench, fuzzing
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger

FILTER = "input-filter"
FAMILIES = ("patch", "additive", "low-frequency", "tone", "warp", "generator")  # that a rule is searched for in
TUNINGS = (  # of unlearning, the first that keeps the accuracy on both halves of the seeds
    tuning.Settings(steps=300),
    tuning.Settings(steps=300, rates=(0.03, 0.01)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Ward:
    """A model that is to be repaired, and the seeds, those among them that it classifies wrong."""

    model: keras.Model
    subject: Subject
    tuning: Sample
    held_out: Sample
    sha256: str
    max_loss: float = MAX_LOSS  # held-out accuracy that a repair may cost, 0 to 1


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A trigger and what it makes of which class."""

    trigger: Trigger
    mapping: Mapping[int, int]


Method = Callable[[Ward, Sequence[Known], Settings, np.random.Generator], tuple[keras.Model, str]]


def _lipschitz(
    ward: Ward, known: Sequence[Known], settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, str]:
    made, count = lipschitz.pruned(ward.model, lipschitz.Settings())
    return made, f"{count} channels silenced"


def _fine_pruning(
    ward: Ward, known: Sequence[Known], settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, str]:
    chosen = fine_pruning.settings(len(ward.tuning))
    made, count = fine_pruning.fine_pruned(ward.model, ward.subject, ward.tuning, chosen, rng)
    return made, f"{count} channels silenced, tuned"


def _unlearning(
    ward: Ward, known: Sequence[Known], settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, str]:
    """Unlearns each trigger, and others with its rule: a finding is the first that was seen, cut down to what it needs.

    What else stands out in the searches for the target is unlearned too, and what does in windows for any class, for a
    model may have another backdoor. A slower tuning keeps more accuracy and more of a trigger that was not found
    exactly, so the faster one comes first. Where neither keeps enough, the one that keeps most counts. Each half of the
    seeds flatters in its own way, the one because it was learned from and the other because it chooses, so the one that
    loses more is asked. The pixels of patches, known ones and those for other classes, are inpainted in front of a copy
    that unlearned the known ones, unless that costs too much.
    """
    triggers = [each.trigger for each in known]
    around = [found for each in known for found in _around(ward, each, settings, rng)]
    suspicions, beside = _searched(ward, known, settings, rng)
    around += _alike(ward, known, suspicions, settings, rng)
    others = [each.trigger for each in beside if each.trigger]
    second = [each.trigger for each in beside if each.trigger and not _is_known(each, known)]
    shown, least, made, done = [*triggers, *around], np.inf, ward.model, ""
    counts = [f"{len(triggers)} trigger{'' if len(triggers) == 1 else 's'}", *_count(around, "alike")]
    counts += _count(others, "others")
    for chosen in TUNINGS:
        tuned = unlearning.unlearned(ward.model, ward.subject, ward.tuning, shown, chosen, rng, others)
        if (lost := _lost(ward, tuned)) < least:
            least, made = lost, tuned
            done = f"tuned from rate {chosen.rates[0]:g} with {', '.join(counts)}"
        if least <= ward.max_loss:
            break
    if _obeys(ward, made, known):
        return made, done
    groups = [[*triggers, *second], triggers] if second else [triggers]
    made, pixels = _inpainted(ward, made, groups, max(ward.max_loss, least))
    return made, f"{done}, {pixels} pixels inpainted" if pixels else done


def _obeys(ward: Ward, model: keras.Model, known: Sequence[Known]) -> bool:
    """Whether a known trigger still works on held-out seeds: inpainted, it would only seem to be gone."""
    subject = seen_alike(model, ward.subject)
    left = (success(subject, each.trigger, ward.held_out, each.mapping).value for each in known)
    return any(value > judge.SUCCESS_LEFT for value in left)


def _inpainted(
    ward: Ward, model: keras.Model, groups: Sequence[Sequence[Trigger]], loss: float
) -> tuple[keras.Model, int]:
    """The model behind inpainting of the first triggers for which it loses no more than that, and how many pixels."""
    for triggers in groups:
        inside = inpainting.region(triggers, ward.subject.image_shape)
        if inside.any() and not inside.all():
            made = inpainting.inpainted(model, ward.subject, inside)
            if _lost(ward, made) <= loss:
                return made, int(np.count_nonzero(inside))
    return model, 0


def _count(triggers: Sequence[Trigger], kind: str) -> list[str]:
    return [f"{len(triggers)} {kind}"] if triggers else []


def _lost(ward: Ward, model: keras.Model) -> float:
    """Accuracy that the model has lost, 0 to 1, in the half of the seeds where it is more."""
    subject = seen_alike(model, ward.subject)
    halves = (ward.tuning, ward.held_out)
    return max((right(ward.subject, half) - right(subject, half)) / len(half) for half in halves)


def _around(ward: Ward, known: Known, settings: Settings, rng: np.random.Generator) -> Sequence[Trigger]:
    """Triggers with the same rule as this one, from a harder search in its place; none for one source class.

    Those would fit its few seeds only.
    """
    targets = set(known.mapping.values())
    if len(known.mapping) == 1:
        return ()
    arm = Arm("target", 0, 0.0, target=targets.pop()) if len(targets) == 1 else Arm("away", 0, 0.0)
    return harder(arm, known.trigger, ward.subject, ward.tuning, settings.search, rng)[0]


def _searched(
    ward: Ward, known: Sequence[Known], settings: Settings, rng: np.random.Generator
) -> tuple[list[Suspicion], list[Suspicion]]:
    """What the searches of families suspect, and what they show of known targets, or in a window of any class.

    Only those of classes that stand out in a search, and of those that are no known targets only what a scan would try
    on held-out seeds: on photographs every class has natural triggers of each family, and a model that is made to do
    without them is right less often.
    """
    bench, suspicions = Bench(ward.subject, ward.tuning, settings, rng), list[Suspicion]()
    if "inversion" in settings.search.methods:
        shown = [each for name in FAMILIES for each in INVERSION[name](bench)]
        suspicions += [each for each in shown if each.check != CONSENSUS]  # which is of no family
    if "fuzzing" in settings.search.methods:
        fuzzing(bench)
    others = [
        each
        for check, classes in bench.by_class.items()
        for each in classes
        if each.trigger and _is_unlearned(each, check, known)
    ]
    return suspicions, others


def _is_unlearned(suspicion: Suspicion, check: str, known: Sequence[Known]) -> bool:
    """Whether a class' trigger is unlearned beside those that were found."""
    if _is_known(suspicion, known):
        return suspicion.strong
    return check in judge.WINDOWED and suspicion.evidence >= judge.TRIED


def _is_known(suspicion: Suspicion, known: Sequence[Known]) -> bool:
    """Whether the suspicion is of the one target of a known trigger."""
    return any({suspicion.target} == set(each.mapping.values()) for each in known)


def _alike(
    ward: Ward, known: Sequence[Known], suspicions: Sequence[Suspicion], settings: Settings, rng: np.random.Generator
) -> Sequence[Trigger]:
    """Triggers of families in which a known rule stands out more than in the family that it was found in.

    A scan ends with the first that is confirmed: three pixels may stand for a wave that was planted.
    """
    wide, triggers = [each for each in known if len(each.mapping) > 1], list[Trigger]()
    for suspicion in suspicions:
        if suspicion.trigger is not None and any(_stands_out(suspicion, each, suspicions) for each in wide):
            again = harder(arm_of(suspicion), suspicion.trigger, ward.subject, ward.tuning, settings.search, rng)[0]
            triggers += suspicion.trigger, *again
    return triggers


def _stands_out(suspicion: Suspicion, known: Known, suspicions: Sequence[Suspicion]) -> bool:
    """Whether a suspicion has the known rule and is stronger than those of the known family; label maps are all one."""
    targets = set(known.mapping.values())
    same = [
        each for each in suspicions if (each.kind == "all-to-all" if len(targets) > 1 else {each.target} == targets)
    ]
    own = [each.evidence for each in same if _family(each) == known.trigger.family]
    return suspicion in same and suspicion.evidence > max([judge.TRIED, *own])


def _family(suspicion: Suspicion) -> str | None:
    return None if suspicion.trigger is None else suspicion.trigger.family


def _filter(
    ward: Ward, known: Sequence[Known], settings: Settings, rng: np.random.Generator
) -> tuple[keras.Model, str]:
    made, boundary = input_filter.filtered(ward.model, ward.subject, ward.tuning, input_filter.Settings(), rng)
    return made, f"rejects blends under {boundary:.3g} bits"


METHODS: Mapping[str, Method] = {
    "lipschitz": _lipschitz,
    "fine-pruning": _fine_pruning,
    "unlearning": _unlearning,
    FILTER: _filter,
}
REPAIRS = tuple(name for name in METHODS if name != FILTER)  # a filter leaves the backdoor where it is
