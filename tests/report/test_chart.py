"""Charts as SVG: where lines and ticks lie, and that names cannot leave their place."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pytest_backdoor.report.chart import BOTTOM, LEFT, RIGHT, TOP, Line, chart, span, text, ticks

SVG = "{http://www.w3.org/2000/svg}"


def parsed(*lines, title="loss"):
    drawn = chart(title, "iteration", lines)
    return ElementTree.fromstring(drawn.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))


def points(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def test_a_line_runs_from_the_left_to_the_right_and_from_the_lowest_value_to_the_highest():
    drawn = parsed(Line(np.array([2.0, 4.0, 3.0]), "seed", "one"))
    half = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    assert points(drawn.find(f"{SVG}polyline")) == [(LEFT, BOTTOM), (half[0], TOP), (RIGHT, half[1])]


def test_all_lines_share_the_axes_and_later_ones_lie_over_earlier_ones():
    drawn = parsed(Line(np.array([0.0, 1.0]), "seed", "one"), Line(np.array([0.5, 0.5]), "fuzzed", "mean"))
    thin, bold = drawn.findall(f"{SVG}polyline")
    assert (thin.get("class"), bold.get("class")) == ("seed", "fuzzed")
    assert points(bold) == [(LEFT, (TOP + BOTTOM) / 2), (RIGHT, (TOP + BOTTOM) / 2)]


def test_values_that_are_not_finite_are_left_out():
    drawn = parsed(Line(np.array([0.0, 1.0, np.nan, np.inf]), "seed", "one"))
    assert len(points(drawn.find(f"{SVG}polyline"))) == 2


def test_a_chart_without_any_value_is_drawn_empty():
    assert parsed(Line(np.array([np.nan, np.nan]), "seed", "one")).find(f"{SVG}polyline").get("points") == ""


def test_titles_and_labels_are_escaped():
    drawn = parsed(Line(np.array([0.0, 1.0]), "seed", "</title><script>"), title='a "b" <c> & d')
    assert drawn.get("aria-label") == 'a "b" <c> & d'
    assert drawn.find(f"{SVG}polyline/{SVG}title").text == "</title><script>"


def test_characters_that_nobody_sees_are_written_out():
    assert text("a\u202e<b>\x1b") == "a\\u202e&lt;b&gt;\\x1b"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 30, [0, 10, 20, 30]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-20, 40, [-20, 0, 20, 40]),
        (0.377, 0.4, [0.38, 0.385, 0.39, 0.395, 0.4]),
        (1200, 1900, [1200, 1400, 1600, 1800]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 3.0], (1, 3)), ([0.3, 0.3], (0.2, 0.4)), ([-50.0], (-55, -45)), ([], (0, 1))]
)
def test_the_range_is_never_empty(values, expected):
    assert span(np.array(values)) == pytest.approx(expected)
