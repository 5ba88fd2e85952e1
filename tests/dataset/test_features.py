"""The features of a network with weights set by hand, and what is left of them within classes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pytest_backdoor.dataset.features import DIMENSIONS, penultimate, within_classes
from tests.tiny import subject_of


def two_layers(hidden, shape=(1, 2, 1)):
    """A network whose hidden layer copies the pixels, in turn, before a last layer of two classes."""
    pixels = int(np.prod(shape))
    layer = layers.Dense(hidden)
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layer, layers.Dense(2)])
    layer.set_weights([np.eye(pixels)[:, np.arange(hidden) % pixels].astype("float32"), np.zeros(hidden, "float32")])
    return subject_of(model, shape)


def test_features_are_what_the_hidden_layer_makes():
    images = np.array([[[[0.25], [1.0]]], [[[0.5], [0.0]]]], "float32")
    features = penultimate(two_layers(3), images, np.random.default_rng(0))
    assert features.tolist() == [[0.25, 1.0, 0.25], [0.5, 0.0, 0.5]]


def test_where_logits_are_averaged_features_are_what_they_are_made_of():
    hidden, logits = (layers.Conv2D(2, 1, use_bias=False) for _ in range(2))
    model = keras.Sequential([keras.Input((1, 2, 1)), hidden, logits, layers.GlobalAveragePooling2D()])
    hidden.set_weights([np.array([[[[1.0, 2.0]]]])])
    images = np.array([[[[0.25], [1.0]]]], "float32")
    features = penultimate(subject_of(model, (1, 2, 1)), images, np.random.default_rng(0))
    assert features.tolist() == [[0.25, 0.5, 1.0, 2.0]]


def test_features_are_all_that_the_last_layer_is_given_where_operations_put_them_together():
    image = keras.Input((1, 2, 1))
    pixels = layers.Flatten()(image)
    hidden, own, summed = pixels + layers.Dense(2)(pixels), layers.Dense(2, name="own"), layers.Dense(2)
    model = keras.Model(image, own(pixels) + summed(ops.concatenate([hidden, hidden + 1.0], -1)))
    model.layers[2].set_weights([np.eye(2), np.zeros(2)])
    images = np.array([[[[0.25], [1.0]]]], "float32")
    features = penultimate(subject_of(model, (1, 2, 1)), images, np.random.default_rng(0))
    assert features.tolist() == [[0.5, 2.0, 1.5, 3.0]]


def test_many_features_are_projected_and_keep_their_distances():
    images = np.random.default_rng(1).random((300, 1, 2, 1), "float32")
    features = penultimate(two_layers(4 * DIMENSIONS), images, np.random.default_rng(0))
    assert features.shape == (300, DIMENSIONS)
    distance = np.linalg.norm(features[0] - features[1])
    assert distance == pytest.approx(np.sqrt(2 * DIMENSIONS) * np.linalg.norm(images[0] - images[1]), rel=0.2)
    assert (features == penultimate(two_layers(4 * DIMENSIONS), images, np.random.default_rng(0))).all()


def test_features_within_classes_have_mean_zero_and_covariance_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    features = rng.normal(size=(3000, 2)) @ np.array([[5.0, 2.0], [0.0, 1.0]]) + 100 * labels[:, None]
    scaled = within_classes(features, labels)
    for label in range(3):
        assert scaled[labels == label].mean(0) == pytest.approx([0, 0], abs=1e-9)
    covariance = scaled.T @ scaled / 3000  # a hundredth of the mean variance is added before, to each
    assert covariance == pytest.approx(np.eye(2), abs=0.3)
    assert abs(covariance[0, 1]) < 1e-9


def test_features_that_do_not_vary_stay_zero():
    assert within_classes(np.ones((4, 2)), np.array([0, 0, 1, 1])).tolist() == [[0, 0]] * 4
