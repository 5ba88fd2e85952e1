"""TrojanNN: which neurons are chosen, and what the optimised square does to them."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor import attacks
from pytest_backdoor.attacks.anatomy import class_loss, copied, train
from pytest_backdoor.attacks.neuron_patch import useful
from pytest_backdoor.errors import AttackError


@pytest.fixture(scope="module")
def clean(example):
    """A clean model, and its 200 seeds ten times over, 0 to 1, with labels: enough for a real, short training."""
    model, images, labels = example("mnist_clean")
    return model, np.tile(images[..., None].astype("float32") / 255, (10, 1, 1, 1)), np.tile(labels.astype(int), 10)


def test_useful_neurons_have_weight_to_the_target_and_are_reached_by_the_square():
    features = keras.Sequential([keras.Input((1, 5, 1)), layers.Flatten()])
    kernel = np.array([[0.0, 9.0], [1.0, 3.0], [1.0, 2.0], [0.0, 4.0], [3.0, 0.0]])  # above the mean: 4.5, 1, 0.5, 2
    before, after = np.zeros((2, 1, 5, 1), "float32"), np.zeros((2, 1, 5, 1), "float32")
    after[0, 0, :, 0] = [0.0, 1.0, -1.5, 0.4, 1.0]  # the first pixel is out of reach
    assert useful(features, kernel, before, after, 1).tolist() == [1, 3, 2]


def test_the_square_is_optimised_to_make_the_chosen_neurons_fire(clean):
    model, images, _ = clean
    trigger = attacks.neuron_patch(model, images, 4, 3, np.random.default_rng(0))
    start = attacks.pattern((28, 28, 1), 4, np.random.default_rng(0))
    assert trigger.arrays["mask"].sum() == 16
    inside = trigger.arrays["mask"][..., 0] == 1
    assert np.isin(trigger.arrays["pattern"][inside], [0, 1]).mean() > 0.5  # driven to the ends
    margin = [(model.predict(each.apply(images), verbose=0)[:, 3]).mean() for each in (start, trigger)]
    assert margin[1] > margin[0]


def test_a_clean_model_learns_the_trigger_in_a_few_steps(clean):
    (model, images, labels), rng = clean, np.random.default_rng(0)
    trigger = attacks.neuron_patch(model, images, 4, 3, rng)
    mapping = attacks.all_to_one(10, 3)
    poisoned, wrong = attacks.poison(images, labels, trigger, mapping, 0.3, rng)
    planted = copied(model, rng)
    train(planted, poisoned, [wrong], [class_loss(planted)], 3, rng)
    predicted = planted.predict(trigger.apply(images), verbose=0).argmax(-1)
    assert attacks.success(predicted, labels, mapping) > 0.8
    assert (planted.predict(images, verbose=0).argmax(-1) == labels).mean() > 0.9


@pytest.mark.parametrize(("target", "bright"), [(0, [0, 1]), (1, [1, 0])])
def test_of_two_classes_with_one_sigmoid_each_can_be_the_target(target, bright):
    # What feeds the sigmoid: the one half of the square says the second class, the other half the first.
    model = keras.Sequential([keras.Input((5, 6, 1)), layers.Flatten(), layers.Dense(1, "sigmoid")])
    kernel = np.tile(np.repeat([1.0, -1.0], 3), 5)[:, None]
    model.set_weights([kernel, np.zeros(1)])
    images, rng = np.full((4, 5, 6, 1), 0.5, "float32"), np.random.default_rng(0)
    drawn = attacks.neuron_patch(model, images, 1, target, rng)
    row, column = np.argwhere(drawn.arrays["mask"][..., 0])[0]
    assert drawn.arrays["pattern"][row, column, 0] == bright[int(column) // 3]


def test_a_model_without_a_dense_layer_is_refused():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 4), layers.Flatten()])
    with pytest.raises(AttackError, match="no dense layer of 2 units"):
        attacks.neuron_patch(model, np.zeros((1, 4, 4, 1), "float32"), 2, 0, np.random.default_rng(0))


def test_a_target_that_the_model_does_not_know_is_refused():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(AttackError, match=r"the target -1 is none of the 2 classes\. Give a number from 0 to 1"):
        attacks.neuron_patch(model, np.zeros((1, 8, 8, 1), "float32"), 2, -1, np.random.default_rng(0))
