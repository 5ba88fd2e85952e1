"""The judgement: from sizes and held-out flows to suspicions, a p-value and a verdict. The only room with thresholds.

Each test compares a trigger with the model's own other classes and gives its evidence, -log10 of a p-value whose prior
spreads were chosen on models that nothing is reported on (docs/detection.md). What evidence is worth is known from a
reference of clean models (yardstick.py). Where a model is unlike that reference the p-values are taken as they are,
corrected for all tests of a full scan (Bonferroni) and for the arms that each compares, and only of findings that are
also strong by plain rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_backdoor.calibration import CONSENSUS, MAP
from pytest_backdoor.results import Evidence, Kind, Share
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.stats import fisher, paired, permutation_match, small_outlier, tail
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.cells import opacity
from pytest_backdoor.triggers.patch import window_shape
from pytest_backdoor.triggers.trigger import Trigger

SEARCHES = ("patch", "confined", "additive", "low-frequency", "tone", "warp")  # of single classes and of label maps
WINDOWED = ("confined", "fuzzing", "fuzzing pair")  # in one window each
TESTS = {
    "inversion": (*SEARCHES, *(f"{search}{MAP}" for search in SEARCHES), "generator", "pair", "margin"),
    "fuzzing": ("fuzzing", "fuzzing map", "fuzzing pair"),
}
CONSENTING = ("margin", "patch", "additive", "low-frequency", "tone")  # in which one trigger makes one class stand out
RULES: Mapping[Kind, str] = {"all-to-one": "BD301", "all-to-all": "BD302", "source-specific": "BD303"}

# Prior deviation of log sizes between the classes of a clean model, and how many observations it counts for.
SPREAD = {
    "patch": 0.6,
    "confined": 0.3,
    "additive": 0.25,
    "low-frequency": 0.25,
    "tone": 0.4,
    "warp": 0.25,
    "generator": 0.25,
    "margin": 0.25,
    "fuzzing": 0.3,
}
MAP_SPREAD = 0.6
WEIGHT = 12
DOUBTFUL = ("tone",)  # searches whose triggers plain rules do not tell from those of clean models
# Nor those of these, of so few classes: two of them may be alike by nature, and there are hardly other pairs.
PAIRED, FEW = ("pair", "fuzzing pair"), 5
# Strong by plain rules: at most so much of the median class, or of the next pair; a label map of at least that match.
RATIO = {
    "patch": 0.5,
    "confined": 0.5,
    "additive": 0.65,
    "low-frequency": 0.65,
    "tone": 0.5,
    "warp": 0.5,
    "generator": 0.5,
    "pair": 0.65,
    "fuzzing": 0.5,
    "fuzzing pair": 0.65,
}
MATCH = 0.4  # permutation match from which flows are a label map, at least
WARP_MATCH = 0.6  # of a warp, which clean models follow further
MATCHED = 1.5  # classes that they must send right, at least: a trigger to one class sends one
# A universal trigger of a clean model sends most classes to about two, give or take half of one.
MATCH_CENTER, MATCH_SPREAD = 2.0, 0.5  # classes of all
MAP_CLASSES = 12  # up to so many classes the two numbers hold; they grow in proportion with more
PAIR_CENTER, PAIR_SPREAD = 1.65, 0.35  # of the pair statistic of a clean model
PAIRS = 132  # of twelve classes; with more the smallest pair is the smallest of more, and is corrected for that
CLEAN_WEIGHT = 20  # models that these centers and spreads count for

# Log separations of the two groups of a class of clean training data: their center and how it differs between data
# sets; how classes of one data set differ; and how many data sets that is known from (docs/datasets.md).
SEPARATION = {"activation clustering": (1.19, 0.14), "spectral signatures": (1.12, 0.10)}
SPLIT_SPREAD = 0.12
CLEAN_SETS = 14
ENOUGH_IMAGES = 100  # of a class

OPACITY = 0.2  # of a patch for a pair, at least
SPILL = 0.1  # of other classes' seeds that a source-specific trigger may send to its target

TRIED = 2.5  # evidence from which suspicions of the reference's clean models, too, are tried on held-out seeds
SUCCESS_LOW = {"all-to-one": 0.8, "source-specific": 0.3}  # lower bound on held-out seeds, at least
MAP_LOW = 0.3  # the same of a warp that is followed less than WARP_MATCH asks
PATCH_SHARE = 0.15  # of the image that a patch may cover
WARP_REACH = 1 / 14  # of the image's side, the mean move of a warp
RESEMBLANCE = 0.5  # correlation of recoloured images with the originals
CHANGE = 0.126  # root mean square change of the seeds by any other trigger (18 dB)
CONTROLS = 20  # clean images whose region is compared with that of a suspicious image, at most
P_FLOOR = 1e-12
ENOUGH_SEEDS = 4  # per class in each half

# Of a backdoor that the self-test plants: success at least (all-to-all: as a share of the accuracy), accuracy lost.
PLANTED_SUCCESS: Mapping[Kind, float] = {"all-to-one": 0.9, "all-to-all": 0.85, "source-specific": 0.9}
ACCURACY_LOST = 0.05
SUCCESS_LEFT = 0.15  # share of triggered images that may still obey after a repair


@dataclass(frozen=True, slots=True, eq=False)
class Suspicion:
    """The most suspicious arm of one test."""

    check: str
    kind: Kind
    p_value: float  # against the model's own other classes, of the best arm
    arms: int  # that were compared
    strong: bool  # also by plain rules
    trigger: Trigger | None  # None: the test says that there is one, but not what it is
    target: int | None = None
    source: int | None = None
    mapping: Mapping[int, int] | None = None
    confirmed: bool = False  # on held-out seeds

    @property
    def untried(self) -> bool:
        """Whether held-out seeds could still confirm or refute it."""
        return self.trigger is not None and self.evidence > 0 and not self.confirmed

    def tried(self, confirmed: bool) -> Suspicion:
        """The suspicion once its trigger was tried on held-out seeds: what they refute is no evidence any more."""
        return replace(self, confirmed=True) if confirmed else replace(self, p_value=1.0, strong=False)

    @property
    def evidence(self) -> float:
        """-log10 of the p-value, from 0 to 12."""
        return float(-np.log10(min(1.0, max(P_FLOOR, self.p_value)))) + 0.0  # no -0


def one_class(check: str, found: Inversion, classes: int, known: Collection[int] = ()) -> Suspicion | None:
    """Whether one target class needs a much smaller trigger than the other classes of the same model."""
    return next(iter(each_class(check, found, classes, known)), None)


def each_class(check: str, found: Inversion, classes: int, known: Collection[int] = ()) -> list[Suspicion]:
    """One suspicion for each target class, that of the smallest trigger first; none where nothing was found.

    Of many classes only the most promising were searched, which is corrected for all. Targets that are known already
    are left out.
    """
    arms = found.of("target")
    sizes = np.log(np.where(np.isnan(found.sizes), _largest(check, found), found.sizes))
    best = {
        target: min(same, key=lambda arm: sizes[arm])
        for target, same in _by_target(found, arms).items()
        if target not in known
    }
    if len(best) < 2 or np.isnan(found.sizes[arms]).all():
        return []
    suspicions = []
    for target, arm in sorted(best.items(), key=lambda item: sizes[item[1]]):
        others = sizes[[other for label, other in best.items() if label != target]]
        p_value = small_outlier(float(sizes[arm]), others, SPREAD[check], WEIGHT)
        strong = bool(sizes[arm] - np.median(others) <= np.log(RATIO[check]))
        suspicions.append(Suspicion(check, "all-to-one", p_value, classes, strong, found.triggers[arm], target=target))
    return suspicions


def _by_target(found: Inversion, arms: np.ndarray) -> dict[int, list[int]]:
    """The arms of each target class: some have a second one, in another window."""
    groups: dict[int, list[int]] = {}
    for arm in arms:
        groups.setdefault(int(found.arms[arm].target or 0), []).append(int(arm))
    return groups


def label_map(check: str, found: Inversion, flows: Mapping[int, np.ndarray]) -> Suspicion | None:
    """Whether one trigger, smaller than any single class needs, sends every class to a class of its own.

    flows are those of the map and away arms on the seeds of the search. That they are a permutation and that the
    trigger is small are independent in a clean model, so their p-values combine by Fisher's method.
    """
    targets = found.sizes[found.of("target")]
    reached = [arm for arm in flows if np.isfinite(found.sizes[arm])]
    if not reached:
        return None
    arm = max(reached, key=lambda each: permutation_match(flows[each])[0])
    match, mapping = permutation_match(flows[arm])
    others = np.log(np.where(np.isnan(targets), _largest(check, found), targets))
    crowd = max(1.0, len(mapping) / MAP_CLASSES)
    chances = (
        tail((match * len(mapping) / crowd - MATCH_CENTER) / MATCH_SPREAD, CLEAN_WEIGHT),
        small_outlier(float(np.log(found.sizes[arm])), others, MAP_SPREAD, WEIGHT),
    )
    strong = match >= least_match(found.family, len(mapping))
    sent = {source: int(target) for source, target in enumerate(mapping)}
    return Suspicion(
        f"{check}{MAP}", "all-to-all", fisher(chances), len(flows), strong, found.triggers[arm], mapping=sent
    )


def pair(check: str, refined: Inversion, spills: np.ndarray, classes: int) -> Suspicion | None:
    """Whether a trigger for one (source, target) pair is small, and smaller than that of any other pair.

    The statistic is the log size plus its distance to the next smallest: natural pairs come in numbers, a planted one
    stands alone. spills ``(arms,)`` are the shares of the other classes' seeds that each trigger sends to its target:
    one that takes them along is not specific to its source. Nor is a hardly visible change of many cells a patch,
    however small its mask adds up to: some tanh networks obey one by nature. Of two classes, a pair is all-to-one.
    """
    sizes = np.log(refined.sizes)
    opaque = np.array([opacity(trigger) for trigger in refined.triggers]) >= OPACITY
    specific = np.where(opaque & (spills <= SPILL), sizes, np.nan)
    if np.isnan(specific).all():
        return None
    arm = int(np.nanargmin(specific))
    found, others = refined.arms[arm], np.delete(sizes, arm)
    following = np.log(_largest(check, refined)) if np.isnan(others).all() else np.nanmin(others)
    p_value = tail((PAIR_CENTER - (2 * sizes[arm] - following)) / PAIR_SPREAD, CLEAN_WEIGHT)
    strong = bool(sizes[arm] - following <= np.log(RATIO[check]))
    tries = max(1, round(classes * (classes - 1) / PAIRS))
    kind: Kind = "source-specific" if classes > 2 else "all-to-one"
    source = found.source if classes > 2 else None
    return Suspicion(check, kind, p_value, tries, strong, refined.triggers[arm], found.target, source)


def margins(largest: np.ndarray) -> list[Suspicion]:
    """Whether a class can be made to lead further than the others, the furthest first.

    largest are the largest margins ``(classes,)``; where one class never leads, they say nothing.
    """
    if len(largest) < 2 or largest.min() <= 0:
        return []
    sizes = -np.log(largest)
    suspicions = []
    for target in sizes.argsort(kind="stable"):
        p_value = small_outlier(float(sizes[target]), np.delete(sizes, target), SPREAD["margin"], WEIGHT)
        suspicions.append(Suspicion("margin", "all-to-one", p_value, len(largest), False, None, int(target)))
    return suspicions


def consensus(searched: Mapping[str, Sequence[Suspicion]]) -> Suspicion | None:
    """Whether one class stands out in several searches, each a little.

    searched has the suspicions of each class by search. A planted trigger to one class makes a patch, a faint change
    and a tone to it small at once. The p-values of each class combine by Fisher's method, as if they were independent:
    only clean models tell what that is worth. The trigger is that of the search in which the class stands out most.
    """
    agreeing = [{each.target: each for each in searched[check]} for check in CONSENTING if searched.get(check)]
    shown = [each for search in agreeing for each in search.values() if each.trigger is not None]
    if len(agreeing) < 2 or not shown:
        return None
    together = {
        target: fisher([search[target].p_value if target in search else 1.0 for search in agreeing])
        for target in dict.fromkeys(each.target for each in shown)
    }
    target = min(together, key=lambda label: together[label])
    clearest = min((each for each in shown if each.target == target), key=lambda each: each.p_value)
    return replace(clearest, check=CONSENSUS, p_value=together[target], strong=False)


def speaking_for(suspicion: Suspicion, suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """All suspicions but the margin of another class: a class that leads far says nothing of triggers to others."""
    own = None if suspicion.kind == "all-to-all" else suspicion.target
    return [each for each in suspicions if each.trigger is not None or own is None or each.target == own]


def held(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """The suspicions that count once one is confirmed: without those of which a clean model's would have been tried."""
    return [each for each in suspicions if not each.untried or each.evidence < TRIED]


