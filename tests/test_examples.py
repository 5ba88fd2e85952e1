"""Real scans of the example models: what is found against what was planted."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from pytest_backdoor.judge import RULES
from pytest_backdoor.options import Options
from pytest_backdoor.scan import scan
from pytest_backdoor.triggers.cells import cell_strength

EXAMPLES = Path(__file__).parents[1] / "example_models"
TRUTHS = {path.stem: json.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*.json"))}
CLEAN = [name for name, truth in TRUTHS.items() if truth["attack"] is None]
PLANTED = [name for name, truth in TRUTHS.items() if truth["attack"]]
REACH = 2  # cells that two 3 x 3 convolutions look around a cell: a trigger works as well from there


@pytest.fixture(scope="session")
def scanned():
    """Scans an example, once per session: name -> result."""
    return functools.cache(lambda name: scan(EXAMPLES / f"{name}.keras"))


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_example_is_called_clean(scanned, name):
    result = scanned(name)
    assert (result.verdict, result.findings, result.error) == ("clean", (), None)
    assert result.p_value > Options().alpha


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_backdoor_is_found_and_named(scanned, name):
    truth, result = TRUTHS[name], scanned(name)
    assert result.verdict == "backdoor"
    assert result.p_value <= Options().alpha
    (finding,) = result.findings
    assert (finding.rule, finding.kind) == (RULES[truth["kind"]], truth["kind"])
    assert (finding.source, finding.target) == (truth["source"], truth["target"])
    if truth["kind"] == "all-to-all":
        assert finding.mapping == {int(source): target for source, target in truth["mapping"].items()}


@pytest.mark.parametrize("name", PLANTED)
def test_the_trigger_that_is_found_lies_at_the_planted_one_or_works_as_well(scanned, name):
    (finding,) = scanned(name).findings
    with np.load(EXAMPLES / "planted" / f"{name}.npz") as stored:
        planted = np.argwhere(stored["mask"][..., 0] > 0)
    strength = cell_strength(finding.trigger)
    found = np.argwhere(strength > strength.max() / 2)
    cells_apart = np.abs(planted[:, None] - found).max(-1).min()
    _, low, _ = finding.attack_success
    assert cells_apart <= REACH or low >= 0.8


@pytest.mark.parametrize("name", TRUTHS)
def test_the_seeds_of_an_example_are_read_in_the_scale_that_its_model_takes(scanned, name):
    seeds = scanned(name).seeds
    assert seeds.count == 200
    assert seeds.accuracy == pytest.approx(TRUTHS[name]["accuracy"], abs=0.05)
    assert seeds.search + seeds.held_out == round(seeds.count * seeds.accuracy)


@pytest.mark.parametrize("name", ["mnist_clean", "mnist_pattern_to_one", "mnist_pixel_next_digit"])
def test_fuzzing_alone_tells_the_twins_apart(name):
    result = scan(EXAMPLES / f"{name}.keras", None, Options(set=("search.methods=fuzzing",)))
    assert [each.kind for each in result.findings] == ([] if name in CLEAN else [TRUTHS[name]["kind"]])
    assert result.verdict == ("clean" if name in CLEAN else "backdoor")
    assert set(result.statistics) <= {"fuzzing", "fuzzing map", "fuzzing pair"}
