"""From flips to triggers: what pushes have in common, worked out by hand, and both twins told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_backdoor.contract import Sample
from pytest_backdoor.search import agreement
from pytest_backdoor.search.agreement import Case, Flips, Pusher, Settings
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.subject import Subject
from tests.tiny import bright_pixels, linear, subject_of

PLACE = np.zeros((1, 4, 4, 1), "float32")
PLACE[0, 1:3, 1:3] = 1.0


def tight(subject: Subject) -> Subject:
    """The subject with memory for one image."""
    return replace(subject, memory=1, compiled={})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flips(flipped: list[list[bool]]) -> Flips:
    """Pushes of three dark seeds of the classes 0, 1, 2 to the classes 0 and 1, in the one window."""
    seeds = Sample(np.zeros((3, 4, 4, 1), "float32"), np.array([0, 1, 2]))
    return Flips(PLACE, seeds, (0, 1), np.array([flipped]))


def test_a_patch_is_the_mean_change_with_values_at_their_ends() -> None:
    changes = np.array([[[0.4], [-0.2], [0.0], [0.1]], [[0.4], [-0.2], [0.0], [-0.3]]])
    found = agreement.patch(PLACE[0], changes)
    np.testing.assert_allclose(found.arrays["mask"][1:3, 1:3, 0], [[1.0, 0.5], [0.0, 0.25]])
    assert found.arrays["pattern"][1:3, 1:3, 0].tolist() == [[1, 0], [0, 0]]
    assert not found.arrays["mask"][PLACE[0] == 0].any()


def test_the_mask_of_a_colour_patch_goes_by_the_channel_that_changes_most() -> None:
    found = agreement.patch(PLACE[0], np.array([[[0.1, -0.5], [0.0, 0.25], [0, 0], [0, 0]]]))
    np.testing.assert_allclose(found.arrays["mask"][1, 1:3, 0], [1.0, 0.5])
    assert found.arrays["pattern"][1, 1:3].tolist() == [[1, 0], [0, 1]]


def test_only_pushes_of_the_rule_that_succeeded_count() -> None:
    # Class 1 gains by the first cell of the window; away from class 2 the second one counts as well.
    weights = np.zeros((4, 4, 3))
    weights[1, 1, 1], weights[1, 2, 2] = 1.0, -1.0
    pusher = Pusher(subject_of(linear(weights.reshape(-1, 3), np.zeros(3), (4, 4, 1)), (4, 4, 1)), Settings())
    seen, to_one = flips([[False, True, False], [True, False, False]]), np.array([[False] * 3, [True, False, True]])
    assert seen.share(to_one).tolist() == [0.5]
    found = agreement.common(pusher, seen, 0, to_one)
    assert found.arrays["mask"][1:3, 1:3, 0].tolist() == [[1, 0], [0, 0]]
    assert found.arrays["pattern"][1, 1] == 1
    both = agreement.common(pusher, flips([[False] * 3, [True, False, True]]), 0, to_one)
    np.testing.assert_allclose(both.arrays["mask"][1:3, 1:3, 0], [[1, 0.5], [0, 0]], atol=1e-6)


def test_flows_are_shares_of_each_class_by_target() -> None:
    seen = flips([[False, True, False], [True, False, False]])
    assert seen.flows(0, 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_a_patch_is_cut_to_its_strongest_cells() -> None:
    found = agreement.patch(PLACE[0], np.array([[[0.4], [-0.2], [0.0], [0.1]]]))
    cuts = agreement.cut(found)
    assert [cut.arrays["mask"].sum() for cut in cuts] == [1, 2, 3]
    assert cuts[1].arrays["mask"][1, 1:3, 0].tolist() == [1, 1]


def test_the_fewest_cells_that_reach_the_level_are_kept() -> None:
    # Class 1 leads where two of the four cells are white: each adds 1 to a logit that starts 1.5 behind.
    weights = np.zeros((4, 4, 2))
    weights[1:3, 1:3, 1] = 1.0
    subject = subject_of(linear(weights.reshape(-1, 2), np.array([1.5, 0.0]), (4, 4, 1)), (4, 4, 1))
    seeds = Sample(np.zeros((5, 4, 4, 1), "float32"), np.zeros(5, int))
    case = Case(Arm("target", 5, 0.95, target=1), np.ones((1, 5), bool), np.ones(5, int))
    strong = agreement.patch(PLACE[0], np.array([[[0.4], [0.3], [0.2], [0.1]]]))
    assert agreement.fewest(subject, strong, case, seeds).size == 2
    wrong = agreement.patch(PLACE[0], np.array([[[-0.4], [-0.3], [-0.2], [-0.1]]]))
    assert np.isnan(agreement.fewest(subject, wrong, case, seeds).size)


def test_a_planted_pixel_is_found_where_it_lies() -> None:
    subject, seeds = bright_pixels()
    pusher = Pusher(subject, Settings())
    found = agreement.to_one(pusher, agreement.push(pusher, seeds, rng()), seeds, rng())
    assert [arm.target for arm in found.arms[:3]] == [0, 1, 2]
    assert [arm.goal for arm in found.arms[3:]] == ["map"] * 3
    assert found.sizes[1] == 1
    assert pusher.spent > 0


def test_the_same_seed_gives_the_same_triggers() -> None:
    subject, seeds = bright_pixels()
    found = []
    for _ in range(2):
        pusher = Pusher(subject, Settings())
        found.append(agreement.to_one(pusher, agreement.push(pusher, seeds, rng(4)), seeds, rng(5)))
    np.testing.assert_array_equal(found[0].sizes, found[1].sizes)
    for one, other in zip(found[0].triggers, found[1].triggers, strict=True):
        np.testing.assert_array_equal(one.arrays["mask"], other.arrays["mask"])


def test_of_many_classes_those_that_seeds_fall_to_are_pushed_to() -> None:
    subject, seeds = bright_pixels(20, side=20)
    pusher = Pusher(subject, replace(Settings(), searched=4))
    seen = agreement.push(pusher, seeds, rng())
    assert len(seen.targets) == 4
    assert 1 in seen.targets  # of the pixel that overrules all others
    assert len(np.unique(seen.seeds.labels)) == 12


def test_little_memory_changes_nothing_and_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, seeds = bright_pixels(2, side=8)
    few = Sample(seeds.images[::10], seeds.labels[::10])
    pushed, pushers = list[int](), [Pusher(each, Settings(iterations=2)) for each in (subject, tight(subject))]
    call = Pusher.__call__

    def counted(pusher: Pusher, images: np.ndarray, *rest: Any) -> tuple[np.ndarray, np.ndarray]:
        pushed.append(len(images))
        return call(pusher, images, *rest)

    monkeypatch.setattr(Pusher, "__call__", counted)
    one, two = (agreement.push(pusher, few, rng()) for pusher in reversed(pushers))
    np.testing.assert_array_equal(one.flipped, two.flipped)
    assert (pushed[0], pushed[-1]) == (1, 4)


def test_cells_are_ranked_one_by_one_and_many_of_them_block_by_block() -> None:
    assert agreement.block_of(np.arange(64), 28).tolist() == list(range(64))
    # Rows 2 to 25 and columns 4 to 27 of a grid 28 wide: 24 x 24 cells in 8 x 8 blocks of 3 x 3.
    cells = (np.arange(2, 26)[:, None] * 28 + np.arange(4, 28)).ravel()
    blocks = agreement.block_of(cells, 28)
    assert np.bincount(blocks).tolist() == [9] * 64
    assert np.unique(cells[blocks == 9] // 28).tolist() == [5, 6, 7]
    assert np.unique(cells[blocks == 9] % 28).tolist() == [7, 8, 9]


def test_the_block_that_decides_is_the_strongest_whatever_fits_memory() -> None:
    weights = np.zeros((16, 16, 2))
    weights[6:8, 4:6, 1] = 1.0  # one block of a patch that covers the whole image
    subject = subject_of(linear(weights.reshape(-1, 2), np.array([1.5, 0.0]), (16, 16, 1)), (16, 16, 1))
    trigger = agreement.patch(np.ones((16, 16, 1), "float32"), np.ones((1, 256, 1)))
    wanted = Sample(np.zeros((3, 16, 16, 1), "float32"), np.ones(3, int))
    found = [agreement.by_effect(each, trigger, wanted).arrays["mask"][..., 0] for each in (subject, tight(subject))]
    assert np.argwhere(found[0] == 1).tolist() == [[6, 4], [6, 5], [7, 4], [7, 5]]
    assert found[0].sum() == 4
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_a_patch_of_no_cells_stays_one() -> None:
    subject, seeds = bright_pixels()
    nothing = agreement.patch(np.ones((8, 8, 1), "float32"), np.zeros((1, 64, 1)))
    assert not agreement.by_effect(subject, nothing, seeds).arrays["mask"].any()
