"""Minimising by hand: from a smear of pixels to the one that decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor.confirm.minimise import minimise
from pytest_backdoor.confirm.transfer import success
from pytest_backdoor.triggers.cells import cell_strength, opacity, restrict
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import bright_pixels


def smear(strengths, side=8):
    """A white patch of half-open cells: {(row, column): mask}."""
    mask = np.zeros((side, side, 1), "float32")
    for place, strength in strengths.items():
        mask[place] = strength
    return Trigger("patch", {"mask": mask, "pattern": np.ones((side, side, 1), "float32")})


def cells(trigger):
    return {(int(row), int(column)) for row, column in np.argwhere(cell_strength(trigger) > 0.01)}


def needs(*wanted):
    """Full success where the trigger keeps all of these cells, else none."""
    return lambda trigger: float(set(wanted) <= cells(trigger))


@pytest.fixture(scope="module")
def to_one():
    """Success of a trigger on the model whose pixel (5, 5) decides for class 1."""
    subject, seeds = bright_pixels()
    return lambda trigger: success(subject, trigger, seeds, {0: 1, 2: 1}).value


def test_the_single_deciding_pixel_is_what_is_left(to_one):
    blurred = smear({(5, 5): 0.6, (5, 6): 0.8, (2, 2): 0.7, (7, 1): 0.3, (6, 6): 0.05})
    assert to_one(blurred) == 1.0
    smallest = minimise(blurred, to_one)
    assert cells(smallest) == {(5, 5)}
    assert smallest.arrays["mask"].sum() == 1.0
    assert smallest.arrays["pattern"].sum() == 1.0


def test_the_deciding_cell_of_an_additive_trigger_is_what_is_left(to_one):
    delta = np.zeros((8, 8, 1), "float32")
    delta[5, 5], delta[1, 1], delta[3, 3] = 0.4, -0.5, 0.2
    smallest = minimise(Trigger("additive", {"delta": delta}), to_one)
    assert cells(smallest) == {(5, 5)}
    assert smallest.arrays["delta"][5, 5, 0] == np.float32(0.4)


def test_cells_that_need_each_other_stay_together():
    trigger = smear({(0, 0): 0.9, (1, 1): 0.8, (2, 2): 0.7, (3, 3): 0.6})
    assert cells(minimise(trigger, needs((1, 1), (3, 3)))) == {(1, 1), (3, 3)}


def test_of_two_cells_that_do_the_same_the_weaker_one_goes():
    trigger = smear({(0, 0): 0.9, (1, 1): 0.8, (2, 2): 0.7})

    def either(given):
        return float((2, 2) in cells(given) and bool({(0, 0), (1, 1)} & cells(given)))

    assert cells(minimise(trigger, either)) == {(0, 0), (2, 2)}


def test_a_trigger_that_cannot_be_cut_stays_as_it_is():
    trigger = smear({(0, 0): 0.5, (1, 1): 0.5})
    full_only = {0.5: 1.0}  # opaque cells do not work
    assert minimise(trigger, lambda given: full_only.get(float(given.arrays["mask"].max()), 0.0)) is trigger


def test_two_points_of_success_may_be_lost_and_no_more():
    trigger = smear({(0, 0): 0.9, (1, 1): 0.8})

    def losing(points):
        return lambda given: 1.0 - (0 if (1, 1) in cells(given) else points)

    assert cells(minimise(trigger, losing(0.019))) == {(0, 0)}
    assert (1, 1) in cells(minimise(trigger, losing(0.021)))


@given(data=st.data())
def test_what_is_needed_is_exactly_what_is_kept(data):
    places = st.tuples(st.integers(0, 4), st.integers(0, 4))
    strengths = data.draw(st.dictionaries(places, st.floats(0.0625, 1, width=16), min_size=1, max_size=12))
    wanted = data.draw(st.sets(st.sampled_from(sorted(strengths)), min_size=1))
    assert cells(minimise(smear(strengths, side=5), needs(*wanted))) == wanted


def test_a_restricted_patch_is_opaque_on_its_cells_and_nothing_elsewhere():
    part = restrict(smear({(0, 1): 0.5, (1, 0): 0.5}, side=2), np.array([1]))
    assert part.arrays["mask"][..., 0].tolist() == [[0, 1], [0, 0]]
    assert part.arrays["pattern"][..., 0].tolist() == [[0, 1], [0, 0]]


def test_the_strength_of_a_cell_is_its_mask_or_its_largest_change():
    delta = np.array([[[0.1, -0.4, 0.2]]], "float32")
    assert cell_strength(Trigger("additive", {"delta": delta})).tolist() == [[np.float32(0.4)]]
    assert cell_strength(smear({(0, 0): 0.25}, side=1)).tolist() == [[0.25]]


def test_the_opacity_is_the_strength_weighted_by_itself():
    assert opacity(smear({(1, 1): 1.0, (2, 5): 1.0})) == pytest.approx(1.0)
    assert opacity(smear({(1, 1): 0.9, (2, 5): 0.3})) == pytest.approx((0.81 + 0.09) / 1.2)
    assert opacity(smear({(row, column): 0.01 for row in range(8) for column in range(8)})) == pytest.approx(0.01)
    assert opacity(smear({})) == 0.0
