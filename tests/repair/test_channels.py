"""Channels of convolutions: which can be silenced, and that a silenced one gives exactly zero."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.network import rebuilt
from pytest_backdoor.repair.channels import activity, convolutions, masks
from tests.tiny import subject_of

SHAPE = (4, 4, 2)


def sequential(*middle):
    return keras.Sequential([keras.Input(SHAPE), *middle, layers.GlobalAveragePooling2D(), layers.Dense(2)])


def conv(**options):
    return layers.Conv2D(3, 3, name="conv", **options)


def shaken(model):
    """The model with random weights, those of its batch norms among them; variances stay above zero."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("middle", "norm", "ending"),
    [
        ([conv(activation="relu")], None, "conv"),
        ([conv(), layers.ReLU(name="end")], None, "end"),
        ([conv(activation="tanh")], None, "conv"),
        ([conv(use_bias=False), layers.BatchNormalization(name="norm"), layers.ReLU(name="end")], "norm", "end"),
        ([conv(), layers.BatchNormalization(name="norm", center=False), layers.ELU(name="end")], "norm", "end"),
        ([conv(), layers.BatchNormalization(name="norm", scale=False), layers.LeakyReLU(name="end")], "norm", "end"),
        ([layers.SeparableConv2D(3, 3, name="conv"), layers.Activation("gelu", name="end")], None, "end"),
        ([conv(), layers.MaxPooling2D()], None, None),
        ([conv(activation="relu"), layers.BatchNormalization(name="norm")], "norm", "conv"),
        (
            [
                conv(),
                layers.SpatialDropout2D(0.5),
                layers.MaxPooling2D(),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="end"),
            ],
            "norm",
            "end",
        ),
        ([conv(), layers.Activation("sigmoid")], None, None),
        (
            [conv(), layers.GaussianDropout(0.5), layers.BatchNormalization(name="norm"), layers.ReLU(name="end")],
            "norm",
            "end",
        ),
    ],
)
def test_a_silenced_channel_gives_exactly_zero_and_the_others_what_they_gave(middle, norm, ending):
    model = shaken(sequential(*middle))
    (found,) = convolutions(model)
    assert ([each.name for each in found.norms], found.ending and found.ending.name) == ([norm] if norm else [], ending)
    kept = masks(model, [(found, np.array([1]))])
    silent = rebuilt(model, [weight * mask for weight, mask in zip(model.get_weights(), kept, strict=True)])
    images = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype("float32")
    holder = norm if ending == "conv" and norm else ending or norm or "conv"
    before, after = (keras.Model(m.inputs[0], m.get_layer(holder).output).predict(images) for m in (model, silent))
    assert (before[..., 1] != 0).any()
    assert (after[..., 1] == 0).all()
    assert np.array_equal(after[..., [0, 2]], before[..., [0, 2]])


def test_a_convolution_whose_activation_makes_something_of_zero_is_left_out():
    assert convolutions(sequential(conv(activation="sigmoid"))) == []


def test_every_batch_norm_that_reads_a_channel_leaves_it_at_zero():
    image = keras.Input(SHAPE)
    shared, pool = layers.Conv2D(3, 3, padding="same", name="conv"), layers.MaxPooling2D(2, 1)
    first, second = shared(image), shared(layers.AveragePooling2D(2, 1, padding="same")(image))
    bare = layers.Conv2D(3, 1, name="behind")(layers.ReLU(name="end")(first))  # read beside its norms, and before them
    norms = [layers.BatchNormalization(name=name)(of) for name, of in (("a", first), ("b", pool(first)), ("c", second))]
    other = layers.BatchNormalization(name="d")(pool(image))
    ends = [layers.GlobalAveragePooling2D()(each) for each in (bare, *norms, other)]
    model = shaken(keras.Model(image, layers.Dense(2)(layers.Concatenate()(ends))))
    found = next(each for each in convolutions(model) if each.layer.name == "conv")
    assert ({each.name for each in found.norms}, found.ending.name) == ({"a", "b", "c"}, "end")
    kept = masks(model, [(found, np.array([1]))])
    silent = rebuilt(model, [weight * mask for weight, mask in zip(model.get_weights(), kept, strict=True)])
    images = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype("float32")
    given = keras.Model(silent.inputs[0], [silent.get_layer(name).output for name in ("end", "a", "b", "c", "d")])
    *of_channels, apart = given.predict(images)
    assert all((made[..., 1] == 0).all() and (made[..., 0] != 0).any() for made in of_channels)
    assert (apart != 0).any()


