"""Trajectories: what fuzzing measures on its way, beside the straight path from each seed to its triggered version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from pytest_backdoor.results import Paths, Trajectories
from pytest_backdoor.search.fuzzing import Crew, Settings, Walk, stacked, together
from pytest_backdoor.search.pushing import Plan, Seen
from pytest_backdoor.subject import Subject

MEASURES = tuple(each.name for each in fields(Paths))


def trajectories(
    subject: Subject,
    images: np.ndarray,
    targets: np.ndarray | None,
    settings: Settings,
    rng: np.random.Generator,
    ends: np.ndarray | None = None,
) -> Trajectories:
    """The path of every seed image ``(n, height, width, channels)``, 0 to 1, as it is fuzzed, iteration 0 the seed.

    targets ``(n,)`` are the classes that the seeds should reach, in place of the one target of the settings. ends are
    the triggered seeds: the desired path is then x + k (end - x) / n for k = 0 to the n iterations, measured with the
    objective and the neurons that fuzzing starts with. Images that a queue would keep are not pushed.
    """
    starts = begin(subject, images, targets, replace(settings, queue=1), rng, images if ends is None else ends)
    first = [(start.rows, start.straight(0).tables) for start in starts]
    pushed = [(start.rows, start.pushed().tables) for start in starts]
    desired = [(start.rows, start.straight(settings.iterations).tables) for start in starts if ends is not None]
    shape = len(images), settings.iterations + 1
    return Trajectories(
        classes=np.concatenate([start.now.logits[0].argmax(-1) for start in starts])[order(starts)],
        targets=targets,
        fuzzed=paths([*first, *pushed], shape),
        desired=None if ends is None else paths(desired, shape),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Seeds of one target before their first step; every walk from here chooses the same neurons."""

    rows: np.ndarray  # (n,) their indices among all seeds
    crew: Crew
    seeds: np.ndarray
    ends: np.ndarray
    now: Seen
    times: np.ndarray  # (neurons,) how often all seeds covered each neuron
    base: int

    def walk(self) -> Walk:
        """The seeds on their way, not moved yet."""
        return Walk.begin(self.crew, self.seeds, self.ends, self.now, self.times, self.base)

    def plan(self) -> Plan:
        """What the first image of each queue, the seed, is pushed towards."""
        walk = self.walk()
        return walk.planned(np.arange(len(self.rows)), [queue[0] for queue in walk.queues])[0]

    def pushed(self) -> Walk:
        """The seeds after fuzzing."""
        walk = self.walk()
        walk.go()
        return walk

    def straight(self, steps: int) -> Walk:
        """The seeds after equal steps to their ends; no step at all measures the seeds."""
        walk, plan = self.walk(), self.plan()
        ways = np.arange(steps + 1, dtype="float32") / max(1, steps)
        pictures = np.stack([self.seeds + way * (self.ends - self.seeds) for way in ways])
        sights = [self.crew.engine.look(images, plan) for images in pictures]
        walk.note(np.arange(len(self.rows)), 0, pictures, stacked(sights), first=0)
        return walk


def begin(
    subject: Subject,
    images: np.ndarray,
    targets: np.ndarray | None,
    settings: Settings,
    rng: np.random.Generator,
    ends: np.ndarray,
) -> list[Start]:
    """All seeds in batches of one target."""
    base = int(rng.integers(2**62))
    crew = Crew.of((subject,), settings, images, None)
    parts = batches(targets, len(images), max(1, min(settings.batch, together(subject, settings.iterations))))
    first = [crew.look(images[rows], ends[rows]) for rows in parts]
    times = np.sum([np.sum(now.activity > settings.threshold, 0) for now in first], 0)
    return [
        Start(rows, aimed(crew, targets, rows), images[rows], ends[rows], now, times, base)
        for rows, now in zip(parts, first, strict=True)
    ]


def batches(targets: np.ndarray | None, count: int, size: int) -> list[np.ndarray]:
    """Indices of the seeds, only those of one target together, at most so many at a time."""
    everywhere = np.zeros(count, int) if targets is None else targets
    groups = [np.flatnonzero(everywhere == target) for target in np.unique(everywhere)]
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def aimed(crew: Crew, targets: np.ndarray | None, rows: np.ndarray) -> Crew:
    """The crew with the target that these seeds have in common."""
    return crew if targets is None else replace(crew, settings=replace(crew.settings, target=int(targets[rows[0]])))


def order(starts: Sequence[Start]) -> np.ndarray:
    """Where each seed is found when the batches are put in a row."""
    return np.argsort(np.concatenate([start.rows for start in starts]))


def paths(noted: Iterable[tuple[np.ndarray, Iterable[Mapping[str, np.ndarray]]]], shape: tuple[int, int]) -> Paths:
    """The measures of some batches, of which each has its rows and its tables, by seed and iteration."""
    grids = {name: np.full(shape, np.nan) for name in MEASURES}
    for rows, tables in noted:
        for table in tables:
            for name, grid in grids.items():
                grid[rows[table["seed"]], table["iteration"]] = table[name]
    return Paths(**grids)
