"""Neuron coverage and the strategies that choose neurons, by values worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from pytest_backdoor.search import coverage
from pytest_backdoor.search.coverage import Moment, Neurons
from pytest_backdoor.subject import Subject
from tests.tiny import subject_of

HALF = np.full((1, 4), 0.5)


def small_network() -> Subject:
    """A convolution that copies the image and its negative, ReLU, and two sums of what is left."""
    inputs = keras.Input((2, 2, 1))
    copies = layers.Conv2D(2, 1, activation="relu", name="copies")
    sums = layers.Dense(2, name="sums")
    model = keras.Model(inputs, sums(layers.Flatten()(copies(inputs))))
    copies.set_weights([np.array([1.0, -1.0]).reshape(1, 1, 1, 2), np.array([0.0, 1.0])])
    sums.set_weights([np.tile([[1.0, -1.0]], (8, 1)), np.zeros(2)])
    return subject_of(model, (2, 2, 1))


def moment(times: list[float], activity: list[float], noise: list[float]) -> Moment:
    return Moment(np.array([times]), np.array([activity]), np.array([noise]))


def neurons(
    weights: list[float] | None = None, hidden: list[bool] | None = None, difference: list[float] | None = None
) -> Neurons:
    count = 4
    return Neurons(
        np.array(weights or [np.nan] * count), np.array(hidden or [True] * count), np.array(difference or [0.0] * count)
    )


def test_activity_is_the_mean_over_places_after_scaling_the_whole_layer() -> None:
    # Values from 0 to 8 in two channels: channel 0 has the mean 1.5, channel 1 has 5.
    output = np.array([[[[0.0, 4.0], [1.0, 8.0]], [[2.0, 4.0], [3.0, 4.0]]]], "float32")
    np.testing.assert_allclose(coverage.awake([output])[0], [[1.5 / 8, 5 / 8]])


def test_activity_of_a_dense_layer_is_its_output_scaled() -> None:
    np.testing.assert_allclose(coverage.awake([np.array([[-1.0, 0.0, 3.0]], "float32")])[0], [[0.0, 0.25, 1.0]])


def test_a_layer_that_answers_the_same_everywhere_wakes_no_neuron() -> None:
    np.testing.assert_allclose(coverage.awake([np.full((1, 2, 2, 3), 7.0, "float32")])[0], [[0.0, 0.0, 0.0]])


def test_strength_is_the_mean_output_as_it_is() -> None:
    outputs = [np.array([[[[1.0, -2.0]], [[3.0, -4.0]]]], "float32"), np.array([[5.0]], "float32")]
    np.testing.assert_allclose(coverage.awake(outputs)[1], [[2.0, -3.0, 5.0]])


def test_neurons_are_those_of_every_layer_but_input_and_flatten() -> None:
    subject = small_network()
    assert coverage.layers([subject]) == (("copies", 2), ("sums", 2))
    assert subject.layers[0].weights == (1.0, -1.0)
    assert coverage.hidden(subject).tolist() == [True, True, False, False]


def test_coverage_counts_the_images_that_wake_each_neuron() -> None:
    # A black image: copies (0, 1), scaled the same; sums (4, -4), scaled (1, 0). A white one: copies (1, 0), sums as
    # before: so of the four neurons only the last is never woken.
    images = np.stack([np.zeros((2, 2, 1), "float32"), np.ones((2, 2, 1), "float32")])
    seen = coverage.coverage(small_network(), images)
    assert seen.times.tolist() == [1, 1, 2, 0]
    assert seen.share == 0.75
    assert seen.by_layer == {"copies": 1.0, "sums": 0.5}
    assert seen.images == 2


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_higher_threshold_covers_no_more(threshold: float, seed: int) -> None:
    subject = small_network()
    images = np.random.default_rng(seed).random((3, 2, 2, 1), "float32")
    lower = coverage.coverage(subject, images, threshold * 0.9).times
    assert np.all(coverage.coverage(subject, images, threshold).times <= lower)


def test_random_takes_uncovered_neurons_only() -> None:
    scores = coverage.uncovered(neurons(), moment([0, 2, 0, 1], [0] * 4, [0.1, 0.9, 0.3, 0.8]))
    assert scores.tolist() == [[0.1, -np.inf, 0.3, -np.inf]]


def test_often_and_rarely_weigh_by_times_covered() -> None:
    now = moment([1, 3, 0, 2], [0] * 4, [np.exp(-6.0)] * 4)
    np.testing.assert_allclose(coverage.often(neurons(), now), [[-6, -2, -np.inf, -3]])
    np.testing.assert_allclose(coverage.rarely(neurons(), now), [[-3, -np.inf, -2, -6]])


def test_often_draws_in_proportion_to_the_times_covered() -> None:
    noise = np.random.default_rng(0).random((20_000, 4))
    now = Moment(np.tile([1.0, 2.0, 0.0, 5.0], (20_000, 1)), np.zeros((20_000, 4)), noise)
    first = coverage.often(neurons(), now).argmax(1)
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 20_000, [1 / 8, 2 / 8, 0, 5 / 8], atol=0.015)


def test_heavy_takes_the_top_tenth_of_positive_incoming_weights() -> None:
    weights = np.array([0.9, -0.5, 0.8, *[0.1] * 16, np.nan])
    known = Neurons(weights, np.ones(20, bool), np.zeros(20))
    scores = coverage.heavy(known, Moment(np.zeros((1, 20)), np.zeros((1, 20)), np.full((1, 20), 0.5)))
    assert np.flatnonzero(scores[0] > -np.inf).tolist() == [0, 2]
    negative = Neurons(np.full(20, -1.0), np.ones(20, bool), np.zeros(20))
    assert np.all(coverage.heavy(negative, Moment(np.zeros((1, 20)), np.zeros((1, 20)), np.full((1, 20), 0.5))) < 0)


def test_threshold_raises_neurons_above_and_lowers_those_below() -> None:
    known = neurons(hidden=[True, True, True, False])
    now = moment([0] * 4, [0.6, 0.8, 0.35, 0.6], [0.5] * 4)
    assert coverage.above(known, now).tolist() == [[0.5, -np.inf, -np.inf, -np.inf]]  # 0.8 is too far above
    assert coverage.below(known, now).tolist() == [[-np.inf, -np.inf, 0.5, -np.inf]]
    assert coverage.chosen(known, now, ["threshold"], 4).tolist() == [[1, 0, -1, 0]]


def test_difference_ranks_by_how_much_more_suspicious_images_fire_a_neuron() -> None:
    known = neurons(difference=[0.2, 0.0, 0.7, 0.1])
    assert coverage.chosen(known, moment([0] * 4, [0] * 4, [0.5] * 4), ["difference"], 2).tolist() == [[1, 0, 1, 0]]


def test_combined_strategies_share_the_neurons_and_none_erases_another() -> None:
    now = moment([0, 3, 0, 1], [0.6, 0.6, 0.4, 0.4], [0.9, 0.5, 0.8, 0.5])
    pushed = coverage.chosen(neurons(), now, ["random", "often", "threshold"], 4)
    # random takes 0, often takes 1, and of what is left threshold lowers 2 and finds none to raise.
    assert pushed.tolist() == [[1, 1, -1, 0]]


@pytest.mark.parametrize("name", coverage.STRATEGIES)
def test_a_strategy_chooses_no_more_neurons_than_asked(name: str) -> None:
    rng = np.random.default_rng(3)
    now = Moment(rng.integers(0, 4, (50, 30)), rng.random((50, 30)), rng.random((50, 30)))
    known = Neurons(rng.normal(size=30), rng.random(30) < 0.8, rng.random(30))
    pushed = coverage.chosen(known, now, [name], 6)
    assert 0 < np.abs(pushed).sum(1).max() <= 6
    assert set(np.unique(pushed)) <= {-1.0, 0.0, 1.0}


def test_the_difference_of_a_neuron_is_the_mean_over_its_places() -> None:
    subject = small_network()
    clean, suspects = np.zeros((2, 2, 2, 1), "float32"), np.zeros((2, 2, 2, 1), "float32")
    suspects[:, 0, 1] = 1.0  # fires the copy there, and silences its negative
    assert coverage.difference([subject], suspects, clean).tolist() == [0.25, 0, 0, 0]
    assert coverage.difference([subject], suspects[:0], clean) is None
