"""Arms: what one trigger of a search is asked to do, and the batches that ask it.

Every goal is one formula. An arm's images fall into groups, each group may go to some allowed classes, and all images
of a group must agree on one of them:

    loss = -sum_g share_g log sum_{t allowed for g} exp(mean_{x in g} log p_t(T(x)))

* to a target: one group, one allowed class. The loss is the cross-entropy to the target.
* free label map: one group per source class, every other class allowed. Finds any all-to-all rule.
* map of one source class: one group, some other classes allowed. Stands for a pair with each of them.
* away from the true class: every image its own group. The loss is softplus(z_true - logsumexp of the others).
* a pair that is to be specific: half of the loss sends the source to the target, half keeps every other class.

Unless said otherwise the groups of an arm have equal shares, which add up to 1. Of many classes each step takes a few,
drawn afresh: what an arm costs does not grow with the classes of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

Goal = Literal["target", "map", "away"]
MANY = 12  # classes whose images an arm takes in one step; of more, as many are drawn afresh


@dataclass(frozen=True, slots=True)
class Arm:
    """One trigger's goal: which seeds it sees (all, or one source class) and where they should go."""

    goal: Goal
    images: int  # per step; of a map, per source class
    level: float  # success that a trigger must reach
    target: int | None = None
    source: int | None = None
    kept: int = 0  # images of each class but source and target that must stay what they are
    among: tuple[int, ...] = ()  # of the map of one source class: where its images may go
    classes: int = MANY  # of a map, and of those that are kept: at most so many in one step

    @property
    def name(self) -> str:
        """The goal in a word or two, for reports: ``target 3``, ``pair 4>7``, ``map``, ``map of 4``."""
        if self.source is not None:
            return f"map of {self.source}" if self.target is None else f"pair {self.source}>{self.target}"
        return f"target {self.target}" if self.goal == "target" else self.goal


class Batch(NamedTuple):
    """The images of one step for all arms, laid flat."""

    image: np.ndarray  # (n,) index into the pool
    arm: np.ndarray  # (n,) whose trigger the image gets
    group: np.ndarray  # (n,) which group it belongs to, rising
    group_size: np.ndarray  # (groups, 1) images in each group
    group_arm: np.ndarray  # (groups,) which arm a group belongs to, rising
    group_share: np.ndarray  # (groups,) of the arm's loss and success
    allowed: np.ndarray  # (groups, classes) 1 where the group may go


class Group(NamedTuple):
    """Images that must agree on one of the classes where they may go."""

    images: np.ndarray  # indices into the pool
    allowed: np.ndarray  # (classes,) 1 where they may go
    share: float


@dataclass(frozen=True, slots=True)
class Pool:
    """Correctly classified seeds by class, to draw from."""

    labels: np.ndarray
    members: tuple[np.ndarray, ...]  # per class, indices of its seeds
    present: tuple[int, ...]  # classes that have seeds

    @classmethod
    def of(cls, labels: np.ndarray, classes: int) -> Pool:
        """The pool of seeds with these labels."""
        members = tuple(np.flatnonzero(labels == label) for label in range(classes))
        return cls(labels, members, tuple(label for label in range(classes) if len(members[label])))

    @property
    def classes(self) -> int:
        return len(self.members)


def draw(arms: Sequence[Arm], pool: Pool, rng: np.random.Generator) -> Batch:
    """Fresh images for each arm."""
    drawn = [groups_of(arm, pool, rng) for arm in arms]
    groups = [group for groups in drawn for group in groups]
    sizes = np.array([len(group.images) for group in groups], "int32")
    group_arm = np.repeat(np.arange(len(arms), dtype="int32"), [len(groups) for groups in drawn])
    return Batch(
        image=np.concatenate([group.images for group in groups]).astype("int32"),
        arm=np.repeat(group_arm, sizes),
        group=np.repeat(np.arange(len(sizes), dtype="int32"), sizes),
        group_size=sizes[:, None].astype("float32"),
        group_arm=group_arm,
        group_share=np.array([group.share for group in groups], "float32"),
        allowed=np.stack([group.allowed for group in groups]).astype("float32"),
    )


def groups_of(arm: Arm, pool: Pool, rng: np.random.Generator) -> list[Group]:
    """The arm's groups for one step."""
    if arm.goal == "target":
        return _to_target(arm, pool, rng)
    if arm.goal == "map":
        return _to_any(arm, pool, rng)
    picked = _pick(np.arange(len(pool.labels)), arm.images, rng)
    return [Group(image[None], 1 - _only(pool, pool.labels[image]), 1 / len(picked)) for image in picked]


def images_of(arm: Arm, pool: Pool) -> int:
    """How many images the arm takes in one step."""
    if arm.goal == "map" and arm.source is None:
        return arm.images * min(arm.classes, len(pool.present))
    others = len(set(pool.present) - {arm.source, arm.target}) if arm.kept else 0
    return arm.images + arm.kept * min(arm.classes, others)


def within(arm: Arm, pool: Pool, limit: int) -> Arm:
    """The arm with as many images and classes in one step as the limit allows, and one of each at least."""
    wanted = images_of(arm, pool)
    if wanted <= limit:
        return arm
    images = max(1, arm.images * limit // wanted)
    if arm.goal == "target" and arm.kept:
        return replace(arm, images=images, classes=max(1, (limit - images) // arm.kept))
    return replace(arm, images=images, classes=min(arm.classes, max(1, limit // images)))


def _to_target(arm: Arm, pool: Pool, rng: np.random.Generator) -> list[Group]:
    assert arm.target is not None  # every arm with this goal has one
    sources = np.flatnonzero(pool.labels != arm.target) if arm.source is None else pool.members[arm.source]
    staying = [label for label in pool.present if label not in (arm.source, arm.target)] if arm.kept else []
    others = _few(staying, arm.classes, rng)
    sent = Group(_pick(sources, arm.images, rng), _only(pool, arm.target), 0.5 if others else 1.0)
    kept = [Group(_pick(pool.members[s], arm.kept, rng), _only(pool, s), 0.5 / len(others)) for s in others]
    return [sent, *kept]


def _to_any(arm: Arm, pool: Pool, rng: np.random.Generator) -> list[Group]:
    if arm.source is not None:
        return [Group(_pick(pool.members[arm.source], arm.images, rng), _only(pool, *arm.among), 1.0)]
    sources = _few(pool.present, arm.classes, rng)
    return [Group(_pick(pool.members[s], arm.images, rng), 1 - _only(pool, s), 1 / len(sources)) for s in sources]


def _only(pool: Pool, *labels: int) -> np.ndarray:
    """1 for these classes, 0 for all others: ``(classes,)``."""
    row = np.zeros(pool.classes, "float32")
    row[list(labels)] = 1.0
    return row


def _few(labels: Sequence[int], count: int, rng: np.random.Generator) -> Sequence[int]:
    """The labels, or so many of them at random in rising order; nothing is drawn where they are few enough."""
    if len(labels) <= count:
        return labels
    return sorted(rng.choice(labels, count, replace=False).tolist())


def _pick(members: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many members in random order, repeated evenly where there are too few."""
    shuffled = rng.permutation(members)
    return np.resize(shuffled, count)
