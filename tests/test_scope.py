"""Scope: what is an image classifier that answers each image by itself, and what is refused with a reason."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.subject import classifier
from tests.tiny import AS_IS, after, linear, sequential, two_pixels


def two_inputs():
    left, right = keras.Input((6, 6, 1)), keras.Input((6, 6, 1))
    return keras.Model([left, right], layers.Dense(3)(layers.Flatten()(left + right)))


def two_outputs():
    image = keras.Input((6, 6, 1))
    flat = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(3)(flat), layers.Dense(3)(flat)])


class Turned(keras.Model):
    """A model whose call() does more than its graph."""

    def call(self, images, training=None, mask=None):
        return super().call(1.0 - images, training=training)


class Halved(keras.Model):
    """A model without a graph."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, images, training=None):
        return 0.5 * self.inner(images)


def turned(model):
    return Turned(model.inputs, model.outputs, name="turned")


def called(model):
    model(np.zeros((1, 1, 2, 1), "float32"))
    return model


def text():
    words = keras.Input((9,), dtype="int32")
    return keras.Model(words, layers.Dense(3)(layers.Flatten()(layers.Embedding(50, 4)(words))))


def whole_numbers():
    numbers = keras.Input((9,), dtype="int32")
    return keras.Model(numbers, layers.Dense(3)(ops.cast(numbers, "float32")))


def unknown_classes():
    image = keras.Input((None, None, 1))
    return keras.Model(image, ops.mean(image, (1, 3)))


OUT_OF_SCOPE = {
    "regression": (lambda: sequential(layers.Dense(1)), "one number: it is a regression or knows one class only"),
    "one class": (lambda: sequential(layers.Dense(1, activation="softmax")), "at least two classes"),
    "two inputs": (two_inputs, "the model has 2 inputs. Only models with one image input"),
    "two outputs": (two_outputs, "the model has 2 outputs. Only models with one output"),
    "text": (text, "the model reads text"),
    "nested text": (lambda: keras.Sequential([keras.Input((9,), dtype="int32"), text()]), "the model reads text"),
    "whole numbers": (whole_numbers, "the model takes int32, not an image"),
    "segmentation": (
        lambda: keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 1, activation="softmax")]),
        r"outputs of shape \(6, 6, 3\), one per place: segmentation is out of scope",
    ),
    "video": (lambda: sequential(layers.Dense(3), shape=(2, 6, 6, 1)), r"inputs of shape \(2, 6, 6, 1\), not images"),
    "fixed batch": (
        lambda: keras.Model(image := keras.Input(batch_shape=(2, 6, 6, 1)), layers.Flatten()(image)),
        "exactly 2 images",
    ),
    "no layers": (lambda: keras.Model(image := keras.Input((9,)), image), "gives back what it is given"),
    "whole answers": (lambda: after(lambda scores: ops.cast(scores, "int32")), "gives int32, which has no gradients"),
    "unknown classes": (unknown_classes, "does not say how many classes it has"),
    "bytes": (
        lambda: keras.Model(image := keras.Input((9,), dtype="uint8"), layers.Dense(3)(ops.cast(image, "float32"))),
        "the model takes uint8, and whole numbers have no gradients",
    ),
    "unbuilt": (
        lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]),
        "no graph of layers: it was never",
    ),
    "own class": (
        lambda: called(Halved(linear(np.eye(2), np.zeros(2), (1, 2, 1)))),
        "its class has a call",
    ),
    "own call": (lambda: turned(two_pixels()), r"turned has a call\(\) of its own, and a scan would follow its layers"),
    "own call inside": (
        lambda: keras.Sequential([keras.Input((1, 2, 1)), turned(two_pixels())]),
        r"turned has a call\(\) of its own",
    ),
    "channels first, of any size": (
        lambda: keras.Sequential([keras.Input((3, None, None)), layers.GlobalAveragePooling2D("channels_first")]),
        r"the model takes its channels first, \(3, None, None\)",
    ),
    "channels first": (
        lambda: keras.Sequential(
            [keras.Input((3, 6, 6)), layers.Permute((2, 3, 1)), layers.Flatten(), layers.Dense(3)]
        ),
        r"the model takes its channels first, \(3, 6, 6\). Build it for images \(height, width, channels\)",
    ),
    "grey channel first": (
        lambda: keras.Sequential(
            [keras.Input((1, 4, 4)), layers.GlobalAveragePooling2D("channels_first"), layers.Dense(3)]
        ),
        "the model takes its channels first",
    ),
}


