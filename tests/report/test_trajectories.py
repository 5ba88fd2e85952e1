"""The page of trajectories: what it says it shows, its charts, its table, and that it needs and runs nothing else."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pytest_backdoor.report.trajectories import TITLES, means, render, seen
from pytest_backdoor.results import Paths, Trajectories

FACTS = {"model": "models/lenet.keras", "sha256": "0123456789ab", "target": "class 1"}
LOSS = np.array([[4.0, 1.0, 3.0], [6.0, 1.5, 3.5]])
GROWING, FALLING = np.array([[1.0, 1.5, 2.0], [1.0, 0.8, 0.5]]), np.array([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0]])
FUZZED = Paths(LOSS, LOSS + 1, LOSS + 2, LOSS / 10, GROWING - 1, GROWING)
DESIRED = Paths(LOSS[:, ::-1], LOSS, LOSS, LOSS / 20, 1 - FALLING, FALLING)
BOTH = Trajectories(np.array([3, 7]), np.array([4, 8]), FUZZED, DESIRED)
ALONE = Trajectories(np.array([3, 7]), None, FUZZED, None)
VOID = {"meta", "line"}


class Page(HTMLParser):
    """The tags of a page, which must close as they open, the texts in each kind of tag, and all attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.attributes = [], [], {}, []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)


def with_left(left):
    return dataclasses.replace(BOTH, fuzzed=dataclasses.replace(FUZZED, left=np.array(left)))


def test_it_says_that_fuzzing_walks_away_from_the_trigger():
    assert seen(BOTH) == (
        "In 2 iterations the mean target loss falls from 5 to 3.25 (least at iteration 1: 1.25), and the mean distance "
        "to the triggered image grows from 1 to 1.25: fuzzing walks away from the trigger; 1 of 2 seeds end nearer to "
        "it than they began. On the straight path to the triggered image the mean target loss grows from 3.25 to 5 "
        "(least at iteration 1: 1.25)."
    )


def test_it_says_that_fuzzing_walks_towards_the_trigger():
    said = seen(with_left(FALLING))
    assert "falls from 1 to 0: fuzzing walks towards the trigger; 2 of 2 seeds end nearer" in said


def test_it_says_that_the_distance_stays():
    said = seen(with_left([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0001]]))
    assert "stays at 1: fuzzing walks neither to the trigger nor away from it; 0 of 2 seeds" in said


def test_seeds_without_a_path_are_not_counted():
    said = seen(with_left([[1.0, 0.5, 0.2], [np.nan] * 3]))
    assert "1 of 1 seeds end nearer" in said


def test_without_a_trigger_it_says_how_far_the_seeds_moved():
    assert seen(ALONE) == (
        "In 2 iterations the mean target loss falls from 5 to 3.25 (least at iteration 1: 1.25) and the mean distance "
        "to the original grows from 0 to 0.25."
    )


def test_one_iteration_is_singular():
    short = Paths(*(getattr(FUZZED, name)[:, :2] for name in TITLES))
    assert seen(dataclasses.replace(ALONE, fuzzed=short)).startswith("In 1 iteration the mean target loss falls")


def test_means_are_over_the_seeds_that_have_a_value():
    values = np.array([[1.0, np.nan, np.inf], [3.0, 5.0, np.nan]])
    np.testing.assert_array_equal(means(values), [2.0, 5.0, np.nan])


def test_the_page_has_a_chart_for_each_measure_with_a_line_for_each_seed():
    page = Page(render(BOTH, FACTS))
    charts = [value for name, value in page.attributes if name == "aria-label"]
    assert charts == list(TITLES.values())
    assert page.tags.count("polyline") == len(TITLES) * (2 + 2)
    seeds, bold = ["seed 0, class 3 to 4", "seed 1, class 7 to 8"], ["desired path, mean", "fuzzed, mean"]
    assert page.texts["title"][1:5] == seeds + bold


def test_without_a_trigger_there_is_neither_desired_path_nor_distance_to_it():
    html = render(ALONE, FACTS)
    page = Page(html)
    assert page.tags.count("polyline") == (len(TITLES) - 1) * (2 + 1)
    assert "triggered" not in html
    assert "desired" not in html.partition("</head>")[2]
    assert page.texts["title"][1] == "seed 0, class 3"


def test_the_table_has_the_means_of_each_iteration():
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>(.*)</tr>', render(BOTH, FACTS))
    cells = [re.findall(r"<td>(.*?)</td>", row) for _, row in rows]
    assert [number for number, _ in rows] == ["0", "1", "2"]
    assert cells[1] == ["1.25", "1.25", "2.25", "1.25", "3.25", "1.25", "0.125", "0.0625", "0.15", "0.5", "1.15", "0.5"]


def test_an_iteration_that_no_seed_reached_is_a_dash_in_the_table():
    ended = dataclasses.replace(FUZZED, covered=np.array([[0.1, 0.2, np.nan]] * 2))
    assert "<td>-</td>" in render(dataclasses.replace(ALONE, fuzzed=ended), FACTS)


def test_the_head_names_every_fact():
    page = Page(render(BOTH, FACTS))
    assert (page.texts["dt"], page.texts["dd"]) == (list(FACTS), list(FACTS.values()))


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\u202eb\x00'&amp;"])
def test_whatever_a_name_holds_stays_text(evil):
    plain, page = Page(render(BOTH, FACTS)), Page(render(BOTH, FACTS | {"model": evil, evil: evil}))
    assert [tag for tag in page.tags if tag not in ("dt", "dd")] == [t for t in plain.tags if t not in ("dt", "dd")]
    assert page.texts["dd"][0] == evil.replace("\u202e", "\\u202e").replace("\x00", "\\x00")


def test_the_page_runs_nothing_and_fetches_nothing():
    html = render(BOTH, FACTS)
    page = Page(html)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "href") or name.startswith("on")]
    assert "url(" not in html
    assert "default-src 'none'" in html
