"""What the searches of one scan come to, in the order that they run in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_backdoor import judge
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.results import Finding
from pytest_backdoor.yardstick import Yardstick


@dataclass
class Trail:
    """What the searches of one scan came to so far."""

    yardstick: Yardstick
    suspicions: list[Suspicion] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
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

    @property
    def p_value(self) -> float:
        return self.findings[0].p_value if self.findings else self.yardstick.p_value(self.suspicions)
