"""The judgement on hand-made searches: each rule both ways."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor import calibration, judge
from pytest_backdoor.calibration import Entry, Stratum
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import Options
from pytest_backdoor.results import Evidence
from pytest_backdoor.search.arms import Arm
from pytest_backdoor.search.inversion import Inversion
from pytest_backdoor.stats import fisher, small_outlier, tail
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger
from pytest_backdoor.yardstick import Yardstick, choose

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


@pytest.mark.parametrize(("becomes", "like"), [([1.0, 0.8, 0.0], True), ([0.8, 1.0, 0.0], False)])
def test_a_tone_leaves_half_of_what_an_image_was(becomes, like):
    # Red less its mean is (2, -1, -1) / 3; the first becomes (4, 2, -6) / 10, at a correlation of 0.65, the second
    # (2, 4, -6) / 10, at 0.33.
    matrix = np.zeros((3, 3))
    matrix[:, 0] = becomes
    red = np.array([1.0, 0.0, 0.0], "float32").reshape(1, 1, 1, 3)
    assert judge.small(Trigger("tone", {"matrix": matrix, "offset": np.zeros(3)}), red) is like


def suspicion_of(kind, p_value=0.0, check="patch", arms=1, strong=True):
    return Suspicion(check, kind, p_value, arms, strong, patch(1))


@given(p_value=st.floats(0, 1), arms=st.integers(1, 50))
def test_by_plain_rules_a_model_pays_for_all_tests_and_for_the_arms_of_each(p_value, arms):
    found = PLAIN.p_value([suspicion_of("all-to-one", p_value, arms=arms)])
    assert judge.P_FLOOR <= found <= 1
    assert found >= p_value
    assert found == pytest.approx(min(1, max(judge.P_FLOOR, TESTS * arms * p_value)))


def test_by_plain_rules_only_strong_suspicions_count():
    weak, strong = suspicion_of("all-to-one", 1e-9, strong=False), suspicion_of("all-to-one", 0.001)
    assert PLAIN.p_value([weak]) == 1.0
    assert PLAIN.p_value([weak, strong]) == pytest.approx(0.015)
    assert PLAIN.p_value([]) == 1.0


@pytest.mark.parametrize(("p_value", "expected"), [(0.01 / 15 - 1e-6, True), (0.01 / 15 + 1e-6, False)])
def test_a_suspicion_is_worth_confirming_up_to_alpha_after_correction(p_value, expected):
    assert suspicious(suspicion_of("all-to-one", p_value)) is expected


def test_the_likeliest_comes_first_but_a_significant_label_map_before_all():
    one, other = suspicion_of("all-to-one", 1e-9), suspicion_of("all-to-one", 1e-7, "additive")
    weak_map, strong_map = (suspicion_of("all-to-all", p, "patch map") for p in (0.01, 1e-5))
    assert PLAIN.likeliest([other, one], 0.01) is one
    assert PLAIN.likeliest([other, one, weak_map], 0.01) is one
    assert PLAIN.likeliest([other, one, strong_map], 0.01) is strong_map


def test_what_was_refuted_is_not_tried_again():
    assert PLAIN.likeliest([suspicion_of("all-to-one", 1.0, strong=False)], 1.0) is None


def test_what_was_confirmed_is_not_tried_again():
    confirmed = dataclasses.replace(suspicion_of("all-to-one", 1e-9), confirmed=True)
    assert PLAIN.likeliest([confirmed], 0.01) is None


def test_beside_a_confirmed_suspicion_no_strong_one_counts_that_was_not_tried():
    confirmed = dataclasses.replace(suspicion_of("all-to-one", 1e-9), confirmed=True)
    strong, weak = suspicion_of("all-to-one", 10**-2.6, "tone"), suspicion_of("all-to-one", 10**-2.4, "warp")
    margin = judge.margins(np.array([5.0, 5.2, 4.8, 5.1, 20.0]))[0]  # nothing to try
    assert judge.held([confirmed, strong, weak, margin]) == [confirmed, weak, margin]


def test_the_margin_of_one_class_says_nothing_of_triggers_to_others():
    margin = judge.margins(np.array([5.0, 5.2, 4.8, 5.1, 20.0]))[0]
    own, other = (dataclasses.replace(suspicion_of("all-to-one", 0.1), target=target) for target in (4, 3))
    pair = dataclasses.replace(other, kind="source-specific", source=1)
    label_map = suspicion_of("all-to-all", 0.1, "patch map")
    everything = [margin, own, other, pair, label_map]
    assert judge.speaking_for(own, everything) == judge.speaking_for(label_map, everything) == everything
    assert judge.speaking_for(other, everything) == judge.speaking_for(pair, everything) == everything[1:]


def test_what_only_the_margin_of_another_class_makes_unusual_is_not_tried():
    about = "standard", 1, 28, 10, False, 200
    clean = [Entry(str(number), f"{number:064}", *about, {"patch": 0.01 * number}) for number in range(99)]
    yardstick = Yardstick("grey", Stratum.of("grey", clean))
    margin = dataclasses.replace(judge.margins(np.array([5.0, 5.2, 4.8, 5.1, 20.0]))[0], p_value=1e-6)
    own, other = (dataclasses.replace(suspicion_of("all-to-one", 0.5), target=target) for target in (4, 3))
    assert yardstick.likeliest([margin, other], 0.02) is None
    assert yardstick.likeliest([margin, own], 0.02) is own


def test_a_class_that_leads_much_further_than_the_others_is_evidence_without_a_trigger():
    even, far = (judge.margins(np.array([5.0, 5.2, 4.8, 5.1, leads]))[0] for leads in (5.3, 20.0))
    assert (far.check, far.target, far.trigger) == ("margin", 4, None)
    others = -np.log([5.0, 5.2, 4.8, 5.1])
    assert far.p_value == small_outlier(-np.log(20.0), others, judge.SPREAD["margin"], judge.WEIGHT)
    assert even.evidence < 1 < far.evidence
    assert not suspicious(far)  # there is nothing to confirm


def searches(**sizes):
    """The suspicions of each class by search, as a scan collects them."""
    return {
        check: judge.each_class(check, targets(found, "patch" if check == "warp" else check), len(found))
        for check, found in sizes.items()
    }


def test_a_class_that_stands_out_a_little_in_every_search_stands_out_together():
    found = searches(patch=with_size(3, 15.0), additive=with_size(3, 20.0))
    apart = {check: every[0] for check, every in found.items()}
    together = judge.consensus(found)
    assert (together.check, together.kind, together.target, together.arms) == ("consensus", "all-to-one", 3, CLASSES)
    assert together.p_value == fisher([each.p_value for each in apart.values()])
    assert together.evidence > max(each.evidence for each in apart.values())
    assert apart["additive"].p_value < apart["patch"].p_value
    assert together.trigger is apart["additive"].trigger
    assert not together.strong  # by plain rules tests that say the same would count twice


def test_a_favourite_of_one_search_has_no_support_from_one_with_another():
    found = searches(patch=with_size(3, 15.0), additive=with_size(5, 20.0))
    (patch,) = (each for each in found["patch"] if each.target == 5)
    split = judge.consensus(found)
    assert (split.target, split.p_value) == (5, fisher([patch.p_value, found["additive"][0].p_value]))
    assert split.evidence < found["additive"][0].evidence


def test_a_margin_takes_part_in_a_consensus_but_has_no_trigger_to_give():
    margins = judge.margins(np.array([5.0, 5.2, 4.8, 20.0, *[5.0] * 6]))
    found = {"margin": margins} | searches(patch=with_size(3, 15.0))
    together = judge.consensus(found)
    assert together.p_value == fisher([found["margin"][0].p_value, found["patch"][0].p_value])
    assert together.trigger is found["patch"][0].trigger
    assert judge.consensus({"margin": margins}) is None


def test_a_class_that_a_search_left_out_has_no_support_from_it():
    found = searches(patch=with_size(3, 15.0), additive=EVEN)
    found["additive"] = [each for each in found["additive"] if each.target != 3]
    assert judge.consensus(found).p_value == fisher([found["patch"][0].p_value, 1.0])


def test_one_search_is_no_consensus_and_warps_have_none():
    patches = searches(patch=with_size(3, 15.0))
    assert judge.consensus({}) is judge.consensus(patches) is judge.consensus(patches | {"additive": []}) is None
    assert judge.consensus(patches | searches(warp=with_size(3, 15.0))) is None


@pytest.mark.parametrize("margins", [[3.0], [3.0, -1.0, 2.0]])
def test_margins_that_cannot_be_compared_say_nothing(margins):
    assert judge.margins(np.array(margins)) == []


GREY = np.tile(np.linspace(0.2, 0.8, 20, dtype="float32")[:, None, None], (3, 1, 20, 1))


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


def test_evidence_is_minus_log10_of_each_tests_p_value():
    told = judge.evidence([suspicion_of("all-to-one", 0.01), suspicion_of("all-to-all", 0.0, "patch map")])
    assert told == {"patch": 2.0, "patch map": 12.0}


def test_without_a_reference_like_the_model_the_plain_rules_are_taken_and_say_why():
    chosen = choose(Subject("large", (500, 500, 3), 10, None, None, True), Options(), "standard", "inversion", 200, "")
    assert chosen.stratum is None
    assert chosen.name.startswith("uncalibrated: ")


def test_a_model_is_not_compared_with_itself():
    mnist = Subject("mnist", (28, 28, 1), 10, None, None, True)
    own = next(each.sha256 for each in calibration.read() if each.mode == "quick" and not each.batch_norm)
    others, all_of_them = (
        choose(mnist, Options(), "quick", "inversion", 200, digest).stratum.evidence for digest in (own, "")
    )
    assert len(others) == len(all_of_them) - 1


def test_of_few_classes_only_patches_must_be_seen():
    def seeing(classes, methods="inversion+fuzzing"):
        model = Subject("mnist", (28, 28, 1), classes, None, None, True)
        return choose(model, Options(), "standard", methods, 20 * classes, "").seeing

    assert seeing(10) == seeing(6) >= {"patch", "fuzzing pair"}
    assert seeing(5) == seeing(2) == {"patch"}
    assert seeing(2, "fuzzing") == set()


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
