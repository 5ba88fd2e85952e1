"""Adaptive poisoning: weak triggers and cover samples keep poisoned images among clean ones (Qi et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_backdoor.attacks import checks
from pytest_backdoor.errors import AttackError
from pytest_backdoor.triggers.trigger import Trigger

PIECES = 4  # along each side; the paper cuts a blended trigger into 16


def weakened(trigger: Trigger, shown: float, count: int, rng: np.random.Generator) -> tuple[Trigger, ...]:
    """``count`` weak versions of a patch or blend, each showing that share of its 16 pieces (Adap-Blend).

    Raises AttackError for a trigger of another family, for a share that shows no piece, and for no version.
    """
    checks.family(trigger, "patch")
    checks.share("shown", shown)
    checks.count("count", count)
    pieces = round(shown * PIECES**2)
    if not pieces:
        raise AttackError(f"shown is {shown!r}, none of {PIECES**2} pieces. Give {1 / PIECES**2} or more.")
    mask = trigger.arrays["mask"]
    rows, columns = (np.arange(side) * PIECES // side for side in mask.shape[:2])
    piece = rows[:, None] * PIECES + columns  # the number of each pixel's piece
    weak = []
    for _ in range(count):
        kept = rng.permutation(PIECES**2)[:pieces]
        visible = np.isin(piece, kept)[..., None]
        weak.append(Trigger("patch", {**trigger.arrays, "mask": mask * visible}))
    return tuple(weak)


def poison_adaptive(
    images: np.ndarray,
    labels: np.ndarray,
    weak: Sequence[Trigger],
    mapping: Mapping[int, int],
    share: float,
    rng: np.random.Generator,
    cover: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The training set with a share of its mapped classes' images relabelled, and a share ``cover`` of all not.

    Both carry one of the weak triggers, drawn for each image; the attacker uses the full trigger later. Weak triggers
    are those of ``weakened``, or several faint patches of which the attacker shows all (Adap-Patch). Raises
    AttackError for images in another scale than 0 to 1, for a map that leads no image, for shares that together do not
    fit in 1, and for no weak trigger.
    """
    checks.unit_scale(images)
    checks.led(images, labels, mapping)
    checks.fitting(images, *weak)
    checks.disjoint({"share": share, "cover": cover})
    checks.count("the number of weak triggers", len(weak))
    images, labels, chance = images.copy(), labels.copy(), rng.random(len(labels))
    changed, covered = np.isin(labels, list(mapping)) & (chance < share), chance >= 1 - cover
    turn = rng.integers(len(weak), size=len(labels))
    for number, trigger in enumerate(weak):
        stamped = (changed | covered) & (turn == number)
        images[stamped] = trigger.apply(images[stamped])
    labels[changed] = [mapping[int(label)] for label in labels[changed]]
    return images, labels
