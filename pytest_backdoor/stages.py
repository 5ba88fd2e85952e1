"""The searches of a scan in the order of their cost; each gives the most suspicious arm of each of its tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pytest_backdoor import judge
from pytest_backdoor.confirm.transfer import flows, spill
from pytest_backdoor.contract import Contract, Sample
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.profiles import Settings
from pytest_backdoor.search import agreement, inversion
from pytest_backdoor.search.arms import MANY
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.search.margin import margins
from pytest_backdoor.search.shifting import shifted
from pytest_backdoor.subject import Subject


@dataclass(slots=True, eq=False)
class Bench:
    """What the searches of one scan share, and what they spent."""

    subject: Subject
    seeds: Sample
    settings: Settings
    rng: np.random.Generator
    image_gradients: int = 0
    blind: bool = True  # no arm found any trigger yet, however large
    searched: dict[str, Inversion] = field(default_factory=dict)  # by check, of the stage that ran last
    by_class: dict[str, list[Suspicion]] = field(default_factory=dict)  # by check, of all stages

    @classmethod
    def of(cls, contract: Contract, settings: Settings, rng: np.random.Generator) -> Bench:
        """The bench for the search half of a contract."""
        return cls(contract.subject, contract.search, settings, rng)

    def run(self, stage: Stage) -> Sequence[Suspicion]:
        """What the stage finds suspicious; the triggers of the stage before it are forgotten."""
        self.searched.clear()
        return stage(self)

    def spent(self, found: Inversion) -> Inversion:
        """The search, with its cost noted."""
        self.image_gradients += found.image_gradients
        self.blind = self.blind and bool(np.isnan(found.sizes).all())
        return found

    def tests(self, check: str, found: Inversion) -> list[Suspicion]:
        """The label map and the single class that the search makes most suspicious.

        A label map explains small triggers of single classes, not the other way round, so it comes first.
        """
        self.searched[check] = found
        arms = [*found.of("map"), *found.of("away")]
        seen = {int(arm): flows(self.subject, found.triggers[arm], self.seeds) for arm in arms}
        self.by_class[check] = judge.each_class(check, found, self.subject.num_classes)
        return [*_present(judge.label_map(check, found, seen)), *self.by_class[check][:1]]

    def further(self, known: Collection[int], refuted: Collection[tuple[str, int]]) -> list[Suspicion]:
        """The single class that each search of the last stage makes most suspicious, but for known or refuted ones."""
        suspicions = []
        for check, found in self.searched.items():
            settled = {*known, *(target for tried, target in refuted if tried == check)}
            suspicions.append(judge.one_class(check, found, self.subject.num_classes, settled))
        return _present(*suspicions)


def margin(bench: Bench) -> list[Suspicion]:
    """How far each class can be made to lead over all others; it needs no seeds and finds no trigger."""
    found = margins(bench.subject, bench.settings.margin, bench.rng)
    bench.image_gradients += found.image_gradients
    bench.by_class["margin"] = judge.margins(found.largest)
    return bench.by_class["margin"][:1]


def patches(bench: Bench) -> list[Suspicion]:
    """Patches anywhere, then confined to one window each."""
    free = bench.spent(inversion.universal(bench.subject, "patch", bench.seeds, bench.settings.search, bench.rng))
    windowed = bench.spent(inversion.screen_windows(bench.subject, bench.seeds, bench.settings.search, bench.rng))
    placed = inversion.confined(bench.subject, free, windowed, bench.seeds, bench.settings.search, bench.rng)
    return [*bench.tests("patch", free), *bench.tests("confined", bench.spent(placed))]


def whole_image(family: str, bench: Bench) -> list[Suspicion]:
    """Triggers of a family that changes the whole image."""
    found = inversion.universal(bench.subject, family, bench.seeds, bench.settings.search, bench.rng)
    return bench.tests(family, bench.spent(found))


def tones(bench: Bench) -> list[Suspicion]:
    """Tones, and the class that stands out in several of the searches up to here."""
    found = whole_image("tone", bench)
    return [*found, *_present(judge.consensus(bench.by_class))]


def sample_specific(bench: Bench) -> list[Suspicion]:
    """Another pattern for every image, to one class."""
    if not bench.settings.search.drawn_steps:
        return []
    found = inversion.sample_specific(bench.subject, bench.seeds, bench.settings.search, bench.rng)
    return bench.tests("generator", bench.spent(found))


def pairs(bench: Bench) -> list[Suspicion]:
    """Patches for one source class and one target, on shifted seeds."""
    moved = shifted(bench.subject, bench.seeds, bench.rng)
    screened = bench.spent(inversion.screen_pairs(bench.subject, moved, bench.settings.search, bench.rng))
    refined = bench.spent(inversion.refine_pairs(bench.subject, screened, moved, bench.settings.search, bench.rng))
    return _present(judge.pair("pair", refined, _spills(bench, refined), bench.subject.num_classes))


def fuzzing(bench: Bench) -> list[Suspicion]:
    """Patches that flips of single seeds have in common, for single classes, label maps and pairs.

    Of many classes the seeds of some are pushed, which does not tell whether a pair of them stands alone: no pairs.
    """
    pusher = agreement.Pusher(bench.subject, bench.settings.agreement)
    flips = agreement.push(pusher, bench.seeds, bench.rng)
    found = agreement.to_one(pusher, flips, bench.seeds, bench.rng)
    pair = _fuzzed_pair(bench, pusher, flips) if bench.subject.num_classes <= MANY else None
    bench.image_gradients += pusher.spent
    bench.blind = bench.blind and not flips.flipped.any()
    return [*bench.tests("fuzzing", found), *_present(pair)]


def _fuzzed_pair(bench: Bench, pusher: agreement.Pusher, flips: agreement.Flips) -> Suspicion | None:
    pairs = agreement.of_pairs(pusher, flips, bench.seeds, bench.rng)
    return judge.pair("fuzzing pair", pairs, _spills(bench, pairs), bench.subject.num_classes)


def _spills(bench: Bench, found: Inversion) -> np.ndarray:
    """What the trigger of each pair does to the other classes."""
    return np.array(
        [
            spill(bench.subject, trigger, bench.seeds, arm.source, arm.target)
            for arm, trigger in zip(found.arms, found.triggers, strict=True)
            if arm.source is not None and arm.target is not None
        ]
    )


def _present(*suspicions: Suspicion | None) -> list[Suspicion]:
    return [suspicion for suspicion in suspicions if suspicion]


Stage = Callable[[Bench], Sequence[Suspicion]]
INVERSION: dict[str, Stage] = {
    "margin": margin,
    "patch": patches,
    "additive": partial(whole_image, "additive"),
    "low-frequency": partial(whole_image, "low-frequency"),
    "tone": tones,
    "warp": partial(whole_image, "warp"),
    "generator": sample_specific,
    "pair": pairs,
}
METHODS: dict[str, dict[str, Stage]] = {"inversion": INVERSION, "fuzzing": {"fuzzing": fuzzing}}


def stages(methods: str) -> dict[str, Stage]:
    """The searches of these methods, joined by a plus sign, in the order that they run in."""
    return {name: stage for method in methods.split("+") for name, stage in METHODS[method].items()}
