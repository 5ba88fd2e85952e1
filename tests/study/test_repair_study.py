"""The tables of repairs, worked by hand."""

import numpy as np

from example_models.repair_study import cell, figures, report, share_clean, summary, tried
from pytest_backdoor.attacks import pixel
from pytest_backdoor.contract import Sample
from pytest_backdoor.repair_methods import Known, Ward
from tests.tiny import subject_of, two_pixels


def entry(accuracy, success):
    return {"accuracy": accuracy, "success": success}


def row(name, attack, result):
    return {"name": name, "attack": attack, "kind": "all-to-one", "result": result}


def of_command(verdict, accuracy, success):
    return {"command": {"verdict": verdict}, "chosen": "unlearning", "after": entry(accuracy, success)}


BEFORE = entry(0.98, 1.0)
ROWS = [
    row("a", "pixel", {"before": BEFORE, "unlearning": entry(0.97, 0.02), **of_command("clean", 0.97, 0.02)}),
    row("b", "pattern", {"before": BEFORE, **of_command("backdoor", 0.98, 0.10)}),
    row("c", "blend", {"before": BEFORE, "unlearning": entry(0.5, 0.02), "command": {"verdict": None}, "chosen": None}),
]


def test_of_several_triggers_the_one_that_works_best_counts():
    """Class 1 is the right pixel: full on either side, the image goes to that class."""
    subject = subject_of(two_pixels(), (1, 2, 1))
    ward = Ward(two_pixels(), subject, None, None, "")
    shown = Sample(np.array([[0.0, 0.5], [0.5, 0.0]], "float32").reshape(2, 1, 2, 1), np.array([1, 0]))
    left, right = Known(pixel((1, 2, 1), 0, 0), {1: 0}), Known(pixel((1, 2, 1), 0, 1), {1: 0})
    assert tried(ward, ward.model, [right, left], shown) == {"accuracy": 1.0, "success": 1.0}
    assert tried(ward, ward.model, [right], shown) == {"accuracy": 1.0, "success": 0.0}


def test_a_cell_has_the_medians_of_what_could_be_used():
    assert cell([entry(0.9, 0.1), entry(0.7, 0.3), {}, {"error": "no convolution"}]) == "0.800, 0.200"
    assert cell([{}]) == ""


def test_the_summary_is_of_the_chosen_copies():
    patches, others = summary(ROWS)[2:]
    assert patches == "| patches | 2 | 2 | 6.0 % | 10.0 % | 0.5 % | 1.0 % | 1 of 2 (9 to 91 %) |"
    assert others == "| other triggers | 1 | 0 |  |  |  |  |  |"


def test_without_a_copy_there_are_no_figures():
    assert figures([]) == [""] * 4
    assert share_clean([]) == ""


def test_the_report_has_a_line_for_each_attack():
    assert "| pixel, all-to-one | 1 | 0.980, 1.000 |  |  |  | 0.970, 0.020 |  |  |" in report(ROWS[:1])
