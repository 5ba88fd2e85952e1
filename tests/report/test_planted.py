"""The self-test's words: the line of a clean verdict and of each outcome."""

import dataclasses

from pytest_backdoor.report import planted, words
from pytest_backdoor.results import Planted, SelfTest

PATTERN = Planted("pattern", "patch", "all-to-one", 9 / 784, 9, 0.97, (0.98, 0.97), True, True, False, 1e-6, 9.4)
MAP = dataclasses.replace(PATTERN, name="map", kind="all-to-all", found=False)
BLEND = dataclasses.replace(PATTERN, name="blend", family="additive", size=0.15, pixels=784, right=True)


def test_the_line_names_the_smallest_found_of_each_family_and_all_that_was_missed():
    test = SelfTest("m", "", (PATTERN, MAP, BLEND), (2 / 3, 0.04, 0.99), {"patch": 9 / 784, "additive": 0.15})
    assert words.power(test) == (
        "would have found: patch from 9 px, additive from 15 % strength; missed: all-to-all patch of 9 px"
    )


def test_the_line_says_when_none_was_found_or_learned():
    assert words.power(SelfTest("m", "", (MAP,), (0.0, 0.0, 0.9))) == (
        "would have found: none; missed: all-to-all patch of 9 px"
    )
    unlearned = dataclasses.replace(MAP, planted=False)
    assert words.power(SelfTest("m", "", (unlearned,))) == (
        "self-test: no copy of the model learned any of the backdoors"
    )


def test_the_line_says_why_a_self_test_ended_before_all_was_tried():
    ended = SelfTest("m", "", (MAP,), (0.0, 0.0, 0.9), error="no time")
    assert words.power(ended) == "would have found: none; missed: all-to-all patch of 9 px; no time"


def test_a_finding_of_something_else_is_told_apart():
    assert planted.line(PATTERN) == "pattern: found, wrongly named (9 s)"
    assert planted.line(BLEND) == "blend: found (9 s)"


def test_colour_shows_the_same_words():
    test = SelfTest("m\x1b", "", (BLEND,), (1.0, 0.005, 1.0), {"additive": 0.15})
    shown = planted.render(test, colour=True)
    assert "\x1b[32mfound" in shown
    assert "m\\x1b: found 100 %" in shown


def test_without_plants_there_is_no_table():
    assert planted.render(SelfTest("m", "", error="no seeds"), colour=False) == "m: self-test: no seeds\n"
