"""The tables of the detection study, by hand."""

import numpy as np
import pytest

from example_models import tables


def row(attack=None, verdict="clean", score=0.0, **more):
    truth = {"name": "m", "data": "mnist", "architecture": "cnn", "training": "plain", "attack": attack}
    truth |= {"kind": attack and "all-to-one", "source": None, "target": attack and 7, "targets": [7], "mapping": None}
    truth |= {"accuracy": 0.97, "success": attack and 0.99}
    found = [{"kind": "all-to-one", "source": None, "target": 7, "mapping": None, "family": "patch"}]
    result = {"verdict": verdict, "score": score, "seconds": 10.0, "p_value": 0.5}
    return truth | {"result": result | {"findings": found if verdict == "backdoor" else []}} | more


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (row(), True),
        (row("pixel"), True),
        (row("pixel", success=0.89), False),
        (row("pixel", accuracy=0.949), False),  # more than two points below 0.97
        (row("pixel", kind="all-to-all", success=0.83), True),  # 0.85 of 0.97 is 0.8245
        (row("pixel", kind="all-to-all", success=0.82), False),
    ],
)
def test_a_backdoored_model_counts_if_the_backdoor_works_and_costs_no_accuracy(model, expected):
    assert tables.counts(model, 0.97) is expected


def test_clean_accuracy_is_that_of_plain_models_of_the_same_network_where_there_are_any():
    clean = [row(accuracy=0.9), row(accuracy=0.8, training="noisy"), row(accuracy=0.5, architecture="vgg")]
    assert tables.clean_accuracy(row("pixel"), clean) == 0.9
    assert tables.clean_accuracy(row("pixel"), clean[1:]) == 0.8
    assert tables.clean_accuracy(row("pixel"), clean[2:]) == 0.5


def test_right_is_kind_and_source_and_any_planted_target():
    assert tables.right(row("pixel", "backdoor"))
    assert tables.right(row("several", "backdoor", targets=[2, 7]))
    assert not tables.right(row("pixel", "backdoor", targets=[3]))
    assert not tables.right(row("pixel", "backdoor", kind="source-specific", source=3))
    assert not tables.right(row("pixel"))


def test_a_label_map_is_right_only_whole():
    planted = {"0": 1, "1": 0}
    found = [{"kind": "all-to-all", "source": None, "target": None, "mapping": planted, "family": "patch"}]
    model = row("pixel", kind="all-to-all", mapping=planted)
    model["result"]["findings"] = found
    assert tables.right(model)
    assert not tables.right(model | {"mapping": {"0": 1, "1": 1}})


def test_auroc_counts_pairs_and_ties_half():
    assert tables.auroc([0.0, 1.0], [1.0, 2.0]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_shares_have_wilson_intervals():
    assert tables.share(0, 60) == "0 of 60 (0 to 6 %)"
    assert tables.share(14, 15) == "14 of 15 (70 to 99 %)"
    assert tables.share(0, 0) == ""


def test_a_grid_has_a_line_for_each_group_and_a_column_for_each_data_set():
    models = [row("pixel", "backdoor"), row("pixel", data="gtsrb"), row("blend", "backdoor", data="gtsrb")]
    assert tables.grid(models, tables.attack_of, tables.flagged) == [
        "|  | gtsrb | mnist | all |",
        "| --- | --- | --- | --- |",
        "| blend, all-to-one | 1 of 1 |  | 1 of 1 (21 to 100 %) |",
        "| pixel, all-to-one | 0 of 1 | 1 of 1 | 1 of 2 (9 to 91 %) |",
    ]


def test_what_is_wrong_is_listed_and_nothing_else():
    wrong = row("pixel", name="missed"), row(verdict="backdoor", name="alarm")
    right = row("pixel", "backdoor", name="found"), row(name="clean")
    named = [line.split(" | ")[0] for line in tables.misjudged([*wrong, *right])[2:]]
    assert named == ["| missed", "| alarm"]


def test_the_first_table_says_rates_and_times():
    models = [row(), row(score=1.0), row("pixel", "backdoor", score=3.0), row("pixel", score=0.5)]
    cells = tables.overall(models, "standard")
    assert cells[:2] == ["standard", "0 of 2 (0 to 66 %)"]
    assert cells[2:] == ["1 of 2 (9 to 91 %)", "1 of 1 (21 to 100 %)", "0.750", "10 s, 10 s"]


def test_the_rules_of_others_are_counted_on_the_same_models():
    models = [row(score=3.0), row("pixel", score=5.0)]
    line = tables.peers(models, "rule", lambda each: each["result"]["score"], lambda each: each["result"]["score"] > 2)
    assert line[:3] == ["rule", "1 of 1 (21 to 100 %)", "1 of 1 (21 to 100 %)"]
    assert line[4] == "1.000"
    assert np.isclose(float(line[4]), 1.0)
