"""What a trigger must do on held-out seeds, and how small it must be: each bar both ways."""

import numpy as np
import pytest

from pytest_backdoor import judge
from pytest_backdoor.results import Evidence
from pytest_backdoor.triggers.trigger import Trigger
from tests.test_judge import additive, patch
from tests.test_judge_evidence import suspicion_of

GREY = np.tile(np.linspace(0.2, 0.8, 20, dtype="float32")[:, None, None], (3, 1, 20, 1))


@pytest.mark.parametrize(("becomes", "like"), [([1.0, 0.8, 0.0], True), ([0.8, 1.0, 0.0], False)])
def test_a_tone_leaves_half_of_what_an_image_was(becomes, like):
    # Red less its mean is (2, -1, -1) / 3; the first becomes (4, 2, -6) / 10, at a correlation of 0.65, the second
    # (2, 4, -6) / 10, at 0.33.
    matrix = np.zeros((3, 3))
    matrix[:, 0] = becomes
    red = np.array([1.0, 0.0, 0.0], "float32").reshape(1, 1, 1, 3)
    assert judge.small(Trigger("tone", {"matrix": matrix, "offset": np.zeros(3)}), red) is like


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (patch(59), True),
        (patch(61), False),
        (additive(0.125), True),
        (additive(-0.125), True),
        (additive(0.13), False),
        (Trigger("warp", {"control": np.full((5, 5, 2), 1.0, "float32")}), True),  # 1.41 of 20 / 14 pixels
        (Trigger("warp", {"control": np.full((5, 5, 2), 1.02, "float32")}), False),
        (Trigger("tone", {"matrix": np.full((1, 1), 0.3), "offset": np.full(1, 0.3)}), True),
        (Trigger("tone", {"matrix": np.full((1, 1), -1.0), "offset": np.full(1, 1.0)}), False),  # a negative
        (Trigger("tone", {"matrix": np.zeros((1, 1)), "offset": np.full(1, 0.5)}), False),  # nothing is left
    ],
)
def test_a_trigger_is_small_if_it_could_pass_unseen_or_for_a_property_of_the_photo(trigger, expected):
    assert judge.small(trigger, GREY) is expected


@pytest.mark.parametrize(
    ("kind", "low", "match", "expected"),
    [
        ("all-to-one", 0.81, 0.0, True),
        ("all-to-one", 0.79, 1.0, False),
        ("source-specific", 0.31, 0.0, True),
        ("source-specific", 0.29, 1.0, False),
        ("all-to-all", 0.0, 0.41, True),
        ("all-to-all", 1.0, 0.39, False),
    ],
)
def test_each_kind_has_its_own_bar_on_held_out_seeds(kind, low, match, expected):
    transfer = Evidence("transfer", 1.0, (low, 1.0))
    assert judge.confirmed(suspicion_of(kind), patch(3), GREY, transfer, match, 9) is expected
    assert not judge.confirmed(suspicion_of(kind), patch(200), GREY, transfer, match, 9)


@pytest.mark.parametrize(
    ("low", "match", "expected"),
    [
        (0.0, 0.61, True),
        (0.0, 0.59, False),
        (0.3, 0.59, True),
        (0.29, 0.59, False),
        (0.3, 0.41, True),
        (0.9, 0.39, False),
    ],
)
def test_a_warp_for_a_label_map_needs_less_of_a_match_where_it_surely_works(low, match, expected):
    warp = Trigger("warp", {"control": np.ones((5, 5, 2), "float32")})
    transfer = Evidence("transfer", 1.0, (low, 1.0))
    assert judge.confirmed(suspicion_of("all-to-all"), warp, GREY, transfer, match, 9) is expected


def test_success_without_an_interval_confirms_nothing():
    assert not judge.confirmed(suspicion_of("all-to-one"), patch(3), GREY, Evidence("transfer", 1.0), 1.0, 9)


def test_a_trigger_to_one_class_is_undecided_where_it_does_enough_on_too_few_seeds():
    def undecided(kind, value, sources=9, cells=3):
        seen = Evidence("transfer", value, (0.7, 1.0))
        return judge.undecided(suspicion_of(kind), patch(cells), GREY, seen, sources)

    assert undecided("all-to-one", 0.8)
    assert not undecided("all-to-one", 0.79)
    assert not undecided("all-to-one", 1.0, cells=200)
    assert not undecided("all-to-one", 1.0, sources=1)
    assert not undecided("source-specific", 1.0, sources=1)
    assert not undecided("all-to-all", 1.0)


def test_four_seeds_of_each_class_in_each_half_are_enough():
    enough = np.repeat([0, 1, 2], 4)
    assert judge.seeds_short(enough, enough, 3) == ""
    assert "of class 0 it classifies 7 right, and 8 are needed" in judge.seeds_short(enough[1:], enough, 3)
    assert "of class 2 it classifies 7 right" in judge.seeds_short(enough, enough[:-1], 3)
    assert "of class 3 it classifies 0 right" in judge.seeds_short(enough, enough, 4)
    assert "of class 2 it classifies 6 right (and of 1 other class too few)" in judge.seeds_short(
        enough[1:], enough[:-2], 3
    )


def test_where_one_class_is_left_its_few_seeds_suffice():
    seen = Evidence("transfer", 1.0, (0.7, 1.0))  # 15 of 15
    assert judge.confirmed(suspicion_of("all-to-one"), patch(3), GREY, seen, 0.0, sources=1)
    assert not judge.confirmed(suspicion_of("all-to-one"), patch(3), GREY, seen, 0.0, sources=9)


def test_a_region_is_compared_with_the_best_of_clean_images_seed_by_seed():
    hits = np.ones(20, bool)
    controls = np.zeros((4, 20), bool)
    assert judge.accused(hits, controls, tried=3) == pytest.approx(3 * 2 * 0.5**20)
    controls[2, :15] = True  # five seeds are left that only the suspicious image moves
    assert judge.accused(hits, controls, tried=1) == pytest.approx(2 * 0.5**5)
    assert judge.accused(hits, controls, tried=100) == 1.0


def test_a_region_that_does_less_than_a_clean_one_or_has_few_to_compare_with_is_no_evidence():
    hits = np.arange(20) < 15
    assert judge.accused(hits, np.ones((4, 20), bool), tried=1) == 1.0
    assert judge.accused(np.ones(20, bool), np.zeros((3, 20), bool), tried=1) == 1.0