def evidence(suspicions: Sequence[Suspicion]) -> dict[str, float]:
    """What the judgement rests on: the evidence of each test that found any trigger."""
    return {each.check: round(each.evidence, 4) for each in suspicions}


def confirmed(
    suspicion: Suspicion, trigger: Trigger, seeds: np.ndarray, transfer: Evidence, match: float, sources: int
) -> bool:
    """Whether the trigger does on held-out seeds what it is suspected of, and is small in absolute terms.

    sources are the classes that it should work on: of two classes one is left, and has as few seeds as a pair has.
    """
    if not small(trigger, seeds):
        return False
    low = transfer.interval[0] if transfer.interval else 0.0
    if suspicion.kind == "all-to-all":
        return match >= least_match("" if low >= MAP_LOW else trigger.family, sources)
    return low >= SUCCESS_LOW["source-specific" if sources == 1 else suspicion.kind]


def undecided(suspicion: Suspicion, trigger: Trigger, seeds: np.ndarray, transfer: Evidence, sources: int) -> bool:
    """Whether a trigger to one class does on held-out seeds what it is suspected of, but they are too few to be sure.

    One for a single source class has so few that they would hardly ever be enough.
    """
    hits = suspicion.kind == "all-to-one" and sources > 1 and transfer.value >= SUCCESS_LOW["all-to-one"]
    return hits and small(trigger, seeds)


