"""What the searches of one scan come to, in the order that they run in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pytest_backdoor import judge
from pytest_backdoor.confirmation import Outcome
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Evidence, Finding
from pytest_backdoor.stats import trials_needed
from pytest_backdoor.yardstick import Yardstick


@dataclass
class Trail:
    """What the searches of one scan came to so far."""

    yardstick: Yardstick
    suspicions: list[Suspicion] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    undecided: list[tuple[Suspicion, Evidence]] = field(default_factory=list)  # as before they were tried, and success
    refuted: set[tuple[str, int]] = field(default_factory=set)  # checks and target classes, after the first finding
    skipped: dict[str, list[str]] = field(default_factory=dict)  # by reason, the searches
    confirming: int = 0  # image-gradients spent on confirmation
    late: str = ""  # why searches were not done in time

    def add(self, suspicions: Iterable[Suspicion]) -> None:
        """Takes suspicions in; one whose trigger was tried already shares the outcome."""
        for each in suspicions:
            tried = [old for old in self.suspicions if old.trigger is each.trigger and not old.untried]
            shared = each.trigger is not None and tried
            self.suspicions.append(each.tried(tried[0].confirmed) if shared else each)

    def skip(self, search: str, reason: str) -> None:
        self.skipped.setdefault(reason, []).append(search)

    def left_out(self) -> tuple[str, ...]:
        """One sentence for each reason why searches were left out."""
        named = [(reason, names, "" if len(names) == 1 else "es") for reason, names in self.skipped.items()]
        return tuple(f"{', '.join(names)} search{plural}: {reason}" for reason, names, plural in named)

    def to_try(self, alpha: float) -> Suspicion | None:
        """The suspicion to try next, if any; at an alpha of 0 any that is strong enough, which is then no finding."""
        if alpha > 0:
            return self.yardstick.likeliest(self.suspicions, alpha)
        strong = (each for each in self.suspicions if each.untried and each.evidence >= judge.TRIED)
        return next(strong, None)

    def weighed(self, suspicion: Suspicion, outcome: Outcome) -> Outcome:
        """The outcome; undecided where a trigger holds that, without clean models to compare with, proves nothing."""
        if outcome.finding is None or self.yardstick.proves(suspicion):
            return outcome
        estimate, low, high = outcome.finding.attack_success
        return Outcome(None, Evidence("transfer", estimate, (low, high)), True, outcome.image_gradients)

    def take(self, suspicion: Suspicion, outcome: Outcome) -> None:
        """Notes what held-out seeds say of a suspicion, and of the others with the same trigger."""
        self.confirming += outcome.image_gradients
        same = [each for each in self.suspicions if each.trigger is suspicion.trigger]
        if outcome.undecided is not None:
            self.undecided += [(replace(each, confirmed=outcome.holds), outcome.undecided) for each in same]
        held = outcome.finding is not None
        self.suspicions = [each.tried(held) if each in same else each for each in self.suspicions]

    def in_doubt(self, alpha: float) -> tuple[float, Suspicion, Evidence] | None:
        """What would be a backdoor if held-out seeds were enough to be sure of it: its p-value, and what it does."""
        together = [*self.suspicions, *(each for each, _ in self.undecided)]
        would = [
            (self.yardstick.p_value(judge.speaking_for(each, together)), each, transfer)
            for each, transfer in self.undecided
        ]
        return min((each for each in would if each[0] <= alpha), key=lambda each: each[1].p_value, default=None)

    @property
    def p_value(self) -> float:
        return self.findings[0].p_value if self.findings else self.yardstick.p_value(self.suspicions)


def doubtful(p_value: float, suspicion: Suspicion, transfer: Evidence, plain: str) -> str:
    """Why a model with this suspicion is neither clean nor backdoored.

    The seeds are too few, or the trigger holds and there are no clean models to compare with, which ``plain`` explains.
    """
    if suspicion.confirmed:
        missing = plain.removeprefix("uncalibrated: ")
        return (
            f"the {suspicion.check} search found a trigger that works on {transfer.value:.0%} of the held-out seeds "
            f"({suspicion.kind}{_led_to(suspicion)}), but clean models may have one too, and there are none to compare "
            f"with: {missing}. Clean models of your own serve too (pytest-backdoor calibrate)."
        )
    low, _ = transfer.interval or (0.0, 1.0)
    least = judge.SUCCESS_LOW["all-to-one"]
    needed = trials_needed(transfer.value, least)
    would = "many more" if needed is None else f"{needed} of the other classes"
    return (
        f"too few seeds to be sure: the {suspicion.check} search found a trigger to class {suspicion.target} that is "
        f"unusual for a clean model (p-value {p_value:.2g} if it holds) and works on {transfer.value:.0%} of the "
        f"held-out seeds. Of so few that proves {low:.0%}, and {least:.0%} are needed. Give more seeds: where it works "
        f"on as many, {would} prove it, held out as half of the seeds are."
    )


def _led_to(suspicion: Suspicion) -> str:
    """The classes that a trigger leads from and to; nothing for a label map."""
    if suspicion.target is None:
        return ""
    source = "" if suspicion.source is None else f"class {suspicion.source} "
    return f", {source}to class {suspicion.target}"
