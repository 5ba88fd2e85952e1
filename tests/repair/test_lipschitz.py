"""Channel Lipschitz pruning, worked by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.repair.channels import convolutions
from pytest_backdoor.repair.lipschitz import Settings, lipschitz, outliers, pruned


def network(convolution, *behind):
    return keras.Sequential([keras.Input((1, 2, 2)), convolution, *behind, layers.GlobalAveragePooling2D()])


def bound(model):
    return lipschitz(convolutions(model)[0])


def test_the_norm_is_spectral_over_inputs_and_places():
    # Channel 0 reads input 0 at the left and input 1 at the right: diag(3, 1), of norm 3, not the Frobenius 3.16.
    # Channel 1 reads both inputs at the left: a row (3, 4), of norm 5.
    model = network(layers.Conv2D(2, (1, 2), use_bias=False))
    kernel = np.zeros((1, 2, 2, 2))
    kernel[0, 0, 0, 0], kernel[0, 1, 1, 0] = 3.0, 1.0
    kernel[0, 0, :, 1] = 3.0, 4.0
    model.layers[0].set_weights([kernel])
    assert bound(model) == pytest.approx([3.0, 5.0])


@pytest.mark.parametrize(("scale", "expected"), [(True, 10.0), (False, 2.5)])
def test_the_batch_norm_scales_it_by_gamma_over_the_deviation(scale, expected):
    model = network(layers.Conv2D(1, 1), layers.BatchNormalization(epsilon=1.0, scale=scale))
    convolution, norm = model.layers[:2]
    convolution.set_weights([np.array([[[[3.0], [4.0]]]]), np.zeros(1)])
    gamma = [-4.0] if scale else []
    norm.set_weights(np.array([*gamma, 0.5, 7.0, 3.0]).reshape(-1, 1))  # 5 * 4 / sqrt(3 + 1), or 5 / sqrt(3 + 1)
    assert bound(model) == pytest.approx([expected])


def test_the_kernel_of_a_separable_convolution_is_the_product_of_its_parts():
    model = network(layers.SeparableConv2D(2, 1, use_bias=False))
    model.layers[0].set_weights([np.array([[[[2.0], [1.0]]]]), np.array([[[[3.0, 0.0], [0.0, 5.0]]]])])
    assert bound(model) == pytest.approx([6.0, 5.0])


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.SeparableConv2D])
def test_kernels_of_half_precision_are_measured_too(kind, policy):
    half = network(kind(4, 1, use_bias=False, dtype=policy))
    full = network(kind(4, 1, use_bias=False))
    full.set_weights([np.asarray(weight, "float32") for weight in half.get_weights()])
    assert bound(half) == pytest.approx(bound(full))


@pytest.mark.parametrize(("count", "found"), [(10, []), (12, [11])])
def test_one_of_ten_is_never_three_deviations_off_and_one_of_twelve_can_be(count, found):
    values = np.ones(count)
    values[-1] = 100.0
    assert outliers(values, 3.0).tolist() == found


def test_the_deviation_is_that_of_a_sample():
    # Mean 1, squares 4 * 1 + 16: over four a deviation of 2.24, over five one of 2. The last is 4 above the mean.
    values = np.array([0.0, 0.0, 0.0, 0.0, 5.0])
    assert outliers(values, 1.9).tolist() == []
    assert outliers(values, 1.7).tolist() == [4]


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0]])
def test_equal_values_have_no_outlier(values):
    assert outliers(np.array(values), 0.0).tolist() == []


def test_the_outlying_channel_is_silent_in_the_copy_and_the_model_stays_as_it_is():
    model = network(layers.Conv2D(12, 1, activation="relu"))
    kernel = np.ones((1, 1, 2, 12))
    kernel[..., 4] = 50.0
    model.layers[0].set_weights([kernel, np.ones(12)])
    made, count = pruned(model, Settings())
    images = np.ones((1, 1, 2, 2), "float32")
    assert count == 1
    assert made.predict(images)[0].tolist() == [3.0] * 4 + [0.0] + [3.0] * 7
    assert model.predict(images)[0].tolist() == [3.0] * 4 + [101.0] + [3.0] * 7