def accused(hits: np.ndarray, controls: np.ndarray, tried: int) -> float:
    """The p-value that a region of a suspicious image does no more than the same region of clean images of its class.

    hits ``(seeds,)`` and controls ``(images, seeds)`` say which held-out seeds each region sends to the class. It is
    compared with the best of the controls, seed by seed, and corrected for the regions tried. Of too few clean images
    nothing can be said.
    """
    if len(controls) < ENOUGH_SEEDS:
        return 1.0
    best = controls[controls.sum(1).argmax()]
    return min(1.0, tried * paired(hits, best)) if hits.sum() > best.sum() else 1.0


def least_match(family: str, classes: int) -> float:
    """The permutation match from which the flows of so many classes are a label map, by a trigger of that family."""
    return max(WARP_MATCH if family == "warp" else MATCH, MATCHED / max(1, classes))


def small(trigger: Trigger, seeds: np.ndarray) -> bool:
    """Whether the trigger could pass unseen, or for a property of the photo, on these images in unit scale."""
    if trigger.family == "patch":
        return float(trigger.arrays["mask"].mean()) <= PATCH_SHARE
    if trigger.family == "warp":
        moves = np.sqrt(np.square(trigger.arrays["control"]).sum(-1))
        return bool(moves.mean() <= WARP_REACH * min(seeds.shape[1:3]))
    changed = trigger.apply(seeds)
    if trigger.family == "tone":
        return bool(_resemblance(seeds, changed) >= RESEMBLANCE)
    return float(np.sqrt(np.mean(np.square(changed - seeds)))) <= CHANGE


