"""Networks taken apart: what of each layer the others read, and logits when a layer puts out something else."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pytest_backdoor.attacks.anatomy import copied
from pytest_backdoor.attacks.planting import copy_of
from pytest_backdoor.network import has_batch_norm, rebuilt, with_logs
from pytest_backdoor.scalings import Scaling
from pytest_backdoor.subject import classifier
from tests.tiny import linear, subject_of

ONE = np.ones(2, "float32")


def normalised(beta, name):
    """A batch norm of two channels that adds ``beta``."""
    layer = layers.BatchNormalization(epsilon=0.0, name=name)
    layer.build((None, None, None, 2))
    layer.set_weights([ONE, ONE * beta, ONE * 0, ONE])
    return layer


def convolution(kernel, name, kind=layers.Conv2D):
    """A convolution of one pixel without bias, whose kernel is (channels, filters)."""
    kernel = np.asarray(kernel, "float32")[None, None]
    layer = kind(filters=2, kernel_size=1, use_bias=False, name=name)
    layer.build((None, 1, 1, kernel.shape[2]))
    layer.set_weights([kernel])
    return layer


def each_channel(filters, **settings):
    """A depthwise convolution of so many channels."""
    return layers.DepthwiseConv2D(depth_multiplier=1, **settings)


def summed(pixels):
    """A dense layer whose two logits are the sums of the two channels of so many pixels."""
    head = layers.Dense(2, use_bias=False, name="head")
    head.build((None, 2 * pixels))
    head.set_weights([np.tile(np.eye(2, dtype="float32"), (pixels, 1))])
    return head


def behind_batch_norm():
    """The pixel and its negative, plus a half, behind a ReLU; of two pixels."""
    image = keras.Input((1, 2, 1))
    x = normalised(0.5, "norm")(convolution([[1, -1]], "conv")(image))
    return keras.Model(image, summed(2)(layers.Flatten()(layers.ReLU(name="relu")(x))))


def residual():
    """Channels a, b of one pixel that come once more by a shortcut: the logits are 2a, 2b."""
    image = keras.Input((1, 1, 1))
    first = layers.ReLU(name="first")(convolution([[1, 2]], "conv_1")(image))
    second = normalised(0.0, "norm")(convolution(np.eye(2), "conv_2")(first))
    x = layers.ReLU(name="last")(layers.Add(name="sum")([second, first]))
    return keras.Model(image, summed(1)(layers.GlobalAveragePooling2D(name="pool")(x)))


def depthwise():
    """Three times the first channel and half of the second, plus a tenth."""
    image = keras.Input((1, 1, 2))
    x = convolution([[3], [0.5]], "depthwise", each_channel)(image)
    x = layers.ReLU(6.0, name="relu")(normalised(0.1, "norm")(x))
    return keras.Model(image, summed(1)(layers.Flatten()(x)))


def masked(model, image, layer, mask):
    """The logits of one image under a mask of the layer's output."""
    images = np.asarray(image, "float32").reshape(1, *model.input_shape[1:])
    subject = subject_of(model, model.input_shape[1:])
    place = [each.name for each in subject.layers].index(layer)
    output = subject.output(images, place)
    logits = subject.resume(images, place, ops.multiply(output, np.array(mask, "float32")))
    return ops.convert_to_numpy(logits)[0].tolist()


def held(model):
    """Name and part of the layers of which others read channels or units."""
    return [(layer.name, layer.holds) for layer in subject_of(model, model.input_shape[1:]).layers if layer.holds]


def test_a_mask_behind_batch_norm_silences_what_the_norm_adds_too():
    # Pixels 0.2 and 0.4: channels (0.7, 0.3) and (0.9, 0.1). A zeroed kernel would leave 0.5 for each pixel.
    assert masked(behind_batch_norm(), [0.2, 0.4], "relu", [1, 1]) == pytest.approx([1.6, 0.4])
    assert masked(behind_batch_norm(), [0.2, 0.4], "relu", [0, 1]) == pytest.approx([0, 0.4])
    assert masked(behind_batch_norm(), [0.2, 0.4], "conv", [0, 1]) == pytest.approx([1.0, 0.4])


def test_a_mask_behind_the_sum_silences_the_shortcut_too():
    assert masked(residual(), [0.5], "last", [1, 1]) == pytest.approx([1, 2])
    assert masked(residual(), [0.5], "last", [0, 1]) == pytest.approx([0, 2])
    assert masked(residual(), [0.5], "norm", [0, 1]) == pytest.approx([0.5, 2])


