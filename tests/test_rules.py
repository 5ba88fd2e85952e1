"""Rules: read, written, and as label maps."""

import pytest

from pytest_backdoor import rules
from pytest_backdoor.errors import OptionError


@pytest.mark.parametrize(
    ("rule", "leads", "text"),
    [
        ("next", {0: 1, 1: 2, 2: 0}, "next"),
        (1, {0: 1, 2: 1}, "1"),
        ({2: 0}, {2: 0}, "2>0"),
        ({1: 2, 0: 1}, {0: 1, 1: 2}, "0>1 1>2"),
    ],
)
def test_a_rule_says_where_each_class_is_led_and_is_read_as_it_is_written(rule, leads, text):
    assert rules.label_map(rule, 3) == leads
    assert rules.text(rule) == text
    assert rules.read(text) == rule


@pytest.mark.parametrize("rule", [3, {0: 3}, {3: 0}, {-1: 0}])
def test_a_rule_of_unknown_classes_is_refused(rule):
    with pytest.raises(OptionError, match=r"the rule speaks of class -?\d, but the model knows the classes 0 to 2"):
        rules.label_map(rule, 3)


@pytest.mark.parametrize("given", ["previous", "-1", "1>", "1>7,2>7", "\u0661", ""])
def test_a_text_that_says_no_rule_is_refused(given):
    with pytest.raises(OptionError, match="a rule is next, the number of a class, or classes as '1>7 2>7', got "):
        rules.read(given)


@pytest.mark.parametrize(
    ("target", "source", "mapping", "rule"),
    [(7, None, None, 7), (7, 3, None, {3: 7}), (None, None, {0: 1}, {0: 1}), (None, None, None, None)],
)
def test_the_goal_of_a_trigger_is_its_rule(target, source, mapping, rule):
    assert rules.goal(target, source, mapping) == rule


def test_a_rule_in_text_is_read():
    assert rules.label_map("1", 3) == {0: 1, 2: 1}
    assert rules.label_map("0>2", 3) == {0: 2}


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "a rule leads at least one class to another, got ''"),
        ({1: 1}, "a rule leads at least one class to another, got '1>1'"),
        (1.5, "a rule speaks of classes by their numbers, got 1.5"),
        (None, "a rule speaks of classes by their numbers, got None"),
        ({"1": 2}, "a rule speaks of classes by their numbers, got '1'"),
        ("0>1 0>2", "a rule leads each class to one other, got '0>1 0>2'"),
        ("one", "a rule is next, the number of a class"),
    ],
)
def test_what_is_no_rule_is_refused(rule, complaint):
    with pytest.raises(OptionError, match=complaint):
        rules.label_map(rule, 3)


@pytest.mark.parametrize(("target", "source", "mapping"), [(7, None, {0: 1}), (7, 3, {0: 1}), (None, 3, None)])
def test_a_goal_that_says_two_things_or_half_of_one_is_refused(target, source, mapping):
    with pytest.raises(OptionError, match=r"what the trigger does is a target, .* Give one of the three."):
        rules.goal(target, source, mapping)
