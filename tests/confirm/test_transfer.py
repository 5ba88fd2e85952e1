"""Transfer by hand, on a model that reads the class off one bright pixel."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.attacks import pixel
from pytest_backdoor.confirm.transfer import flows, spill, success
from pytest_backdoor.contract import Sample
from pytest_backdoor.stats import share
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import bright_pixels

SHAPE = (8, 8, 1)
PLANTED, INERT = pixel(SHAPE, 5, 5), pixel(SHAPE, 6, 6)
TO_ONE = {0: 1, 2: 1}


@pytest.fixture(scope="module")
def planted():
    return bright_pixels()


def shift_right():
    """Moves the first row's pixels: class 0 shows white where class 1 does, and so on, and nothing for itself."""
    delta = np.zeros(SHAPE, "float32")
    delta[0, 1] = 0.5
    return Trigger("additive", {"delta": delta})


def test_flows_are_shares_of_each_row_by_hand(planted):
    expected = np.zeros((3, 3))
    expected[:, 1] = 1.0
    assert np.array_equal(flows(*_with(planted, PLANTED)), expected)
    assert np.array_equal(flows(*_with(planted, INERT)), np.eye(3))


def test_flows_are_the_same_where_memory_holds_one_image_only(planted):
    subject, seeds = planted
    tight = dataclasses.replace(subject, memory=1)
    assert np.array_equal(flows(tight, PLANTED, seeds), flows(subject, PLANTED, seeds))
    assert len(tight.classes_under(PLANTED.apply, seeds.images[:0])) == 0


def test_ties_go_to_the_first_class_so_that_only_some_classes_flow(planted):
    # 0.5 at (0, 1) ties with class 0, which comes first, and wins against class 2.
    assert np.array_equal(flows(*_with(planted, shift_right())), [[1, 0, 0], [0, 1, 0], [0, 1, 0]])


def test_a_class_without_seeds_flows_nowhere(planted):
    subject, seeds = planted
    few = Sample(seeds.images[:10], seeds.labels[:10])
    assert flows(subject, PLANTED, few).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_a_planted_trigger_transfers_and_an_inert_one_does_not(planted):
    assert success(*_with(planted, PLANTED), TO_ONE) == share("transfer", 20, 20)
    assert success(*_with(planted, INERT), TO_ONE) == share("transfer", 0, 20)


def test_success_is_that_of_the_mapped_classes(planted):
    assert success(*_with(planted, shift_right()), TO_ONE) == share("transfer", 10, 20)
    assert success(*_with(planted, shift_right()), {2: 1}) == share("transfer", 10, 10)
    assert success(*_with(planted, PLANTED), {0: 2, 2: 1}) == share("transfer", 10, 20)


def test_spill_is_the_share_of_third_classes_that_follow(planted):
    subject, seeds = planted
    assert spill(subject, PLANTED, seeds, source=0, target=1) == 1.0
    assert spill(subject, INERT, seeds, source=0, target=1) == 0.0
    assert spill(subject, PLANTED, Sample(seeds.images[:10], seeds.labels[:10]), source=0, target=1) == 0.0


def test_without_seeds_of_the_mapped_classes_nothing_is_known(planted):
    subject, seeds = planted
    assert success(subject, PLANTED, Sample(seeds.images[:10], seeds.labels[:10]), {2: 1}).interval == (0.0, 1.0)


def _with(planted, trigger):
    subject, seeds = planted
    return subject, trigger, seeds