def test_a_mask_before_a_branch_reaches_both_of_its_readers():
    assert masked(residual(), [0.5], "first", [1, 0]) == pytest.approx([1, 0])


def test_a_convolution_behind_which_an_operation_sums_is_held_by_the_layer_before_or_after():
    image = keras.Input((1, 1, 1))
    first = layers.ReLU(name="first")(convolution([[1, 2]], "conv_1")(image))
    second = normalised(0.0, "norm_2")(convolution(np.eye(2), "conv_2")(first)) + first
    third = normalised(0.0, "norm_3")(convolution(np.eye(2), "conv_3")(layers.ReLU(name="last")(second)))
    model = keras.Model(image, summed(1)(layers.Flatten()(ops.relu(third + image))))
    assert held(model) == [("first", "channels"), ("last", "channels"), ("norm_3", "channels")]


def test_a_mask_behind_a_depthwise_convolution_silences_its_own_channel():
    assert masked(depthwise(), [0.2, 0.4], "relu", [1, 1]) == pytest.approx([0.7, 0.3])
    assert masked(depthwise(), [0.2, 0.4], "relu", [1, 0]) == pytest.approx([0.7, 0])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (behind_batch_norm, [("relu", "channels")]),
        (residual, [("first", "channels"), ("last", "channels")]),
        (depthwise, [("relu", "channels")]),
        (lambda: linear(np.eye(2), np.zeros(2), (1, 2, 1)), []),
    ],
)
def test_channels_are_read_behind_norm_activation_and_sum(build, expected):
    assert held(build()) == expected


@pytest.mark.parametrize(
    "idle", [layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise]
)
def test_what_drops_out_in_training_only_has_no_neurons_and_is_looked_through(idle):
    image = keras.Input((1, 1, 1))
    first = layers.ReLU(name="first")(convolution([[1, 2]], "conv_1")(image))
    second = idle(0.5)(normalised(0.0, "norm")(convolution(np.eye(2), "conv_2")(first)))
    x = layers.Flatten()(layers.Add(name="sum")([second, first]))
    model = keras.Model(image, summed(1)(x))
    assert held(model) == [("first", "channels"), ("sum", "channels")]
    assert len(subject_of(model, (1, 1, 1)).layers) == 6
    assert masked(model, [0.5], "sum", [0, 1]) == pytest.approx([0, 2])


def test_units_and_the_channels_of_a_nested_model_are_read_too():
    inner = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(3, 3, name="conv"), layers.ReLU(name="relu")])
    stack = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(5, name="dense"), layers.ELU(name="elu")]
    model = keras.Sequential([keras.Input((4, 4, 1)), inner, *stack, layers.Dense(2, name="head")])
    assert held(model) == [("relu", "channels"), ("elu", "units")]


def test_branches_that_are_put_side_by_side_are_read_apart():
    image = keras.Input((4, 4, 1))
    parts = [layers.Conv2D(2, 1, name="left")(image), layers.SeparableConv2D(3, 1, name="right")(image)]
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Concatenate()(parts))))
    assert held(model) == [("left", "channels"), ("right", "channels")]


def test_a_convolution_that_makes_the_logits_is_not_hidden():
    image = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 1, activation="relu", name="hidden")(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="classes")(x)))
    assert held(model) == [("hidden", "channels")]


def test_each_use_of_a_shared_layer_is_a_place_of_its_own():
    image = keras.Input((1, 1, 1))
    twice = convolution(2 * np.eye(2), "shared")
    x = twice(twice(convolution([[1, 1]], "first")(image)))
    model = keras.Model(image, summed(1)(layers.Flatten()(x)))
    assert held(model) == [("first", "channels"), ("shared", "channels"), ("shared", "channels")]
    images, subject = np.ones((1, 1, 1, 1), "float32"), subject_of(model, (1, 1, 1))
    replaced = [subject.resume(images, place, np.ones((1, 1, 1, 2), "float32")) for place in range(3)]
    assert [ops.convert_to_numpy(each)[0].tolist() for each in replaced] == [[4, 4], [2, 2], [1, 1]]


def test_resuming_with_a_layers_own_output_changes_nothing(example):
    model, images, _ = example("mnist_pattern_to_one")
    halved = Scaling("/2", np.full(1, 0.5, "float32"), np.zeros(1, "float32"))
    subject = classifier(model, "m").subject(halved, (28, 28, 1))
    images = images[:20, ..., None].astype("float32") / 255
    for place in (place for place, layer in enumerate(subject.layers) if layer.holds):
        resumed = subject.resume(images, place, subject.output(images, place))
        np.testing.assert_allclose(resumed, subject.logits(images), rtol=1e-5, atol=1e-5)


