"""The judgement on hand-made searches: each rule both ways."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor import judge
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.stats import small_outlier, tail
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.yardstick import Yardstick

CLASSES = 10
EVEN = [40.0, 44, 38, 41, 43, 39, 42, 45, 37, 40]  # pixels that each class of a clean model needs
NEXT_CLASS = np.roll(np.eye(CLASSES), 1, axis=1) * 0.8 + 0.02
UNMOVED = np.eye(CLASSES) * 0.9 + 0.01


def patch(pixels, side=20):
    """A patch over so many pixels."""
    mask = np.zeros((side, side, 1), "float32")
    mask.flat[:pixels] = 1.0
    return Trigger("patch", {"mask": mask, "pattern": mask})


def additive(change):
    return Trigger("additive", {"delta": np.full((20, 20, 1), change, "float32")})


def inversion(arms, sizes, family="patch"):
    """A search that came to these sizes; each arm's trigger says its number by its pixels."""
    shown = [patch(number + 1) if family == "patch" else additive(0.01) for number in range(len(arms))]
    return Inversion(family, tuple(arms), np.array(sizes, float), np.ones(len(sizes)), tuple(shown), (20, 20, 1), 0)


def targets(sizes, family="patch"):
    return inversion([Arm("target", 1, 0.95, target=label) for label in range(len(sizes))], sizes, family)


def with_size(label, size):
    sizes = list(EVEN)
    sizes[label] = size
    return sizes


def mapped(size, others=EVEN):
    """Ten target arms and one free label map, arm 10."""
    arms = [Arm("target", 1, 0.95, target=label) for label in range(CLASSES)] + [Arm("map", 1, 0.7)]
    return inversion(arms, [*others, size])


def pairs(sizes):
    """A search for pairs: {(source, target): size}."""
    arms = [Arm("target", 1, 0.95, target=target, source=source) for source, target in sizes]
    return inversion(arms, list(sizes.values()))


TESTS = len(judge.TESTS["inversion"])
PLAIN = Yardstick("plain rules", None, TESTS)


def suspicious(suspicion):
    """Whether the plain rules would have the suspicion confirmed."""
    return PLAIN.likeliest([suspicion], 0.01) is suspicion


def test_one_class_with_a_tiny_patch_is_suspicious():
    suspicion = judge.one_class("patch", targets(with_size(3, 2.0)), CLASSES)
    assert (suspicion.kind, suspicion.target, suspicion.arms) == ("all-to-one", 3, 10)
    others = np.log(np.delete(EVEN, 3))
    assert suspicion.p_value == small_outlier(np.log(2.0), others, judge.SPREAD["patch"], judge.WEIGHT)
    assert suspicion.evidence == pytest.approx(-np.log10(suspicion.p_value))
    assert suspicion.trigger.arrays["mask"].sum() == 4  # the trigger of arm 3
    assert suspicious(suspicion)


def test_even_classes_are_not_suspicious():
    suspicion = judge.one_class("patch", targets(EVEN), CLASSES)
    assert suspicion.target == 8
    assert not suspicion.strong
    assert not suspicious(suspicion)


@pytest.mark.parametrize("check", judge.SEARCHES)
def test_a_class_is_strong_if_it_needs_far_less_than_the_median_however_even_the_others_are(check):
    even = [100.0] * CLASSES
    limit = 100 * judge.RATIO[check]
    below, above = ([limit * factor, *even[1:]] for factor in (0.99, 1.01))
    assert judge.one_class(check, targets(below), CLASSES).strong
    assert not judge.one_class(check, targets(above), CLASSES).strong


def test_a_class_without_a_trigger_counts_as_the_whole_image():
    def against(others):
        return small_outlier(np.log(2.0), np.log(others), judge.SPREAD["patch"], judge.WEIGHT)

    assert judge.one_class("patch", targets([2.0, np.nan, np.nan]), CLASSES).p_value == against([400.0, 400.0])
    confined = judge.one_class("confined", targets([2.0, np.nan, np.nan]), CLASSES)
    window = small_outlier(np.log(2.0), np.log([25.0, 25.0]), judge.SPREAD["confined"], judge.WEIGHT)
    assert confined.p_value == window  # a window of 5 x 5
    faint = judge.one_class("additive", targets([2.0, np.nan, np.nan], "additive"), CLASSES)
    whole = small_outlier(np.log(2.0), np.log([20.0, 20.0]), judge.SPREAD["additive"], judge.WEIGHT)
    assert faint.p_value == whole  # all 400 cells changed from black to white


def test_a_class_that_was_searched_twice_counts_once_with_the_smaller_trigger():
    once, arms = targets(with_size(3, 2.0)), targets(with_size(3, 2.0)).arms
    twice = inversion([*arms, arms[3], arms[4]], [*with_size(3, 30.0), 2.0, 99.0])
    assert judge.one_class("patch", twice, CLASSES).p_value == judge.one_class("patch", once, CLASSES).p_value
    assert judge.one_class("patch", twice, CLASSES).trigger is twice.triggers[10]


