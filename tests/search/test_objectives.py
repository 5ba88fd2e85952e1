"""The weights of the logits in each objective, by hand."""

from __future__ import annotations

import numpy as np

from pytest_backdoor.search import objectives


def test_deviate_pushes_the_next_classes_up_and_the_present_one_down() -> None:
    logits = np.array([[5.0, 1.0, 3.0, 2.0]])
    assert objectives.deviate(logits, np.array([0]), 2, 0.5).tolist() == [[[-1.0, 0.0, 0.5, 0.5]]]


def test_deviate_takes_the_class_that_the_seed_had_for_the_present_one() -> None:
    logits = np.array([[5.0, 1.0, 3.0, 2.0]])  # the image is of another class by now
    assert objectives.deviate(logits, np.array([2]), 2, 0.5).tolist() == [[[0.5, 0.0, -1.0, 0.5]]]


def test_deviate_from_one_of_two_classes_has_one_competitor() -> None:
    assert objectives.deviate(np.array([[2.0, 1.0]]), np.array([0]), 4, 0.5).tolist() == [[[-1.0, 0.5]]]


def test_towards_is_the_targets_logit_less_that_of_the_present_class() -> None:
    assert objectives.towards(2, np.array([0, 1]), 3).tolist() == [[[-1, 0, 1], [0, -1, 1]]]


def test_disagree_lowers_the_class_in_the_deviating_model_and_raises_it_in_the_others() -> None:
    weights = objectives.disagree(np.array([1, 0]), np.array([2, 0]), models=2, classes=3, weight=3.0)
    assert weights.shape == (2, 2, 3)
    assert weights[:, 0].tolist() == [[0, 0, 1], [0, 0, -3]]
    assert weights[:, 1].tolist() == [[-3, 0, 0], [1, 0, 0]]