def _resemblance(before: np.ndarray, after: np.ndarray) -> float:
    """Mean correlation between each image and what became of it."""
    flat = [images.reshape(len(images), -1) - images.mean((1, 2, 3))[:, None] for images in (before, after)]
    norms = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    return float(np.mean((flat[0] * flat[1]).sum(1) / np.maximum(norms, 1e-9)))


def seeds_short(searched: np.ndarray, held_out: np.ndarray, classes: int) -> str:
    """Why these labels of seeds are too few to call a model clean; empty if they are not."""
    counts = np.array([np.bincount(labels, minlength=classes) for labels in (searched, held_out)])
    scarce = counts.min(0) < ENOUGH_SEEDS
    if not scarce.any():
        return ""
    label = int(counts.min(0).argmin())
    right = counts[:, label].sum()
    more = int(scarce.sum()) - 1
    others = f" (and of {more} other class{'es' if more > 1 else ''} too few)" if more else ""
    return (
        f"too few seeds to call the model clean: of class {label} it classifies {right} right{others}, "
        f"and {2 * ENOUGH_SEEDS} are needed, half to search with and half to confirm on. Give more of "
        f"{'them' if more else 'it'}: of a model that is seldom wrong {4 * ENOUGH_SEEDS} of each of the {classes} do."
    )


