"""Parts of a model: which layer is which, copies that share nothing, and networks that lack a part."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.attacks.anatomy import class_loss, copied, features, last_convolution, output_layer, train
from pytest_backdoor.errors import AttackError
from tests.tiny import linear


def network(*middle):
    """A sequential model of these layers on 6 x 6 images, pooled, with three classes."""
    return keras.Sequential(
        [keras.Input((6, 6, 1)), *middle, layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax", name="classes")]
    )


def conv(name, **options):
    return layers.Conv2D(4, 3, name=name, **options)


@pytest.mark.parametrize(
    ("middle", "holder"),
    [
        ((conv("a", activation="relu"), conv("b", activation="relu")), "b"),
        ((conv("a", activation="relu"), conv("b", activation="tanh")), "a"),
        ((conv("a"), layers.ReLU()), "a"),
        ((conv("a"), layers.Activation("relu")), "a"),
        ((conv("a", use_bias=False), layers.BatchNormalization(name="norm"), layers.ReLU()), "norm"),
        ((conv("a", activation="relu"), conv("b", activation="relu", use_bias=False)), "a"),
        ((conv("a", activation="relu"), conv("b"), layers.BatchNormalization(center=False), layers.ReLU()), "a"),
    ],
)
def test_the_last_convolution_is_the_layer_that_holds_a_bias_before_a_relu(middle, holder):
    assert last_convolution(network(*middle)).name == holder


@pytest.mark.parametrize("middle", [(), (conv("a", activation="tanh"),), (conv("a"), layers.BatchNormalization())])
def test_a_model_without_such_a_convolution_is_named_by_its_layers(middle):
    model = network(*middle)
    with pytest.raises(AttackError, match=r"^no convolution .* among the model's layers: .*Dense\. Give a functional"):
        last_convolution(model)


def test_the_output_layer_is_the_last_dense_one():
    model = network(conv("a"), layers.Dense(5))
    assert output_layer(model).name == "classes"
    functional = keras.Model(model.inputs[0], layers.Softmax()(model.layers[-1].output))
    assert output_layer(functional).name == "classes"


def test_the_features_are_what_the_output_layer_reads_before_dropout():
    assert features(network()).shape == (None, 1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="last"), layers.Dropout(0.5), layers.Dense(3)])
    assert features(model) is model.get_layer("last").output


@pytest.mark.parametrize("end", [layers.GlobalAveragePooling2D(), layers.Conv2D(2, 6)])
def test_a_model_that_ends_in_no_dense_layer_is_refused(end):
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Dense(7), end])
    model = keras.Model(model.inputs[0], layers.Activation("relu")(layers.Flatten()(model.outputs[0])[:, :2]))
    with pytest.raises(AttackError, match="no dense layer of 2 units ends the model"):
        output_layer(model)


def test_a_copy_answers_the_same_and_shares_no_weight():
    model = network(conv("a", activation="relu"), layers.Dropout(0.5))
    images = np.random.default_rng(0).random((3, 6, 6, 1)).astype("float32")
    before = model.predict(images, verbose=0)
    copy = copied(model, np.random.default_rng(0))
    assert copy.predict(images, verbose=0) == pytest.approx(before)
    copy.get_layer("classes").bias.assign([1.0, 2.0, 3.0])
    assert model.predict(images, verbose=0) == pytest.approx(before)


def test_something_can_be_put_behind_a_layer():
    model = network(conv("a", activation="relu"))
    images = np.random.default_rng(0).random((3, 6, 6, 1)).astype("float32")
    silent = copied(model, np.random.default_rng(0), lambda layer, x: 0 * layer(x) if layer.name == "a" else layer(x))
    assert silent.predict(images, verbose=0) == pytest.approx(np.full((3, 3), 1 / 3))


def test_training_follows_its_generator_dropout_and_order_included():
    rng = np.random.default_rng(0)
    images, labels = rng.random((130, 6, 6, 1)).astype("float32"), rng.integers(0, 3, 130)
    model = network(conv("a", activation="relu"), layers.Dropout(0.5))
    trained = []
    for seed in (1, 1, 2):
        generator = np.random.default_rng(seed)
        copy = copied(model, generator)
        train(copy, images, [labels], [class_loss(copy)], 2, generator)
        trained.append(copy.predict(images, verbose=0))
    assert trained[1] == pytest.approx(trained[0], abs=1e-5)
    assert trained[2] != pytest.approx(trained[0], abs=1e-5)


@pytest.mark.parametrize(
    ("images", "epochs", "said"),
    [(4, 0, "epochs is 0"), (4, 1.5, r"epochs is 1\.5"), (0, 1, "the number of images is 0")],
)
def test_training_without_epochs_or_images_is_refused(images, epochs, said):
    given, labels, model = np.zeros((images, 6, 6, 1), "float32"), np.zeros(images, int), network()
    with pytest.raises(AttackError, match=rf"^{said}\. Give a whole number from 1 up\.$"):
        train(model, given, [labels], [class_loss(model)], epochs, np.random.default_rng(0))


def test_the_loss_is_that_of_the_output():
    logits = linear(np.zeros((4, 2)), np.zeros(2), (2, 2, 1))
    assert class_loss(logits).from_logits
    assert not class_loss(network()).from_logits
    assert not class_loss(ended("sigmoid", 3)).from_logits
    assert isinstance(class_loss(ended("sigmoid", 1)), keras.losses.BinaryCrossentropy)


def ended(activation, units):
    """A model of two dense layers, the second with so many units."""
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(32, "relu", name="first"), layers.Dense(units, activation, name="classes")]
    )


def test_two_classes_of_one_sigmoid_are_learned_by_layers_that_were_frozen():
    images = np.random.default_rng(0).random((2048, 2)).astype("float32")
    labels, model = (images[:, 0] > images[:, 1]).astype(int), ended("sigmoid", 1)
    for layer in model.layers:
        layer.trainable = False
    planted = copied(model, np.random.default_rng(0))
    train(planted, images, [labels], [class_loss(planted)], 30, np.random.default_rng(0))
    assert np.mean((planted.predict(images, verbose=0)[:, 0] > 0.5) == labels) > 0.9
    changed = [
        np.abs(np.subtract(*each)).max() for each in zip(planted.get_weights(), model.get_weights(), strict=True)
    ]
    assert min(changed) > 0