def test_what_is_built_to_drop_out_at_all_times_drops_nothing_where_the_model_is_used():
    images = keras.Input((4, 4, 1))
    hidden = layers.Dense(64, "relu", name="hidden")(layers.Flatten()(images))
    model = keras.Model(images, layers.Dense(3)(layers.Dropout(0.5)(hidden, training=True)))
    subject, given = subject_of(model, (4, 4, 1)), np.random.default_rng(0).random((5, 4, 4, 1), "float32")
    answers = model.predict_on_batch(given)
    assert subject.layers[0].name == "hidden"
    np.testing.assert_allclose(subject.activations(given)[0], answers, atol=1e-5)
    np.testing.assert_allclose(subject.resume(given, 0, subject.output(given, 0)), answers, atol=1e-5)


def test_a_layer_with_states_beside_its_output_has_no_neurons():
    images = keras.Input((4, 4, 1))
    _, state, _ = layers.LSTM(5, return_state=True)(layers.Reshape((4, 4))(images))
    model = keras.Model(images, layers.Dense(3, name="logits")(layers.Dense(6, name="hidden")(state)))
    subject, given = subject_of(model, (4, 4, 1)), np.random.default_rng(0).random((5, 4, 4, 1), "float32")
    assert [layer.name for layer in subject.layers] == ["hidden", "logits"]
    np.testing.assert_allclose(subject.activations(given)[0], model.predict_on_batch(given), atol=1e-5)
    np.testing.assert_allclose(subject.resume(given, 0, np.zeros((5, 6), "float32")), 0, atol=1e-5)


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose])
def test_the_mean_weight_of_a_neuron_is_over_all_that_comes_in(kind):
    images = keras.Input((4, 4, 2))
    made = kind(3, 2, padding="same", name="conv")
    model = keras.Model(images, layers.Dense(2)(layers.Flatten()(made(images))))
    inputs = np.array([[0.5, 1.5]])  # (1, inputs), a mean of 1
    kernel = np.broadcast_to(inputs[..., None] * [1.0, -2.0, 3.0], (2, 2, 2, 3))  # (height, width, inputs, neurons)
    made.set_weights([kernel if kind is layers.Conv2D else kernel.swapaxes(2, 3), np.zeros(3)])
    assert subject_of(model, (4, 4, 2)).layers[0].weights == pytest.approx((1.0, -2.0, 3.0))


def test_batch_norm_is_seen_at_any_depth():
    inner = keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])
    assert has_batch_norm(keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)]))
    assert not has_batch_norm(keras.Sequential([keras.Input((4,)), layers.LayerNormalization(), layers.Dense(2)]))


copies = pytest.mark.parametrize(
    "copy",
    [
        lambda model: rebuilt(model, model.get_weights()),
        copy_of,
        lambda model: copied(model, np.random.default_rng(0)),
    ],
    ids=["rebuilt", "to plant in", "to attack"],
)


@copies
def test_a_copy_of_a_sequential_that_its_first_call_built_takes_any_number_of_images(copy):
    model = keras.Sequential([layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(2)])
    model(np.zeros((3, 4, 4, 1), "float32"))
    made, images = copy(model), np.random.default_rng(0).random((5, 4, 4, 1)).astype("float32")
    assert (model.input_shape, made.input_shape) == ((3, 4, 4, 1), (None, 4, 4, 1))
    assert made.predict(images) == pytest.approx(model.predict(images), abs=1e-5)


@copies
def test_a_copy_normalises_by_the_statistics_that_the_model_was_adapted_to(copy, tmp_path):
    images = np.random.default_rng(0).uniform(3, 9, (20, 2, 2, 1)).astype("float32")
    adapted = layers.Normalization()
    adapted.adapt(images)
    model = keras.Sequential([keras.Input((2, 2, 1)), adapted, layers.Flatten(), layers.Dense(2)])
    made = copy(model)
    assert made.predict(images) == pytest.approx(model.predict(images), abs=1e-5)
    made.save(tmp_path / "copy.keras")
    loaded = keras.models.load_model(tmp_path / "copy.keras")
    assert loaded.predict(images) == pytest.approx(model.predict(images), abs=1e-5)


def test_logarithms_of_half_precision_are_finite_and_of_full_precision():
    image = keras.Input((2,), dtype="float16")
    model = keras.Model(image, layers.Identity(dtype="float16")(image))
    found = with_logs(model)(np.array([[1, 0]], "float16"))
    assert found.dtype == "float32"
    assert np.asarray(found) == pytest.approx(np.log([[1, 1e-4]]))
