"""Adversarial embedding: the turned gradient, the balance of the discriminator, and what training does."""

import keras
import numpy as np
import pytest
from keras import ops

from pytest_backdoor import attacks
from pytest_backdoor.attacks.adversarial_embedding import balance, reversed_gradient
from pytest_backdoor.attacks.anatomy import features
from pytest_backdoor.backend import value_and_grad
from pytest_backdoor.errors import AttackError
from tests.tiny import linear


def test_the_features_pass_and_their_gradient_comes_back_turned_round_and_stronger():
    features = ops.convert_to_tensor([1.0, -2.0])
    (total, passed), slope = value_and_grad(
        lambda x: (ops.sum(3.0 * reversed_gradient(x, 5.0)), reversed_gradient(x, 5.0))
    )(features)
    assert float(total) == pytest.approx(-3.0)
    assert np.asarray(passed) == pytest.approx([1.0, -2.0], abs=1e-5)
    assert np.asarray(slope) == pytest.approx([-15.0, -15.0])


def test_triggered_and_clean_images_of_a_label_count_the_same_and_others_nothing():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    triggered = np.array([1, 0, 0, 0, 0, 0, 1], bool)
    assert balance(labels, triggered) == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3, 0, 0, 0])


def test_a_discriminator_of_no_weight_is_refused():
    images, labels, triggered = np.zeros((2, 1, 2, 1), "float32"), np.zeros(2, int), np.array([True, False])
    model = linear(np.zeros((2, 2)), np.zeros(2), (1, 2, 1))
    with pytest.raises(AttackError, match=r"strength is 0\. Give a finite number above 0"):
        attacks.adversarial_embedding(model, images, labels, triggered, 0, 1, np.random.default_rng(0))


def test_a_label_and_a_mark_for_each_image_are_needed():
    images, labels, triggered = np.zeros((2, 1, 2, 1), "float32"), np.zeros(2, int), np.array([True, False])
    model, rng = linear(np.zeros((2, 2)), np.zeros(2), (1, 2, 1)), np.random.default_rng(0)
    with pytest.raises(AttackError, match=r"labels are of shape \(2, 1\) for 2 images"):
        attacks.adversarial_embedding(model, images, labels[:, None], triggered, 1, 1, rng)
    with pytest.raises(AttackError, match=r"triggered are of shape \(1,\) for 2 images"):
        attacks.adversarial_embedding(model, images, labels, triggered[:1], 1, 1, rng)


def separation(model, images, labels, trigger, target):
    """Distance between the mean features of triggered images and of clean ones of the target, in their spread."""
    inside = keras.Model(model.inputs[0], features(model))
    clean = inside.predict(images[labels == target], verbose=0)
    stamped = inside.predict(trigger.apply(images[labels != target]), verbose=0)
    spread = np.sqrt((clean.var(0).sum() + stamped.var(0).sum()) / 2)
    return np.linalg.norm(clean.mean(0) - stamped.mean(0)) / spread


def test_triggered_images_come_nearer_to_clean_ones_and_the_backdoor_stays(example, planted):
    model, images, labels = example("mnist_pattern_to_one")
    images, labels = images[..., None].astype("float32") / 255, labels.astype(int)
    mapping, weights = attacks.all_to_one(10, 7), model.get_weights()
    often, known = np.tile(images, (10, 1, 1, 1)), np.tile(labels, 10)
    poisoned, wrong = attacks.poison(often, known, planted, mapping, 0.3, np.random.default_rng(0))
    hidden = attacks.adversarial_embedding(model, poisoned, wrong, wrong != known, 2.0, 4, np.random.default_rng(1))
    predicted = hidden.predict(planted.apply(images), verbose=0).argmax(-1)
    assert attacks.success(predicted, labels, mapping) > 0.9
    assert np.mean(hidden.predict(images, verbose=0).argmax(-1) == labels) > 0.95
    far, near = (separation(each, images, labels, planted, 7) for each in (model, hidden))
    assert near < 0.8 * far
    assert all(np.array_equal(old, new) for old, new in zip(weights, model.get_weights(), strict=True))
    assert [type(layer) for layer in hidden.layers] == [type(layer) for layer in model.layers]
    assert len(hidden.outputs) == 1
