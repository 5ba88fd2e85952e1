"""How alike triggers from fresh starts are, by hand."""

import numpy as np
import pytest

from pytest_backdoor.attacks import pixel
from pytest_backdoor.confirm.repetition import cosine, overlap, repetition
from pytest_backdoor.triggers.trigger import Trigger

SHAPE = (4, 4, 1)
IMAGES = np.full((3, *SHAPE), 0.5, "float32")


def patch(*cells):
    mask = np.zeros((4, 4, 1), "float32")
    mask.flat[list(cells)] = 1.0
    return Trigger("patch", {"mask": mask, "pattern": np.ones(SHAPE, "float32")})


def additive(*values):
    delta = np.zeros(SHAPE, "float32")
    delta.flat[: len(values)] = values
    return Trigger("additive", {"delta": delta})


def test_masks_overlap_by_intersection_over_union():
    assert overlap(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])) == pytest.approx(1 / 3)
    assert overlap(np.array([0.5, 1.0]), np.array([1.0, 0.25])) == pytest.approx((0.5 + 0.25) / 2)
    assert overlap(np.zeros(3), np.zeros(3)) == 0.0


def test_changes_are_compared_by_their_cosine():
    assert cosine(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(0.6)
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_three_patches_agree_by_the_mean_of_their_pairs():
    # {0, 1} and {1, 2} share one of three cells, {0, 1} and {0, 1} both, so do {1, 2} and {0, 1} again one of three.
    assert repetition([patch(0, 1), patch(1, 2), patch(0, 1)], IMAGES).value == pytest.approx(
        (1 / 3 + 1 + 1 / 3) / 3, abs=1e-4
    )


def test_additive_triggers_agree_where_they_point_the_same_way():
    assert repetition([additive(0.1, 0.1), additive(0.2, 0.2)], IMAGES).value == pytest.approx(1.0, abs=1e-4)
    assert repetition([additive(0.1), additive(0.0, 0.1)], IMAGES).value == pytest.approx(0.0, abs=1e-4)
    assert repetition([additive(0.1), additive(-0.1)], IMAGES).value == 0.0  # the opposite is no agreement


def test_one_start_says_nothing():
    assert repetition([pixel(SHAPE, 1, 1)], IMAGES) is None
