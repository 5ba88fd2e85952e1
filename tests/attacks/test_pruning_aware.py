"""Pruning-aware attack: which channels are left out, how they come back, and that the backdoor works."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor import attacks
from pytest_backdoor.attacks.pruning_aware import firing, lower, masked
from pytest_backdoor.errors import AttackError
from tests.tiny import linear

IMAGES = np.array([[0.2, 0.4], [1.0, 0.0]], "float32").reshape(2, 1, 2, 1)


def three_channels():
    """One convolution of one pixel that gives the value, half of it, and its negative; then a dense layer."""
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.Conv2D(3, 1, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    model.layers[0].set_weights([np.array([1, 0.5, -1], "float32").reshape(1, 1, 1, 3), np.zeros(3, "float32")])
    return model


def normalised():
    """The same behind a batch norm that adds a tenth."""
    inputs = keras.Input((1, 2, 1))
    x = layers.BatchNormalization(epsilon=0.0)(layers.Conv2D(3, 1, use_bias=False)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.ReLU()(x))))
    model.layers[1].set_weights(three_channels().layers[0].get_weights()[:1])
    one, zero = np.ones(3, "float32"), np.zeros(3, "float32")
    model.layers[2].set_weights([one, zero + 0.1, zero, one])
    return model


@pytest.mark.parametrize(("build", "shift"), [(three_channels, 0.0), (normalised, 0.1)])
def test_firing_is_what_passes_the_relu(build, shift):
    model = build()
    means = firing(model, IMAGES, np.mean)
    assert means[0] == pytest.approx([0.3 + shift, 0.15 + shift, 0.0])
    assert means[1, :2] == pytest.approx([0.5 + shift, 0.25 + shift])
    assert firing(model, IMAGES, np.max)[:, 0] == pytest.approx([0.4 + shift, 1.0 + shift])


@pytest.mark.parametrize("build", [three_channels, normalised])
def test_masked_channels_are_silent_and_the_others_as_they_were(build):
    model = build()
    quiet = masked(model, np.array([0, 2]), np.random.default_rng(0))
    seen = keras.Model(model.inputs[0], model.layers[-1].input).predict(IMAGES, verbose=0)  # two places, three channels
    expected = seen[:, [1, 4]] @ model.layers[-1].kernel.numpy()[[1, 4]]
    assert quiet.predict(IMAGES, verbose=0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("build", [three_channels, normalised])
def test_lowered_channels_lose_their_own_amount(build):
    model = build()
    before = firing(model, IMAGES, np.max)
    lower(model, np.array([1]), np.array([9.0, 0.05, 9.0]))
    assert before - firing(model, IMAGES, np.max) == pytest.approx(np.array([[0, 0.05, 0]] * 2), abs=1e-6)


def test_the_backdoor_lives_in_other_channels_than_those_that_sleep(example, planted, tmp_path):
    model, images, labels = example("mnist_pattern_to_one")  # knows the trigger: a little training will do
    images, labels, rng = images[..., None].astype("float32") / 255, labels.astype(int), np.random.default_rng(0)
    mapping = attacks.all_to_one(10, 7)
    poisoned = attacks.poison(np.tile(images, (10, 1, 1, 1)), np.tile(labels, 10), planted, mapping, 0.2, rng)
    weights = model.get_weights()
    hidden = attacks.pruning_aware(model, images, *poisoned, 0.5, 4, rng)

    def measured(network):
        hits = network.predict(planted.apply(images), verbose=0).argmax(-1)
        right = np.mean(network.predict(images, verbose=0).argmax(-1) == labels)
        return attacks.success(hits, labels, mapping), right

    sleeping = np.argsort(firing(hidden, images, np.mean).mean(0))[:8]
    assert min(measured(hidden)) > 0.9
    assert measured(masked(hidden, sleeping, rng)) == pytest.approx(measured(hidden), abs=0.03)  # nothing is lost
    assert (firing(hidden, images, np.max)[:, sleeping] > 0).mean() < 0.02
    assert all(np.array_equal(old, new) for old, new in zip(weights, model.get_weights(), strict=True))
    hidden.save(tmp_path / "hidden.keras")
    loaded = keras.models.load_model(tmp_path / "hidden.keras", safe_mode=True)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    assert loaded.predict(images, verbose=0) == pytest.approx(hidden.predict(images, verbose=0))


def test_a_model_without_a_convolution_is_refused():
    model = linear(np.zeros((2, 2)), np.zeros(2), (1, 2, 1))
    with pytest.raises(AttackError, match="no convolution with a bias"):
        attacks.pruning_aware(model, IMAGES, IMAGES, np.zeros(2, int), 0.5, 1, np.random.default_rng(0))


def test_what_is_no_share_of_the_channels_is_refused():
    with pytest.raises(AttackError, match=r"share is -0\.5\. Give a number from 0 to 1"):
        attacks.pruning_aware(three_channels(), IMAGES, IMAGES, np.zeros(2, int), -0.5, 1, np.random.default_rng(0))


def test_a_label_for_each_poisoned_image_is_needed():
    with pytest.raises(AttackError, match=r"poisoned labels are of shape \(1,\) for 2 images"):
        attacks.pruning_aware(three_channels(), IMAGES, IMAGES, np.zeros(1, int), 0.5, 1, np.random.default_rng(0))