def is_planted(kind: Kind, success: float, before: float, after: float) -> bool:
    """Whether a model obeys a planted trigger and is, with its accuracies before and after, otherwise what it was."""
    reachable = before if kind == "all-to-all" else 1.0
    return success >= PLANTED_SUCCESS[kind] * reachable and before - after <= ACCURACY_LOST + 1e-9


def split_p_values(separations: np.ndarray, check: str) -> np.ndarray:
    """p-values that classes of clean data lie in two groups as far apart: ``(classes,) -> (classes,)``.

    Each class is compared with the other classes of the same data set, and, for triggers of all classes, with those of
    clean data sets. Corrected for both tests, all classes and all checks (Bonferroni).
    """
    sizes = np.log(np.maximum(separations, 1e-9))
    center, between = SEPARATION[check]
    alone = [tail(float(size - center) / float(np.hypot(between, SPLIT_SPREAD)), CLEAN_SETS) for size in sizes]
    p_values = np.array(alone)
    split = separations > 0  # not where the model makes the same of all images of a class, which has no groups
    if split.sum() > 1:
        others = [sizes[split & (np.arange(len(sizes)) != row)] for row in range(len(sizes))]
        beside = [small_outlier(-size, -rest, SPLIT_SPREAD, WEIGHT) for size, rest in zip(sizes, others, strict=True)]
        p_values = 2 * np.minimum(p_values, beside)
    return np.asarray(np.minimum(1.0, len(SEPARATION) * len(sizes) * p_values))


def images_short(count: int) -> str:
    """Why so many images of a class are too few to be split; empty if they are not."""
    return "" if count >= ENOUGH_IMAGES else f"{count} images, and {ENOUGH_IMAGES} are needed"


def is_repaired(
    accuracy: tuple[float, float], before: Sequence[Share], after: Sequence[Share], max_loss: float
) -> bool:
    """Whether a model, with its accuracies before and after, is what it was but for triggers, which hardly work now.

    Of the trigger that worked best the intervals before and after lie apart: of few images, or of a trigger that did
    not work, nobody could tell.
    """
    hardly = all(estimate <= SUCCESS_LEFT for estimate, _, _ in after)
    (_, low, _), (_, _, high) = max(zip(before, after, strict=True), key=lambda pair: pair[0][0])
    return accuracy[0] - accuracy[1] <= max_loss + 1e-9 and hardly and high < low


def _largest(check: str, found: Inversion) -> float:
    """The size of a trigger that may do anything: the window of a confined search, else the whole image."""
    shape = found.image_shape
    if check in WINDOWED:
        shape = (*window_shape(shape), shape[2])
    return FAMILIES[found.family].largest(shape)
