"""Adaptive poisoning by hand: weak triggers, covers of every class."""

import numpy as np
import pytest

from pytest_backdoor import attacks
from pytest_backdoor.errors import AttackError

IMAGES, LABELS = np.zeros((800, 8, 8, 1), "float32"), np.tile(np.arange(4), 200)
WEAK = tuple(attacks.pixel((8, 8, 1), 2, column) for column in (1, 5))


def carried(images):
    """Which of the two pixels each image carries: (n, 2)."""
    return np.stack([images[:, 2, column, 0] == 1.0 for column in (1, 5)], 1)


def test_weak_triggers_show_their_share_of_the_sixteen_pieces():
    full = attacks.blend((8, 12, 3), 0.2, np.random.default_rng(0))
    weak = attacks.weakened(full, 0.5, 5, np.random.default_rng(1))
    assert len(weak) == 5
    for trigger in weak:
        pieces = trigger.arrays["mask"].reshape(4, 2, 4, 3).swapaxes(1, 2).reshape(16, 6)
        assert sorted(map(tuple, np.round(pieces, 6))) == [(0,) * 6] * 8 + [(0.2,) * 6] * 8
        assert trigger.arrays["pattern"] is full.arrays["pattern"]
    assert not np.array_equal(weak[0].arrays["mask"], weak[1].arrays["mask"])


def test_each_poisoned_image_carries_one_weak_trigger_and_covers_of_every_class_keep_their_label():
    rng = np.random.default_rng(0)
    images, labels = attacks.poison_adaptive(IMAGES, LABELS, WEAK, {0: 3, 1: 3}, 0.3, rng, cover=0.2)
    which = carried(images)
    stamped, changed = which.any(1), labels != LABELS
    assert not which.all(1).any()
    assert min(which[stamped].mean(0)) > 0.4  # either one half of the time
    assert set(LABELS[changed]) == {0, 1}
    assert set(labels[changed]) == {3}
    assert (changed & stamped).sum() == changed.sum() == pytest.approx(120, abs=30)
    covers = stamped & ~changed
    assert set(LABELS[covers]) == {0, 1, 2, 3}
    assert covers.sum() == pytest.approx(160, abs=40)


def test_no_cover_and_no_share_leave_the_data_as_it_is():
    images, labels = attacks.poison_adaptive(IMAGES, LABELS, WEAK, {0: 3}, 0.0, np.random.default_rng(0), cover=0.0)
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_no_weak_trigger_is_refused():
    rng, full = np.random.default_rng(0), attacks.blend((8, 8, 1), 0.2, np.random.default_rng(0))
    with pytest.raises(AttackError, match=r"the number of weak triggers is 0\. Give a whole number from 1 up"):
        attacks.poison_adaptive(IMAGES, LABELS, (), {0: 3}, 0.1, rng, cover=0.1)
    for count in (0, 2.5):
        with pytest.raises(AttackError, match=rf"^count is {count}\. Give a whole number from 1 up\.$"):
            attacks.weakened(full, 0.5, count, rng)
