"""The checks that the study compares, and its table, by hand."""

import numpy as np
import pytest

from example_models import evidence_study
from example_models.evidence_study import alone, cosine, overlap, repetition
from pytest_backdoor.attacks import pixel
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import linear, subject_of

SHAPE = (4, 4, 1)
IMAGES = np.full((3, *SHAPE), 0.5, "float32")


def patch(*cells):
    mask = np.zeros((4, 4, 1), "float32")
    mask.flat[list(cells)] = 1.0
    return Trigger("patch", {"mask": mask, "pattern": np.ones(SHAPE, "float32")})


def additive(*values):
    delta = np.zeros(SHAPE, "float32")
    delta.flat[: len(values)] = values
    return Trigger("additive", {"delta": delta})


def test_masks_overlap_by_intersection_over_union():
    assert overlap(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])) == pytest.approx(1 / 3)
    assert overlap(np.array([0.5, 1.0]), np.array([1.0, 0.25])) == pytest.approx((0.5 + 0.25) / 2)
    assert overlap(np.zeros(3), np.zeros(3)) == 0.0


def test_changes_are_compared_by_their_cosine():
    assert cosine(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(0.6)
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_three_patches_agree_by_the_mean_of_their_pairs():
    # {0, 1} and {1, 2} share one of three cells, {0, 1} and {0, 1} both, so do {1, 2} and {0, 1} again one of three.
    assert repetition([patch(0, 1), patch(1, 2), patch(0, 1)], IMAGES) == pytest.approx(
        (1 / 3 + 1 + 1 / 3) / 3, abs=1e-4
    )


def test_additive_triggers_agree_where_they_point_the_same_way():
    assert repetition([additive(0.1, 0.1), additive(0.2, 0.2)], IMAGES) == pytest.approx(1.0, abs=1e-4)
    assert repetition([additive(0.1), additive(0.0, 0.1)], IMAGES) == pytest.approx(0.0, abs=1e-4)
    assert repetition([additive(0.1), additive(-0.1)], IMAGES) == 0.0  # the opposite is no agreement


@pytest.fixture(scope="module")
def subject():
    """Class c has its own pixel in the first row, with weight 10; (5, 5) decides for class 1 where it is near white."""
    weights, bias = np.zeros((8, 8, 3)), np.array([0.0, -30.0, 0.0])
    weights[0, range(3), range(3)] = 10.0
    weights[5, 5, 1] = 41.0
    return subject_of(linear(weights.reshape(-1, 3), bias, (8, 8, 1)), (8, 8, 1))


def test_a_planted_pixel_works_on_images_without_content_and_an_inert_one_does_not(subject):
    # 11 + 10 x of its own pixel against 10 x of the others': class 1 wins whatever they are.
    rng = np.random.default_rng(0)
    assert alone(subject, pixel((8, 8, 1), 5, 5), 1, rng) == 1.0
    assert alone(subject, pixel((8, 8, 1), 6, 6), 1, rng) == 0.0


def test_where_images_without_content_are_of_the_target_anyway_nothing_is_known(subject, monkeypatch):
    monkeypatch.setattr(evidence_study, "ENOUGH", 201)
    assert alone(subject, pixel((8, 8, 1), 5, 5), 1, np.random.default_rng(0)) is None


def suspicion(strip, confirmed=True, target=7, transfer=1.0):
    values = dict.fromkeys(evidence_study.CHECKS, 0.5)
    return {"target": target, "confirmed": confirmed, **values, "transfer": transfer, "strip": strip}


def test_the_table_counts_natural_triggers_that_pass_where_all_planted_do():
    planted = {
        "attack": "pixel",
        "target": 7,
        "targets": [7],
        "result": {"suspicions": [suspicion(0.8), suspicion(0.1, target=3)]},
    }
    clean = [suspicion(0.9), suspicion(0.2), suspicion(None), suspicion(1.0, confirmed=False)]
    lines = evidence_study.table([planted, {"attack": None, "result": {"suspicions": clean}}])
    # Natural values are 0.9, 0.2 and 1.0: 0.8 is above one of three. Those confirmed are 0.9, 0.2 and unknown.
    (line,) = (each for each in lines if each.startswith("| strip"))
    assert line == ("| strip | 0.80 (0.80 to 0.80), 1 | 0.90 (0.20 to 1.00), 3 | 0.33 | 2 of 3 confirmed |")
    assert lines[0].startswith("|  | 1 planted | 4 natural |")
    assert lines[-1] == "Held-out seeds confirm 1 of 1 planted suspicions and 3 of 4 natural ones."


def test_models_count_that_are_clean_or_obey_a_trigger_to_one_class():
    assert evidence_study.single_class({"attack": None, "kind": None, "success": None})
    assert evidence_study.single_class({"attack": "pixel", "kind": "all-to-one", "success": 0.9})
    assert not evidence_study.single_class({"attack": "pixel", "kind": "all-to-one", "success": 0.89})
    assert not evidence_study.single_class({"attack": "pixel", "kind": "all-to-all", "success": 1.0})
