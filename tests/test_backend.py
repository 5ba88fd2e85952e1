"""Gradients by hand."""

import keras
import numpy as np
from keras import ops

from pytest_backdoor.backend import pulled_back, value_and_grad

GIVEN = np.array([2.0, -1.0], "float32")


def test_gradients_of_outputs_are_weighted_with_their_slopes():
    evaluate = pulled_back(lambda x, factor: ([ops.square(x), factor * x, ops.sum(x)], ops.max(x)))
    slopes = [np.array([10.0, 100.0], "float32"), np.ones(2, "float32"), np.float32(5)]
    largest, gradients = evaluate(ops.convert_to_tensor(GIVEN), slopes, 3.0)
    assert float(largest) == 2
    # 10 * 2 * 2 + 3 + 5 and 100 * 2 * -1 + 3 + 5
    np.testing.assert_array_equal(ops.convert_to_numpy(gradients), [48, -192])


def test_they_are_those_of_the_sum_of_slopes_times_outputs():
    rng = keras.random.SeedGenerator(0)
    matrix, slopes = keras.random.normal((2, 3), seed=rng), keras.random.normal((3,), seed=rng)
    given = ops.convert_to_tensor(GIVEN[None])
    _, pulled = pulled_back(lambda x: (ops.tanh(x @ matrix), ()))(given, slopes[None])
    _, along = value_and_grad(lambda x: (ops.sum(slopes * ops.tanh(x @ matrix)), ()))(given)
    np.testing.assert_allclose(ops.convert_to_numpy(pulled), ops.convert_to_numpy(along), rtol=1e-6)


def test_behind_a_step_gradients_are_zero():
    _, gradients = value_and_grad(lambda x: (ops.sum(ops.round(x)), ()))(ops.convert_to_tensor(GIVEN))
    assert ops.convert_to_numpy(gradients).tolist() == [0, 0]
    _, gradients = pulled_back(lambda x: (ops.cast(ops.cast(x, "int32"), "float32"), ()))(
        ops.convert_to_tensor(GIVEN), np.ones(2, "float32")
    )
    assert ops.convert_to_numpy(gradients).tolist() == [0, 0]
