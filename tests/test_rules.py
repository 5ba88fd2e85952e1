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
