"""What the suspicions of a model come to together: plain rules, consensus, margins, and what is tried next."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor import calibration, judge
from pytest_backdoor.calibration import Entry, Stratum
from pytest_backdoor.judge import Suspicion
from pytest_backdoor.options import Options
from pytest_backdoor.stats import fisher, small_outlier
from pytest_backdoor.subject import Subject
from pytest_backdoor.yardstick import Yardstick, choose
from tests.test_judge import CLASSES, EVEN, PLAIN, TESTS, patch, suspicious, targets, with_size


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


def test_evidence_is_minus_log10_of_each_tests_p_value():
    told = judge.evidence([suspicion_of("all-to-one", 0.01), suspicion_of("all-to-all", 0.0, "patch map")])
    assert told == {"patch": 2.0, "patch map": 12.0}
    assert str(suspicion_of("all-to-one", 1.0).evidence) == "0.0"


def test_without_a_reference_like_the_model_the_plain_rules_are_taken_and_say_why():
    chosen = choose(Subject("large", (500, 500, 3), 10, None, None, True), Options(), "standard", "inversion", 200, "")
    assert chosen.stratum is None
    assert chosen.name.startswith("uncalibrated: ")


@pytest.mark.parametrize(
    ("check", "kind", "classes", "proves"),
    [
        ("pair", "source-specific", 6, True),
        ("pair", "source-specific", 5, False),
        ("fuzzing pair", "all-to-one", 2, False),
        ("fuzzing", "all-to-one", 2, False),
        ("fuzzing", "all-to-one", 3, True),
        ("patch", "all-to-one", 2, True),
        ("tone", "all-to-one", 6, False),
    ],
)
def test_by_plain_rules_a_pair_of_few_classes_proves_nothing(check, kind, classes, proves):
    model = Subject("large", (500, 500, 3), classes, None, None, True)
    chosen = choose(model, Options(), "standard", "inversion", 20 * classes, "")
    assert chosen.proves(suspicion_of(kind, 1e-9, check)) is proves


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