def test_classes_that_all_have_no_trigger_say_nothing():
    assert judge.one_class("patch", targets([np.nan] * 3), CLASSES) is None


def test_targets_that_are_known_are_left_out():
    sizes = with_size(3, 2.0)
    without = [size for label, size in enumerate(sizes) if label != 3]
    suspicion = judge.one_class("patch", targets(sizes), CLASSES, known={3})
    assert suspicion.target != 3
    assert suspicion.p_value == judge.one_class("patch", targets(without), CLASSES).p_value
    assert judge.one_class("patch", targets([2.0, 3.0]), CLASSES, known={0}) is None


def test_every_class_is_compared_with_the_others_the_smallest_first():
    found = targets(with_size(3, 2.0))
    every = judge.each_class("patch", found, CLASSES)
    assert every[0].p_value == judge.one_class("patch", found, CLASSES).p_value
    assert [each.target for each in every] == [3, 8, 2, 5, 0, 9, 6, 4, 1, 7]
    others = np.log(with_size(3, 2.0))[np.arange(CLASSES) != 8]
    assert every[1].p_value == small_outlier(np.log(37.0), others, judge.SPREAD["patch"], judge.WEIGHT)
    assert every[1].trigger is found.triggers[8]


def test_one_class_alone_says_nothing():
    assert judge.one_class("confined", targets([3.0]), CLASSES) is None


@pytest.mark.parametrize("classes", [43, 1283])
def test_a_clean_model_alarms_no_more_often_where_only_the_smallest_of_many_classes_are_searched(classes):
    drawn = np.exp(np.random.default_rng(classes).normal(4, judge.SPREAD["patch"], (400, classes)))
    searched = np.sort(drawn)[:, :16]
    found = [judge.one_class("patch", targets(sizes), classes) for sizes in searched]
    assert np.mean([each.arms * each.p_value <= 0.05 for each in found]) <= 0.05


def test_an_outlier_among_the_smallest_of_many_classes_is_still_suspicious():
    hardest = [30.0, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44]
    assert suspicious(judge.one_class("patch", targets([3.0, *hardest]), 43))
    assert not suspicious(judge.one_class("patch", targets([20.0, *hardest]), 43))


def test_a_small_trigger_that_shifts_all_labels_is_a_label_map():
    suspicion = judge.label_map("patch", mapped(3.0), {10: NEXT_CLASS})
    assert (suspicion.check, suspicion.kind, suspicion.strong) == ("patch map", "all-to-all", True)
    assert suspicion.mapping == {label: (label + 1) % 10 for label in range(10)}
    assert suspicious(suspicion)


def test_a_small_trigger_that_moves_nothing_is_none():
    assert not judge.label_map("patch", mapped(3.0), {10: UNMOVED}).strong


def test_a_large_trigger_that_shifts_all_labels_is_less_suspicious_than_a_small_one():
    small, large = (judge.label_map("patch", mapped(size), {10: NEXT_CLASS}).p_value for size in (3.0, 200.0))
    assert small < 1e-3 * large


def test_a_map_that_was_not_reached_says_nothing():
    assert judge.label_map("patch", mapped(np.nan), {10: NEXT_CLASS}) is None


def test_a_match_that_natural_flows_reach_is_no_label_map():
    to_two = np.zeros((CLASSES, CLASSES))
    to_two[:, 3], to_two[:, 8] = 0.5, 0.5  # two classes draw all the others: match 0.1
    assert not judge.label_map("patch", mapped(3.0), {10: to_two}).strong


def test_a_warp_must_match_better_to_be_a_label_map():
    half = NEXT_CLASS * 0.6  # match 0.49
    found = mapped(3.0)
    assert judge.label_map("patch", found, {10: half}).strong
    assert not judge.label_map("warp", dataclasses.replace(found, family="warp"), {10: half}).strong


def test_two_classes_that_swap_are_no_label_map_because_any_universal_trigger_swaps_them():
    arms = [*(Arm("target", 1, 0.95, target=label) for label in range(2)), Arm("map", 1, 0.7)]
    swapped = judge.label_map("patch", inversion(arms, [40.0, 41.0, 39.0]), {2: np.array([[0.0, 1.0], [1.0, 0.0]])})
    assert not suspicious(swapped)


@pytest.mark.parametrize(("classes", "least"), [(2, 0.75), (3, 0.5), (4, 0.4), (10, 0.4), (1000, 0.4)])
def test_a_label_map_sends_more_than_one_class_right(classes, least):
    assert judge.least_match("patch", classes) == least


def test_a_trigger_to_one_of_two_classes_is_no_label_map_however_small():
    arms = [*(Arm("target", 1, 0.95, target=label) for label in range(2)), Arm("map", 1, 0.7)]
    to_one, both = np.array([[0.0, 1.0], [0.1, 0.9]]), np.array([[0.1, 0.9], [0.9, 0.1]])
    assert not judge.label_map("patch", inversion(arms, [80.0, 81.0, 0.1]), {2: to_one}).strong
    assert judge.label_map("patch", inversion(arms, [80.0, 81.0, 0.1]), {2: both}).strong


