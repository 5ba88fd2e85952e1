"""The table of a run of fuzzing and its line in the summary, as users read them."""

import json
from dataclasses import replace

from pytest_backdoor.report import fuzzed, words
from pytest_backdoor.report.text import render
from pytest_backdoor.results import FuzzRun
from tests.report import samples

TABLE = """\
| metric             | value                      |
|--------------------|----------------------------|
| settings           | step=0.1, constraint=box   |
| seeds              | 20, of which 2 flipped     |
| images             | 100                        |
| adversarial inputs | 2                          |
| from               | class 3 50 %, class 7 50 % |
| to                 | class 8 100 %              |
| rule next          | 50 %                       |
| L2                 | 1.25 (largest 2.5)         |
| L-infinity         | 0.1 (largest 0.2)          |
| coverage           | 40 % -> 45 %               |
| seconds            | 4.2                        |

models/lenet.keras: adversarial inputs are no verdict, clean models have them too: pytest-backdoor scan gives one
models/lenet.keras: saved in out/lenet
"""
LINE = (
    "fuzzing: 2 adversarial inputs of 2 of 20 seeds; to: class 8 100 %; rule next: 50 %; L2: 1.25 (largest 2.5);"
    " L-infinity: 0.1 (largest 0.2); coverage: 40 % -> 45 %; saved in out/lenet"
)
NOTHING = {"adversarial": 0, "flipped": 0, "before": {}, "after": {}, "activation": None, "l2": None, "linf": None}


def test_the_table_reads_like_this():
    assert fuzzed.render(samples.fuzz_run(saved="out/lenet"), colour=False) == TABLE


def test_colour_shows_the_same_words():
    shown = fuzzed.render(samples.fuzz_run(path="m\x1b", error="inputs not saved: x"), colour=True)
    assert "class 3 50 %, class 7 50 %" in shown
    assert "m\\x1b: inputs not saved: x" in shown


def test_a_run_without_adversarial_inputs_has_no_rows_of_them():
    shown = fuzzed.render(samples.fuzz_run(**NOTHING, changed=()), colour=False)
    rows = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")]
    assert rows == ["metric", "settings", "seeds", "images", "adversarial inputs", "coverage", "seconds"]
    assert "| defaults " in shown


def test_what_was_not_run_has_no_table():
    run = samples.fuzz_run(coverage=None, inputs=None, error="no seeds")
    assert fuzzed.render(run, colour=False) == "models/lenet.keras: no seeds\n"
    assert words.fuzzing(run) == "fuzzing: no seeds"
    assert words.measures(FuzzRun("m", "", {})) == {}


def test_the_summary_has_one_line_under_the_table_of_models():
    result = replace(samples.CLEAN, fuzzing=samples.fuzz_run(saved="out/lenet"))
    assert f"models/clean.keras: {LINE}\n" in render([result], colour=False, pictures=False)


def test_the_line_says_what_was_not_saved_or_nothing_of_saving():
    assert words.fuzzing(samples.fuzz_run()).endswith("coverage: 40 % -> 45 %")
    assert words.fuzzing(samples.fuzz_run(error="inputs not saved: x")).endswith("; inputs not saved: x")


def test_many_labels_are_cut_after_the_largest_shares():
    assert words.labels({0: 0.2, 1: 0.5, 2: 0.3}, most=2) == "class 1 50 %, class 2 30 %, ..."


def test_the_document_has_the_metrics_and_the_options():
    document = json.loads(fuzzed.document(samples.fuzz_run(), {"name": "pytest-backdoor"}, {"seed": 3}))
    assert list(document) == ["schema", "tool", "options", "fuzzing"]
    assert (document["fuzzing"]["before"], document["fuzzing"]["l2"]) == ({"3": 0.5, "7": 0.5}, [1.25, 2.5])
