"""Ranks and tails by hand, and what the combination of tests promises."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_backdoor import calibration
from pytest_backdoor.calibration import Entry, Stratum, combined, read, stratum, tail_p, to_dict
from pytest_backdoor.errors import CalibrationError

ONE_TO_TEN = np.arange(1.0, 11)


def entry(number, evidence, channels=1, side=28, classes=10, batch_norm=False, mode="standard", seeds=200):
    return Entry(f"clean {number}", f"{number:064}", mode, channels, side, classes, batch_norm, seeds, evidence)


def clean_models(count, seed=0, tests=("patch", "additive"), **more):
    """Clean models with exponential evidence, as -log10 of a uniform p-value is."""
    rng = np.random.default_rng(seed)
    drawn = rng.exponential(size=(count, len(tests)))
    return [entry(n, dict(zip(tests, row.tolist(), strict=True)), **more) for n, row in enumerate(drawn)]


@pytest.mark.parametrize(("value", "expected"), [(0.5, 11 / 11), (5.0, 7 / 11), (5.5, 6 / 11), (10.0, 2 / 11)])
def test_a_value_among_the_others_has_their_rank(value, expected):
    assert tail_p(value, ONE_TO_TEN) == pytest.approx(expected)


def test_a_value_beyond_the_others_has_their_exponential_tail():
    # The tail starts at the 80 % quantile, 8.2; 9 and 10 exceed it by 0.8 and 1.8, by 1.3 on average.
    assert tail_p(14.1, ONE_TO_TEN) == pytest.approx(0.2 * np.exp(-5.9 / 1.3))
    assert tail_p(1.01, np.repeat([0.0, 1.0], [80, 20])) == pytest.approx(1 / 101)  # never more than the rank
    assert tail_p(1000.0, ONE_TO_TEN) == 1e-6


def test_a_tail_may_be_held_to_a_scale_at_least():
    assert tail_p(14.1, ONE_TO_TEN, 1.0) == tail_p(14.1, ONE_TO_TEN)
    assert tail_p(14.1, ONE_TO_TEN, 2.6) == pytest.approx(0.2 * np.exp(-5.9 / 2.6))


def test_evidence_far_beyond_clean_models_with_hardly_any_counts_as_a_p_value_would():
    chosen = Stratum.of("grey", [entry(number, {"a": 0.1 * (number % 10)}) for number in range(60)])
    # The 80 % quantile is 0.72; the twelve models beyond it exceed it by 0.13 on average, less than 1 / log(10).
    assert chosen.p_values({"a": 3.0})["a"] == pytest.approx(12 / 60 * 10**-2.28)


def test_each_clean_model_is_ranked_among_the_others_without_itself():
    chosen = Stratum.of("grey", [entry(number, {"a": value}) for number, value in enumerate([1.0, 2.0, 3.0])])
    # 3 is beyond 1 and 2: one of the two exceeds their 80 % quantile, 1.8, and by less than 1 / log(10).
    p_value = 0.5 * 10 ** -(3 - 1.8)
    assert chosen.together[2] == pytest.approx(np.log(1 / np.tan(p_value * np.pi)), rel=1e-4)
    assert chosen.together[:2] == pytest.approx(np.log([1e-6, 1e-6]))  # ranks of 3/3 and 2/3 count nothing


def test_a_test_that_finds_something_in_no_clean_model_has_their_number_as_its_rank():
    chosen = Stratum.of("grey", clean_models(99))
    assert chosen.p_values({"warp map": 3.0})["warp map"] == pytest.approx(1 / 100)
    assert chosen.p_values({"warp map": 0.0})["warp map"] == 1.0
    assert chosen.p_value({"patch": 1.0, "warp map": 0.0}) == chosen.p_value({"patch": 1.0})
    assert chosen.p_value({"patch": 1.0, "warp map": 3.0}) < chosen.p_value({"patch": 1.0})


def test_networks_with_attention_are_compared_with_such_only():
    plain = clean_models(60)
    attending = [replace(each, mixing="attention") for each in plain]
    about = ("standard", 1, 28, 10, False, 200)
    reason = stratum(plain, *about, mixing="attention")
    assert reason.startswith(
        "the reference has 0 clean models (grey images, without batch norm, with attention, at most"
    )
    assert stratum(attending, *about).startswith(
        "the reference has 0 clean models (grey images, without batch norm, at"
    )
    assert len(stratum(plain + attending, *about, mixing="attention").together) == 60


def test_a_test_that_came_after_a_reference_counts_once_all_its_models_have_it():
    tests = ("patch", "consensus")
    new, old = clean_models(60, tests=tests), [entry(60, {"patch": 0.1})]
    found = {"patch": 1.0, "consensus": 9.0}
    assert Stratum.of("grey", new).p_values(found)["consensus"] < 0.01
    for models in (new + old, clean_models(60, tests=("patch",))):
        mixed = Stratum.of("grey", models)
        assert mixed.p_values(found)["consensus"] == 1.0
        assert mixed.p_value(found) == mixed.p_value({"patch": 1.0})


def test_where_few_differ_from_the_most_the_tail_has_no_more_than_those():
    # The 80 % quantile is 0, which one of ten exceeds, by 1.
    assert tail_p(2.0, np.array([0.0] * 9 + [1.0])) == pytest.approx(0.1 * np.exp(-2))


def test_others_that_are_all_alike_have_no_tail():
    assert tail_p(5.0, np.zeros(9)) == pytest.approx(0.1)
    assert tail_p(0.0, np.zeros(9)) == 1.0


def test_p_values_are_combined_by_the_cauchy_rule_and_those_above_one_half_count_nothing():
    assert combined(np.array([0.25])) == pytest.approx(1.0, abs=1e-5)
    assert combined(np.array([0.25, 0.5, 0.9, 1.0])) == pytest.approx(1.0, abs=1e-5)
    assert combined(np.array([0.25, 0.25])) == pytest.approx(2.0, abs=1e-5)
    assert combined(np.array([0.001])) == pytest.approx(1 / np.tan(0.001 * np.pi), rel=1e-4)


@given(st.lists(st.floats(0, 12), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 12))
def test_more_evidence_never_makes_a_model_less_suspicious(evidence, changed, more):
    tests = ("a", "b", "c")
    chosen = Stratum.of("grey", clean_models(99, tests=tests))
    before = dict(zip(tests, evidence, strict=True))
    after = before | {tests[changed]: max(more, evidence[changed])}
    assert chosen.p_value(after) <= chosen.p_value(before)


def test_clean_models_that_were_not_in_the_reference_are_flagged_as_often_as_alpha_says():
    chosen = Stratum.of("grey", clean_models(199, seed=1))
    fresh = [chosen.p_value(each.evidence) for each in clean_models(3000, seed=2)]
    assert np.mean(np.array(fresh) <= 0.05) == pytest.approx(0.05, abs=0.035)  # the reference varies by 0.015
    assert np.mean(np.array(fresh) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_tests_that_say_the_same_are_not_counted_twice():
    rng = np.random.default_rng(3)
    alike = [entry(n, dict.fromkeys("abcdefgh", float(value))) for n, value in enumerate(rng.exponential(size=199))]
    chosen = Stratum.of("grey", alike)
    high = float(np.quantile([each.evidence["a"] for each in alike], 0.8))
    assert chosen.p_value(dict.fromkeys("abcdefgh", high)) == pytest.approx(0.2, abs=0.02)


def test_a_test_that_did_not_run_counts_as_one_that_found_nothing():
    chosen = Stratum.of("grey", clean_models(120))
    assert chosen.p_value({"patch": 9.0}) == chosen.p_value({"patch": 9.0, "additive": 0.0})
    assert chosen.p_values({"patch": 9.0})["additive"] == 1.0


GREY, COLOUR = clean_models(60), clean_models(60, channels=3, side=32)
SIGNS = clean_models(60, channels=3, side=32, classes=43, seeds=860)
NORMED = clean_models(60, batch_norm=True)


def stratum_of(reference, channels=1, side=28, classes=10, batch_norm=False, mode="standard", each=20):
    return stratum(reference, mode, channels, side, classes, batch_norm, each * classes)


def test_a_model_is_compared_with_clean_models_like_it():
    reference = [*GREY, *COLOUR, *SIGNS, *NORMED]
    few, many = "at most 12 classes", "more than 12 classes"
    assert stratum_of(reference).name == f"60 clean models: grey images, without batch norm, {few}"
    assert stratum_of(reference, batch_norm=True).name == f"60 clean models: grey images, with batch norm, {few}"
    assert stratum_of(reference, 3, 32, 43).name == f"60 clean models: colour images, without batch norm, {many}"
    assert stratum_of(reference, 3, 48, 12).name == f"60 clean models: colour images, without batch norm, {few}"


def test_a_model_unlike_the_reference_has_no_stratum_and_it_says_why():
    reference = [*GREY, *COLOUR, *SIGNS]
    assert stratum_of(reference, 3, 65, 10) == "images of 65 pixels are larger than those of the reference (32)"
    assert stratum_of(reference, 3, 32, 87) == "87 classes are more than those of the reference (43)"
    assert stratum_of([*GREY, *COLOUR[1:], *SIGNS, *NORMED], 3, 32, 10) == (
        "the reference has 59 clean models (colour images, without batch norm, at most 12 classes) scanned in the mode "
        "standard, and 60 are needed"
    )
    assert "0 clean models (grey images, with batch norm, at most" in stratum_of(reference, batch_norm=True)
    assert "0 clean models (grey images, without batch norm, more than 12" in stratum_of(reference, 1, 28, 13)
    assert "in the mode quick" in stratum_of(reference, mode="quick")


def test_searches_that_find_something_in_each_clean_model_are_known():
    both = [entry(number, {"patch": 1.0, "warp map": 0.0, "consensus": 1.0}) for number in range(60)]
    one = [replace(both[0], sha256="0", evidence={"patch map": 0.2, "margin": 3.0}), *both[1:]]
    assert stratum_of(both).seeing == {"patch", "warp"}
    assert stratum_of(one).seeing == {"patch"}


def test_a_model_is_compared_with_scans_that_had_hardly_more_seeds():
    assert isinstance(stratum_of(GREY, each=14), Stratum)  # 20 are no more than 1.5 times as many
    assert stratum_of(GREY, each=13) == (
        "13 seeds of each class are few: the reference has 0 clean models (grey images, without batch norm, at most 12 "
        "classes) scanned with at most 19.5, and 60 are needed. Give about 20 of each class"
    )
    assert isinstance(stratum_of([replace(each, seeds=0) for each in GREY], each=0), Stratum)  # without seeds


def test_of_a_clean_model_the_scan_counts_that_had_the_most_seeds_of_those():
    fewer = [replace(each, seeds=100, evidence={"patch": 1.0}) for each in GREY]
    both = [*fewer[:30], *GREY, *fewer[30:]]
    assert np.array_equal(stratum_of(both, each=20).evidence, stratum_of(GREY, each=20).evidence)
    assert np.array_equal(stratum_of(both, each=10).evidence, np.ones((60, 1)))
    assert stratum_of(both, each=10).name == stratum_of(GREY).name  # 60 clean models, each counted once


def test_scans_with_far_fewer_seeds_are_left_out_where_there_are_enough():
    others = [replace(each, sha256=f"other {each.sha256}") for each in clean_models(60, seed=1)]
    fewer, hardly = ([replace(each, seeds=seeds) for each in others] for seeds in (133, 134))
    assert len(stratum_of([*fewer, *GREY]).evidence) == 60
    assert len(stratum_of([*hardly, *GREY]).evidence) == 120
    assert len(stratum_of([*fewer, *GREY[1:]]).evidence) == 119  # 59 are not enough


def test_a_reference_is_what_it_was_after_a_file(tmp_path):
    (tmp_path / "reference.json").write_text(json.dumps(to_dict(GREY)))
    assert read(tmp_path / "reference.json") == tuple(GREY)


def _stored(**wrong):
    """The text of a file with one clean model, something wrong in it."""
    stored = to_dict([replace(GREY[0], name="clean 0")])
    return json.dumps({**stored, "models": [{**stored["models"][0], **wrong}]})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("[]", "list indices"),
        ('{"schema": 1, "models": []}', "schema 1, not 2"),
        ('{"schema": 2, "models": [{"name": "a"}]}', "missing"),
        (_stored(evidence="high"), "dictionary"),
        (_stored(evidence={"patch": None}), "model 'clean 0' has evidence that is no number"),
        (_stored(evidence={"patch": float("nan")}), "model 'clean 0' has evidence that is no number"),
        (_stored(classes=0), "model 'clean 0' has channels, side, classes, seeds or batch_norm that are none"),
        (_stored(seeds=2.5), "model 'clean 0' has channels, side, classes, seeds or batch_norm that are none"),
        (_stored(mode=None), "model 'clean 0' has a name, sha256, mode or mixing that is no text"),
    ],
)
def test_a_file_that_is_no_reference_is_refused(text, problem, tmp_path):
    (tmp_path / "reference.json").write_text(text)
    with pytest.raises(CalibrationError, match=problem):
        read(tmp_path / "reference.json")
    with pytest.raises(CalibrationError, match="No such file"):
        read(tmp_path / "missing.json")


def test_a_pipe_that_nobody_fills_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "reference.json")
    with pytest.raises(CalibrationError, match="it is a pipe, not a file"):
        read(tmp_path / "reference.json")


def test_the_shipped_reference_can_be_read():
    assert all(each.evidence for each in read())
    assert calibration.SHIPPED.exists()