@pytest.mark.parametrize("kind", OUT_OF_SCOPE)
def test_what_is_no_image_classifier_is_out_of_scope_and_says_why(kind):
    build, reason = OUT_OF_SCOPE[kind]
    with pytest.raises(OutOfScopeError, match=reason):
        classifier(build(), "m")


def test_a_model_that_one_image_of_fills_the_memory_is_out_of_scope():
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.UpSampling2D(1000), layers.GlobalAveragePooling2D()])
    model = keras.Model(model.inputs[0], layers.Dense(3)(model.outputs[0]))
    form = classifier(model, "m", memory=2**20)
    with pytest.raises(
        OutOfScopeError, match=r"one image takes \d+ MiB .* may take \(1 MiB\). Raise --backdoor-memory"
    ):
        form.subject(AS_IS, (6, 6, 1))


def test_layers_that_take_channels_first_behind_a_permute_are_no_matter():
    stack = [layers.Permute((3, 1, 2)), layers.GlobalAveragePooling2D("channels_first"), layers.Dense(3)]
    assert classifier(keras.Sequential([keras.Input((6, 6, 1)), *stack]), "m").num_classes == 3


def test_a_class_of_its_own_inside_of_a_graph_is_one_layer():
    image = keras.Input((1, 2, 1))
    model = keras.Model(image, Halved(linear(np.eye(2), np.zeros(2), (1, 2, 1)))(image))
    subject = classifier(model, "m").subject(AS_IS, (1, 2, 1))
    assert subject.predict(np.array([0.6, 0.2], "float32").reshape(1, 1, 2, 1))[0] == pytest.approx([0.3, 0.1])


def test_a_model_of_tensors_that_tensorflow_does_not_survive_is_out_of_scope():
    deep = keras.Sequential([keras.Input((4,)), layers.Reshape((4, *[1] * 300)), layers.Flatten()])
    with pytest.raises(OutOfScopeError, match="a layer of the model puts out 302 axes"):
        classifier(after(deep), "m")


TOGETHER = {
    "the spread over the batch": lambda scores: scores * ops.var(scores, axis=0, keepdims=True),
    "the sum over the batch": lambda scores: scores + ops.sum(scores, axis=-2, keepdims=True),
    "in order": lambda scores: ops.sort(scores, axis=0),
    "the image before": lambda scores: scores + ops.roll(scores, 1, axis=0),
    "the images before": lambda scores: scores + ops.cumsum(scores, axis=-2),
    "any other image": lambda scores: ops.softmax(scores @ ops.transpose(scores)) @ scores,
    "products of images": lambda scores: ops.einsum("ij,kj->ik", scores, scores) @ scores,
}
ALONE = {
    "the sum of the scores": lambda scores: scores + ops.sum(scores, axis=-1, keepdims=True),
    "one of the classes": lambda scores: scores + ops.one_hot(ops.argmax(scores, axis=-1), 4),
    "normalised": lambda scores: layers.LayerNormalization()(scores),
    "attention": lambda scores: layers.Flatten()(layers.Attention()([layers.Reshape((2, 2))(scores)] * 2)),
}


@pytest.mark.parametrize("kind", TOGETHER)
def test_what_brings_the_images_of_a_batch_together_is_named(kind):
    model = classifier(after(TOGETHER[kind]), "m")
    assert model.across_batch((6, 6, 1)) is not None


@pytest.mark.parametrize("kind", ALONE)
def test_what_answers_each_image_by_itself_is_not(kind):
    assert classifier(after(ALONE[kind]), "m").across_batch((6, 6, 1)) is None
