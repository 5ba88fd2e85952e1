"""Fine-pruning of a model whose channels are known: which go, and that they stay silent through the tuning."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.repair import tuning
from pytest_backdoor.repair.fine_pruning import Settings, fine_pruned, last, pruned, settings
from tests.tiny import bright_model, subject_of

SHAPE = (1, 2, 1)
SEEDS = Sample(np.array([[0.6, 0.2], [0.2, 0.6]] * 5, "float32").reshape(10, 1, 2, 1), np.array([0, 1] * 5))


def model(activation="relu"):
    """Channels 0.9 x, x and relu(-x), of which the classes read the first; the last sleeps on images."""
    made = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(3, 1, name="conv", activation=activation), layers.Flatten(), layers.Dense(2)]
    )
    head = np.zeros((6, 2))
    head[0, 0] = head[3, 1] = 10.0
    made.set_weights([np.array([[[[0.9, 1.0, -1.0]]]]), np.zeros(3), head, np.zeros(2)])
    return made


def test_channels_go_in_the_order_of_their_activity_until_accuracy_falls():
    made = model()
    assert pruned(made, subject_of(made, SHAPE), SEEDS, Settings()).tolist() == [2]


def test_with_all_of_the_accuracy_to_lose_one_channel_is_left():
    made = model()
    assert pruned(made, subject_of(made, SHAPE), SEEDS, Settings(points=1.0)).tolist() == [2, 0]


def test_a_silent_channel_stays_silent_through_the_tuning():
    quick = Settings(points=1.0, tuning=tuning.Settings(rates=(0.5,), steps=5, answers=0.0, reach=0))
    old = model("tanh")  # whose slope at zero would wake it
    made, count = fine_pruned(old, subject_of(old, SHAPE), SEEDS, quick, np.random.default_rng(0))
    assert count == 2
    kernel, bias = made.get_layer("conv").get_weights()
    outputs = keras.Model(made.inputs[0], made.get_layer("conv").output).predict(SEEDS.images - 1)
    assert sorted((outputs == 0).all((0, 1, 2))) == [False, True, True]
    assert (kernel != 0).sum() == 1
    assert (bias != 0).sum() == 1
    assert not np.array_equal(made.get_weights()[2], old.get_weights()[2])


def test_labels_are_learned_from_two_thousand_seeds_on():
    few, many = settings(1999), settings(2000)
    assert (few.tuning.answers, few.tuning.steps, few.points) == (0.5, 100, 0.05)
    assert (many.tuning.answers, many.tuning.steps, many.points) == (0.0, 1000, 0.05)


def test_many_channels_are_looked_at_in_steps():
    wide = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(120, 1, activation="relu"), layers.Flatten()])
    wide = keras.Model(wide.inputs[0], layers.Dense(2)(wide.outputs[0]))
    found = pruned(wide, subject_of(wide, SHAPE), SEEDS, Settings(points=1.0))
    assert len(found) == 117  # three at a time, never all


def test_a_model_without_such_a_convolution_is_refused():
    with pytest.raises(OutOfScopeError, match="no convolution with an activation that leaves zero as it is"):
        last(bright_model())
