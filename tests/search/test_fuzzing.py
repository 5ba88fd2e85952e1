"""Fuzzing: single steps worked out by hand, bounds as laws, and runs that depend on neither batch nor order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_backdoor.errors import ContractError
from pytest_backdoor.search import pushing
from pytest_backdoor.search.constraints import CONSTRAINTS
from pytest_backdoor.search.fuzzing import Run, Settings, fuzz
from tests.tiny import bright_pixels, linear, subject_of, two_pixels

PAIR = subject_of(two_pixels(), (1, 2, 1))
COLUMNS = ("seed", "turn", "iteration", "before", "after", "adversarial")
FREE = Settings(neuron_weight=0.1, reach=10.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def same(one: Run, other: Run) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.objective, other.objective, atol=1e-5)
    np.testing.assert_allclose(one.images, other.images, atol=1e-6)


def test_a_step_moves_along_the_gradient_scaled_to_a_root_mean_square_of_one() -> None:
    # Objective z1 - z0 has the gradient (-1, 1), whose root mean square is 1. From (0.6, 0.5), steps of 0.02 lead to
    # (0.54, 0.56) after three, where class 1 leads.
    run = fuzz(
        PAIR,
        np.array([[[[0.6], [0.5]]]], "float32"),
        Settings(neuron_weight=0, target=1),
        rng(),
    )
    assert run.iteration.tolist() == [1, 2, 3, 4, 5]
    assert run.adversarial.tolist() == [False, False, True, True, True]
    np.testing.assert_allclose(run.images[0].ravel(), [0.54, 0.56], atol=1e-4)
    np.testing.assert_allclose(run.objective[:3], [0.52 - 0.58, 0.54 - 0.56, 0.56 - 0.54], atol=1e-4)
    np.testing.assert_allclose(run.l2[2], 0.06 * np.sqrt(2), atol=1e-4)
    np.testing.assert_allclose(run.linf[2], 0.06, atol=1e-4)
    np.testing.assert_allclose(run.original_loss[0], np.log(1 + np.exp(0.52 - 0.58)), atol=1e-4)
    np.testing.assert_allclose(run.target_loss[0], np.log(1 + np.exp(0.58 - 0.52)), atol=1e-4)


def test_chosen_neurons_are_part_of_the_objective() -> None:
    # The one layer has two neurons, the logits; pushed with weight 10 both rise, whatever the classes say.
    image = np.array([[[[0.6], [0.5]]]], "float32")
    run = fuzz(
        PAIR,
        image,
        Settings(neuron_weight=10, neurons=2, strategies=("often", "rarely")),
        rng(),
    )
    assert np.all(np.diff(run.objective) > 0)
    assert run.linf[-1] > 0.05


def test_seeds_that_are_in_the_target_class_are_left_alone() -> None:
    images = np.array([[[[0.6], [0.5]]], [[[0.1], [0.9]]]], "float32")
    run = fuzz(PAIR, images, Settings(target=1), rng())
    assert set(run.seed) == {0}


def test_there_must_be_a_seed_to_push() -> None:
    with pytest.raises(ContractError, match="every seed is of class 1 already"):
        fuzz(PAIR, np.array([[[[0.1], [0.9]]]], "float32"), Settings(target=1), rng())


def test_the_distance_to_the_end_of_the_path_is_measured() -> None:
    image = np.array([[[[0.6], [0.5]]]], "float32")
    end = np.array([[[[0.6], [1.0]]]], "float32")
    run = fuzz(PAIR, image, Settings(neuron_weight=0, target=1), rng(), ends=end)
    np.testing.assert_allclose(run.left[0], np.hypot(0.02, 0.48), atol=1e-4)


def test_bounded_draws_back_to_the_ball_and_into_the_value_range() -> None:
    seeds = np.array([[[[0.6], [0.8]]], [[[0.0], [0.0]]]], "float32")  # norms 1 and, for want of any, 1
    moved = np.array([[[[0.6], [1.8]]], [[[-0.3], [0.1]]]], "float32")
    np.testing.assert_allclose(
        np.asarray(pushing.bounded(moved, seeds, 0.1)).reshape(2, 2),
        [[0.6, 0.9], [0.0, 0.1 * 0.1 / np.sqrt(0.1)]],
        1e-5,
    )


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(sorted(CONSTRAINTS)),
    st.floats(0.01, 2.0),
    st.floats(0.0, 0.5),
    st.integers(0, 2**32 - 1),
)
def test_values_stay_in_range_and_near_the_seed(constraint: str, step: float, reach: float, seed: int) -> None:
    subject, _ = SHARED
    images = np.random.default_rng(seed).random((4, 8, 8, 1), "float32")
    run = fuzz(subject, images, Settings(step=step, reach=reach, constraint=constraint, box=3), rng())
    norms = np.sqrt(np.sum(images**2, (1, 2, 3)))[run.seed]
    assert np.all(run.l2 <= reach * np.maximum(norms, 1) + 1e-4)
    assert run.images.size == 0 or (run.images.min() >= 0 and run.images.max() <= 1)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_a_box_changes_nothing_outside(side: int, seed: int) -> None:
    subject, seeds = SHARED
    run = fuzz(subject, seeds.images, replace(FREE, constraint="box", box=side, step=1.0), np.random.default_rng(seed))
    changed = np.abs(run.images - seeds.images[run.seed[run.found]])[..., 0] > 0
    for picture in changed:
        rows, columns = np.nonzero(picture)
        assert np.ptp(rows) < side
        assert np.ptp(columns) < side


SHARED = bright_pixels()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_batches_of_one_and_of_all_give_the_same_run(constraint: str) -> None:
    subject, seeds = bright_pixels()
    chosen = replace(FREE, constraint=constraint, box=4, step=0.3, near=1.0, gain=1e-6, strategies=("rarely", "random"))
    whole = fuzz(subject, seeds.images, chosen, rng())
    single = fuzz(subject, seeds.images, replace(chosen, batch=1), rng())
    assert len(whole.seed)
    same(whole, single)


def test_the_order_of_the_seeds_changes_nothing() -> None:
    subject, seeds = bright_pixels()
    chosen = replace(FREE, constraint="box", box=4, step=0.3)
    forward, backward = (fuzz(subject, images, chosen, rng()) for images in (seeds.images, seeds.images[::-1]))
    last = len(seeds) - 1
    for seed in (0, 7, last):
        one, other = forward.seed == seed, backward.seed == last - seed
        np.testing.assert_array_equal(forward.after[one], backward.after[other])
        np.testing.assert_allclose(forward.l2[one], backward.l2[other], atol=1e-5)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    subject, seeds = bright_pixels()
    chosen = replace(FREE, constraint="box", box=3, step=0.5)
    first, again, other = (fuzz(subject, seeds.images, chosen, np.random.default_rng(seed)) for seed in (1, 1, 2))
    same(first, again)
    assert not np.allclose(first.objective, other.objective)


def test_an_image_that_covers_more_near_its_seed_is_pushed_in_turn() -> None:
    subject, seeds = bright_pixels()
    images = seeds.images[:10]  # of one class, whose logit is the only neuron that they cover
    near = replace(FREE, near=10.0, gain=1e-6, step=0.3, iterations=2, queue=3)
    assert fuzz(subject, images, near, rng()).turn.max() > 0
    assert fuzz(subject, images, replace(near, near=0.0), rng()).turn.max() == 0
    assert fuzz(subject, images, replace(near, gain=1.0), rng()).turn.max() == 0


def test_coverage_never_falls() -> None:
    subject, seeds = bright_pixels()
    before, after = fuzz(subject, seeds.images, FREE, rng()).coverage
    assert after.share >= before.share > 0
    assert np.all(after.times >= before.times)


def test_models_that_disagree_end_the_path_of_a_seed() -> None:
    # The second model sees class 0 in the left pixel only when it is above 0.55.
    shy = subject_of(linear(np.eye(2), np.array([-0.05, 0.0]), (1, 2, 1)), (1, 2, 1))
    image = np.array([[[[0.6], [0.5]]]], "float32")
    chosen = Settings(neuron_weight=0, deviation=4.0, iterations=20)
    run = fuzz(PAIR, image, chosen, rng(), others=[shy])
    assert run.adversarial.tolist() == [False] * (len(run.seed) - 1) + [True]
    assert len(run.seed) < 20
    assert [neurons for _, neurons in run.coverage[0].layers] == [2, 2]


def test_difference_finds_suspects_of_its_own() -> None:
    subject, seeds = bright_pixels()
    chosen = replace(FREE, step=0.3, strategies=("difference",))
    given, own = (
        fuzz(subject, seeds.images, chosen, rng(), suspects=seeds.images),
        fuzz(subject, seeds.images, chosen, rng()),
    )
    assert len(given.seed) == len(own.seed)
