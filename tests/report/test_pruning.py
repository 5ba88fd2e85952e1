"""The table of a pruned layer."""

from dataclasses import replace

from pytest_backdoor.check_results import Pruning
from pytest_backdoor.report.pruning import table

CURVE = Pruning("conv", "channels", (1, 0), (0, 1, 2), (0.97, 0.955, 0.1))


def test_each_step_has_its_line():
    assert table(CURVE).splitlines() == [
        "    pruned  accuracy",
        "         0      97 %",
        "         1    95.5 %",
        "         2      10 %",
    ]


def test_a_known_trigger_has_its_column():
    assert table(replace(CURVE, success=(1.0, 0.995, 0.0))).splitlines()[:2] == [
        "    pruned  accuracy   success",
        "         0      97 %     100 %",
    ]
