"""Trajectories on networks so small that every value along the paths can be worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.results import Paths
from pytest_backdoor.search import trajectories as room
from pytest_backdoor.search.fuzzing import Settings, fuzz
from pytest_backdoor.search.trajectories import trajectories
from tests.tiny import bright_pixels, subject_of, two_pixels

PAIR = subject_of(two_pixels(), (1, 2, 1))
SEED = np.array([[[[0.6], [0.5]]]], "float32")
END = np.array([[[[0.6], [0.9]]]], "float32")
PLAIN = Settings(iterations=2, neuron_weight=0)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def same(one: Paths, other: Paths) -> None:
    for name in room.MEASURES:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, err_msg=name)


def test_the_fuzzed_path_begins_at_the_seed_and_takes_its_steps() -> None:
    # The objective z1 - z0 has the gradient (-1, 1): steps of 0.02 lead to (0.58, 0.52) and (0.56, 0.54).
    path = trajectories(PAIR, SEED, np.array([1]), PLAIN, rng(), END).fuzzed
    lead = np.array([0.1, 0.06, 0.02])  # of class 0
    np.testing.assert_allclose(path.target_loss[0], np.log(1 + np.exp(lead)), atol=1e-4)
    np.testing.assert_allclose(path.original_loss[0], np.log(1 + np.exp(-lead)), atol=1e-4)
    np.testing.assert_allclose(path.objective[0], -lead, atol=1e-4)
    np.testing.assert_allclose(path.l2[0], np.sqrt(2) * np.array([0, 0.02, 0.04]), atol=1e-4)
    np.testing.assert_allclose(path.left[0], np.hypot([0, 0.02, 0.04], [0.4, 0.38, 0.36]), atol=1e-4)


def test_the_desired_path_goes_straight_to_the_end_in_equal_steps() -> None:
    # From (0.6, 0.5) over (0.6, 0.7) to (0.6, 0.9).
    found = trajectories(PAIR, SEED, np.array([1]), PLAIN, rng(), END)
    assert found.desired is not None
    lead = np.array([0.1, -0.1, -0.3])
    np.testing.assert_allclose(found.desired.target_loss[0], np.log(1 + np.exp(lead)), atol=1e-5)
    np.testing.assert_allclose(found.desired.original_loss[0], np.log(1 + np.exp(-lead)), atol=1e-5)
    np.testing.assert_allclose(found.desired.objective[0], -lead, atol=1e-5)
    np.testing.assert_allclose(found.desired.l2[0], [0, 0.2, 0.4], atol=1e-5)
    np.testing.assert_allclose(found.desired.left[0], [0.4, 0.2, 0], atol=1e-5)
    assert found.classes.tolist() == [0]


def test_coverage_counts_what_the_seeds_and_the_path_so_far_woke() -> None:
    # Of the two logits, the only neurons, the brighter one is scaled to 1 and wakes; the other is 0 and sleeps.
    found = trajectories(PAIR, SEED, np.array([1]), dataclasses.replace(PLAIN, iterations=4), rng(), END)
    assert found.desired is not None
    assert found.fuzzed.covered.tolist() == [[0.5, 0.5, 0.5, 1, 1]]
    assert found.desired.covered.tolist() == [[0.5, 0.5, 1, 1, 1]]


def test_both_paths_begin_with_the_same_objective_neurons_among_it() -> None:
    subject, seeds = bright_pixels()
    chosen = Settings(iterations=3, neuron_weight=2.0, neurons=2, strategies=("random",), target=1)
    found = trajectories(subject, seeds.images, None, chosen, rng(), seeds.images[::-1])
    assert found.desired is not None
    np.testing.assert_allclose(found.fuzzed.objective[:, 0], found.desired.objective[:, 0])
    # The network is linear, so the objective rises by the same amount at each step until a pixel is full or empty.
    rises = np.diff(found.fuzzed.objective[[0, 29]])
    np.testing.assert_allclose(rises[:, 0], rises[:, 1], rtol=0.2)


def test_the_fuzzed_path_is_what_fuzzing_without_a_queue_measures() -> None:
    subject, seeds = bright_pixels()
    chosen = Settings(iterations=4, step=0.3, reach=10.0, target=2, queue=1)
    run = fuzz(subject, seeds.images, chosen, rng(), ends=seeds.images[::-1])
    path = trajectories(subject, seeds.images, None, chosen, rng(), seeds.images[::-1]).fuzzed
    for name in room.MEASURES:
        np.testing.assert_allclose(getattr(path, name)[run.seed, run.iteration], getattr(run, name), atol=1e-5)


def test_seeds_with_targets_of_their_own_go_there() -> None:
    subject, seeds = bright_pixels()
    images, targets = seeds.images[[0, 10, 20, 1]], np.array([1, 2, 0, 2])
    found = trajectories(subject, images, targets, dataclasses.replace(PLAIN, step=0.3), rng())
    assert found.classes.tolist() == [0, 1, 2, 0]
    assert np.all(found.fuzzed.target_loss[:, -1] < 0.5 * found.fuzzed.target_loss[:, 0])


def test_a_seed_in_its_target_class_has_no_path() -> None:
    subject, seeds = bright_pixels()
    found = trajectories(subject, seeds.images[[0, 10]], np.array([1, 1]), PLAIN, rng(), seeds.images[[1, 11]])
    assert found.desired is not None
    for path in (found.fuzzed, found.desired):
        assert np.isnan(path.target_loss).all(axis=1).tolist() == [False, True]


def test_without_ends_there_is_no_desired_path() -> None:
    subject, seeds = bright_pixels()
    found = trajectories(subject, seeds.images[:3], None, PLAIN, rng())
    assert found.desired is None
    np.testing.assert_array_equal(found.fuzzed.left, found.fuzzed.l2)
    assert np.isfinite(found.fuzzed.target_loss).all()


@pytest.mark.parametrize("targets", [None, np.array([1] * 10 + [2] * 10 + [0] * 10)])
def test_batches_change_nothing(targets: np.ndarray | None) -> None:
    subject, seeds = bright_pixels()
    chosen = dataclasses.replace(PLAIN, step=0.3, neuron_weight=0.5)
    whole = trajectories(subject, seeds.images, targets, chosen, rng(), seeds.images[::-1])
    single = trajectories(
        subject, seeds.images, targets, dataclasses.replace(chosen, batch=7), rng(), seeds.images[::-1]
    )
    assert whole.desired is not None
    assert single.desired is not None
    same(whole.fuzzed, single.fuzzed)
    same(whole.desired, single.desired)
    np.testing.assert_array_equal(whole.classes, single.classes)


def test_the_same_random_numbers_give_the_same_paths_and_others_do_not() -> None:
    subject, seeds = bright_pixels()
    images = seeds.images[:10] * np.linspace(0.8, 1, 10, dtype="float32")[:, None, None, None]  # two logits sleep
    chosen = Settings(iterations=3, strategies=("random",), neurons=1)
    one, again, other = (
        trajectories(subject, images, None, chosen, np.random.default_rng(seed)).fuzzed for seed in (1, 1, 2)
    )
    same(one, again)
    assert not np.allclose(one.objective, other.objective)


def test_batches_are_of_one_target_and_no_larger_than_allowed() -> None:
    parts = room.batches(np.array([3, 1, 3, 3, 1]), 5, 2)
    assert [part.tolist() for part in parts] == [[1, 4], [0, 2], [3]]
    assert [part.tolist() for part in room.batches(None, 3, 2)] == [[0, 1], [2]]