def test_of_more_than_twelve_classes_a_match_is_measured_in_shares_of_the_classes():
    half = np.roll(np.eye(24), 1, axis=1) * 0.5
    arms = [*(Arm("target", 1, 0.95, target=label) for label in range(10)), Arm("map", 1, 0.7)]
    crowd = judge.label_map("patch", inversion(arms, [*EVEN, 3.0]), {10: half})
    twelve = judge.label_map("patch", inversion(arms, [*EVEN, 3.0]), {10: np.roll(np.eye(12), 1, axis=1) * 0.5})
    assert crowd.p_value == pytest.approx(twelve.p_value)


def test_the_better_of_two_maps_is_taken_and_paid_for():
    arms = [*mapped(3.0).arms, Arm("away", 1, 0.95)]
    found = inversion(arms, [*EVEN, 3.0, 3.0])
    both = judge.label_map("patch", found, {10: UNMOVED, 11: NEXT_CLASS})
    alone = judge.label_map("patch", found, {11: NEXT_CLASS})
    assert both.trigger is found.triggers[11]
    assert (both.p_value, both.arms, alone.arms) == (alone.p_value, 2, 1)


NATURAL = {(4, 9): 8.0, (9, 4): 8.6, (7, 9): 9.5, (3, 5): 10.0, (5, 3): 11.0, (1, 7): 14.0}


def pair_suspicion(sizes, spill=0.0):
    return judge.pair("pair", pairs(sizes), np.full(len(sizes), spill), 10)


def chance_of_pair(size, following):
    return tail((judge.PAIR_CENTER - 2 * np.log(size) + np.log(following)) / judge.PAIR_SPREAD, judge.CLEAN_WEIGHT)


def test_one_pair_with_a_tiny_trigger_is_suspicious():
    suspicion = pair_suspicion(NATURAL | {(4, 7): 2.0})
    assert (suspicion.kind, suspicion.source, suspicion.target) == ("source-specific", 4, 7)
    assert suspicion.p_value == pytest.approx(chance_of_pair(2.0, 8.0))
    assert suspicious(suspicion)


def test_a_trigger_that_takes_the_other_classes_along_is_not_source_specific():
    sizes = NATURAL | {(4, 7): 2.0}
    assert pair_suspicion(sizes, spill=0.1).source == 4
    assert pair_suspicion(sizes, spill=0.11) is None


def test_a_hardly_visible_change_of_many_cells_is_no_patch_for_a_pair():
    found = pairs(NATURAL | {(4, 7): 0.2})
    faint = np.full((20, 20, 1), 0.005, "float32")
    triggers = (*found.triggers[:-1], Trigger("patch", {"mask": faint, "pattern": faint}))
    suspicion = judge.pair("pair", dataclasses.replace(found, triggers=triggers), np.zeros(len(found.arms)), 10)
    assert (suspicion.source, suspicion.target) == (4, 9)


@pytest.mark.parametrize(("opacity", "pair"), [(0.1, (4, 9)), (0.3, (4, 7))])
def test_a_patch_for_a_pair_hides_a_fifth_of_what_is_behind_it(opacity, pair):
    found = pairs(NATURAL | {(4, 7): 2.0})
    veil = patch(20).arrays["mask"]
    triggers = (*found.triggers[:-1], Trigger("patch", {"mask": opacity * veil, "pattern": veil}))
    suspicion = judge.pair("pair", dataclasses.replace(found, triggers=triggers), np.zeros(len(found.arms)), 10)
    assert (suspicion.source, suspicion.target) == pair


def test_natural_pairs_are_not_suspicious():
    suspicion = pair_suspicion(NATURAL)
    assert (suspicion.source, suspicion.target) == (4, 9)
    assert not suspicion.strong  # 8 pixels are no outlier beside 8.6


def test_tiny_triggers_for_many_pairs_are_a_weak_model_and_no_backdoor():
    weak = {pair: size / 10 for pair, size in NATURAL.items()}
    assert not pair_suspicion(weak).strong


def test_a_pair_alone_is_compared_with_the_whole_image():
    assert pair_suspicion({(4, 7): 20.0}).p_value == pytest.approx(chance_of_pair(20.0, 400.0))


def test_the_smallest_of_more_pairs_is_corrected_for_them():
    def tries(classes):
        return judge.pair("pair", pairs(NATURAL | {(4, 7): 2.0}), np.zeros(7), classes).arms

    assert [tries(classes) for classes in (2, 10, 12, 43)] == [1, 1, 1, 14]  # the center was measured on ten classes


def test_a_pair_of_two_classes_is_all_to_one():
    suspicion = judge.pair("pair", pairs({(0, 1): 2.0, (1, 0): 40.0}), np.zeros(2), 2)
    assert (suspicion.kind, suspicion.source, suspicion.target) == ("all-to-one", None, 1)


def test_pairs_that_found_nothing_say_nothing():
    assert pair_suspicion(dict.fromkeys(NATURAL, np.nan)) is None
