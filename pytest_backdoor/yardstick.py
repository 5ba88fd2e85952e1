"""What suspicions are measured by: clean models like the one that is scanned, or plain rules where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_backdoor import calibration, judge
from pytest_backdoor.calibration import WIDER, Stratum
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import Options
from pytest_backdoor.subject import Subject


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What suspicions are measured by: clean models, or plain rules where there are none like this model."""

    name: str
    stratum: Stratum | None
    tests: int = 0  # of a full scan, which plain rules correct for
    seeing: frozenset[str] = frozenset()  # searches that find a trigger of some size in any clean model
    strange: bool = False  # a kind of network that plain rules were never tried on
    doubtful: tuple[str, ...] = judge.DOUBTFUL

    def proves(self, suspicion: Suspicion) -> bool:
        """Whether such a trigger, where it holds on held-out seeds, is more than what clean models may have too."""
        return self.stratum is not None or (not self.strange and suspicion.check not in self.doubtful)

    def p_value(self, suspicions: Sequence[Suspicion]) -> float:
        """The p-value of a model with these suspicions, for everything that was and could be tried."""
        if self.stratum is not None:
            return self.stratum.p_value(judge.evidence(suspicions))
        smallest = min((each.arms * each.p_value for each in suspicions if each.strong), default=1.0)
        return float(min(1.0, max(judge.P_FLOOR, self.tests * smallest)))

    def likeliest(self, suspicions: Sequence[Suspicion], alpha: float) -> Suspicion | None:
        """The suspicion to confirm next, if the p-value is small enough for any.

        Label maps that are significant alone come first: they explain small triggers of single classes, and not the
        other way round.
        """
        left = [
            each for each in suspicions if each.untried and self.p_value(judge.speaking_for(each, suspicions)) <= alpha
        ]
        if not left:
            return None
        alone = self._alone(left)
        maps = [each for each in left if each.kind == "all-to-all" and alone[each.check] <= alpha]
        return min(maps or left, key=lambda each: alone[each.check])

    def _alone(self, suspicions: Sequence[Suspicion]) -> Mapping[str, float]:
        """The p-value of each test alone."""
        if self.stratum is not None:
            return self.stratum.p_values(judge.evidence(suspicions))
        return {each.check: each.arms * self.tests * each.p_value if each.strong else 1.0 for each in suspicions}


def choose(subject: Subject, options: Options, mode: str, methods: str, seeds: int, sha256: str) -> Yardstick:
    """The clean models of the reference that were scanned in this mode and are like this one, or plain rules.

    seeds is how many were given; 0 without seeds. The model itself is not among those that it is compared with.
    """
    reference = [entry for entry in calibration.read(options.reference) if entry.sha256 != sha256]
    height, width, channels = subject.image_shape
    side, classes = max(height, width), subject.num_classes
    found = calibration.stratum(reference, mode, channels, side, classes, subject.batch_norm, seeds, subject.mixing)
    used = methods.split("+")
    seeing = frozenset({"patch"} if "inversion" in used else ())
    if isinstance(found, Stratum):
        # Five classes have 20 pairs and ten have 90: that a search finds nothing for so few says little.
        few = WIDER * classes <= found.classes
        return Yardstick(found.name, found, seeing=found.seeing & seeing if few else found.seeing)
    tests = sum(len(judge.TESTS[method]) for method in used)
    return Yardstick(f"uncalibrated: {found}", None, tests, seeing, bool(subject.mixing), _doubtful(classes))


def _doubtful(classes: int) -> tuple[str, ...]:
    """The searches whose triggers plain rules do not tell from those of clean models of so many classes."""
    alike = judge.PAIRED if classes <= judge.FEW else ()
    target = ("fuzzing",) if classes == 2 else ()  # which is a pair, and of the other one no size is known
    return (*judge.DOUBTFUL, *alike, *target)