def test_convolutions_of_nested_models_are_found_in_the_order_of_the_computation():
    inner = keras.Sequential([keras.Input((2, 2, 3)), layers.Conv2D(4, 1, name="inside", activation="relu")])
    model = sequential(conv(activation="relu"), inner, layers.Conv2D(5, 1, name="behind"))
    assert [each.layer.name for each in convolutions(model)] == ["conv", "inside", "behind"]
    nested = convolutions(model)[1]
    silenced = masks(model, [(nested, np.array([0, 3]))])
    assert [int((mask == 0).sum()) for mask in silenced] == [0, 0, 6, 2, 0, 0, 0, 0]


def test_a_convolution_with_lora_whose_kernel_is_a_sum_of_weights_is_left_out():
    model = sequential(conv(activation="relu"), layers.Conv2D(3, 1, name="own"))
    model.layers[0].enable_lora(2)
    assert [found.layer.name for found in convolutions(model)] == ["own"]


def test_without_channels_every_weight_is_kept():
    assert all((mask == 1).all() for mask in masks(sequential(conv()), []))


def test_activity_is_the_mean_absolute_output_over_images_and_places():
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.Conv2D(2, 1, name="conv"), layers.ReLU(), layers.Flatten(), layers.Dense(2)]
    )
    model.get_layer("conv").set_weights([np.array([[[[1.0, -2.0]]]]), np.array([0.0, 1.0])])
    images = np.array([0.0, 1.0, 0.25, 0.75], "float32").reshape(2, 1, 2, 1)
    found = activity(subject_of(model, (1, 2, 1)), convolutions(model)[0], images)
    # The second channel is 1 - 2 x, which ReLU cuts: 1, 0, 0.5, 0.
    assert found == pytest.approx([0.5, 0.375])


def test_activity_behind_global_pooling_is_that_of_the_pooled_channel():
    stack = [layers.Conv2D(2, 1, name="conv"), layers.GlobalAveragePooling2D(), layers.ReLU(name="end")]
    model = keras.Sequential([keras.Input((1, 2, 1)), *stack, layers.Dense(2)])
    model.get_layer("conv").set_weights([np.array([[[[1.0, -2.0]]]]), np.array([0.0, 1.0])])
    found = activity(subject_of(model, (1, 2, 1)), convolutions(model)[0], np.full((3, 1, 2, 1), 0.25, "float32"))
    assert found == pytest.approx([0.25, 0.5])


def test_activity_is_that_of_the_convolution_where_another_model_has_one_of_the_same_name():
    def block(channels, filters, kernel):
        inside = keras.Sequential([keras.Input((1, 2, channels)), layers.Conv2D(filters, 1, name="conv")])
        inside.get_layer("conv").set_weights([np.full((1, 1, channels, filters), kernel), np.zeros(filters)])
        return keras.Sequential([*inside.layers, layers.ReLU(name="end")])

    model = keras.Sequential([keras.Input((1, 2, 1)), block(1, 4, 1.0), block(4, 2, 2.0), layers.Flatten()])
    found = activity(subject_of(model, (1, 2, 1)), convolutions(model)[1], np.full((1, 1, 2, 1), 0.5, "float32"))
    assert found == pytest.approx([4.0, 4.0])  # a half, four times, by two


def test_an_activation_that_convolutions_share_belongs_to_the_last_of_them_and_to_none_alone():
    image, relu = keras.Input(SHAPE), layers.ReLU(name="shared")
    x = relu(layers.Conv2D(3, 1, name="last")(relu(layers.Conv2D(3, 1, name="first")(image))))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    found = convolutions(model)[-1]
    assert (found.layer.name, found.ending.name) == ("last", "shared")
    with pytest.raises(OutOfScopeError, match="last, the last convolution, ends in shared, which is used 2 times"):
        activity(subject_of(model, SHAPE), found, np.zeros((1, *SHAPE), "float32"))
