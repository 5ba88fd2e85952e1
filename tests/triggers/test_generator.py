"""The generator family: values by hand, one generator per image, and what training a generator needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from keras import ops

from pytest_backdoor.backend import value_and_grad
from pytest_backdoor.triggers import FAMILIES
from pytest_backdoor.triggers.generator import residual
from pytest_backdoor.triggers.trigger import BATCH, Trigger

GENERATOR = FAMILIES["generator"]


def one_weight(first, second, bias=0.0, strength=0.5):
    """A generator for grey images with these weights, {(row, column): value}, on its first hidden channel."""
    arrays = {
        "first": np.zeros((3, 3, 1, 8), "float32"),
        "bias": np.zeros(8, "float32"),
        "second": np.zeros((3, 3, 8, 1), "float32"),
        "strength": np.full((1, 1, 1), strength, "float32"),
    }
    arrays["bias"][0] = bias
    for place, value in first.items():
        arrays["first"][(*place, 0, 0)] = value
    for place, value in second.items():
        arrays["second"][(*place, 0, 0)] = value
    return Trigger("generator", arrays)


def several(count, channels, seed=0):
    """Arrays of as many random generators, and an image for each."""
    rng = np.random.default_rng(seed)
    arrays = GENERATOR.arrays(GENERATOR.initial(count, (6, 5, channels), rng))
    return arrays, rng.random((count, 6, 5, channels)).astype("float32")


def test_a_generator_of_two_central_weights_works_pixel_by_pixel():
    trigger = one_weight({(1, 1): 2.0}, {(1, 1): -1.0}, bias=-0.4)
    image = np.array([[0.1, 0.2], [0.5, 1.0]], "float32")[None, ..., None]
    expected = image - 0.5 * np.tanh(np.maximum(2 * image - 0.4, 0))
    assert trigger.apply(image) == pytest.approx(expected, abs=1e-6)


def test_each_convolution_reads_the_neighbour_that_its_kernel_names_and_zero_outside():
    trigger = one_weight({(1, 0): 1.0}, {(0, 1): 1.0}, strength=0.1)  # the left neighbour, then the upper one
    image = np.zeros((1, 4, 4, 1), "float32")
    image[0, 0, 0], image[0, 3, 1] = 1.0, 1.0  # the second one's pattern would lie below the image
    expected = image.copy()
    expected[0, 1, 1] = 0.1 * np.tanh(1.0)
    assert trigger.apply(image) == pytest.approx(expected, abs=1e-6)


def test_two_images_get_two_patterns_and_are_cut_at_black_and_white():
    trigger = one_weight({(1, 1): 50.0}, {(1, 1): 1.0}, strength=0.3)
    images = np.array([0.0, 0.2, 0.9], "float32").reshape(3, 1, 1, 1)
    assert trigger.apply(images).ravel() == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_generators_does_what_each_does_alone(channels):
    arrays, images = several(3, channels)
    together = np.asarray(GENERATOR.apply(arrays, images))
    for index in range(3):
        own = tuple(np.asarray(array)[index : index + 1] for array in arrays)
        assert np.asarray(GENERATOR.apply(own, images))[index] == pytest.approx(together[index], abs=1e-6)


def test_arrays_and_tensors_give_the_same():
    arrays, images = several(2, 3)
    plain = np.asarray(GENERATOR.apply(tuple(np.asarray(array) for array in arrays), images))
    tensors = GENERATOR.apply(tuple(map(ops.convert_to_tensor, arrays)), ops.convert_to_tensor(images))
    assert np.asarray(tensors) == pytest.approx(plain, abs=1e-6)


def test_every_parameter_has_a_slope():
    raw = tuple(map(ops.convert_to_tensor, GENERATOR.initial(2, (6, 5, 1), np.random.default_rng(0))))
    images = several(2, 1)[1]

    def change(params):
        return ops.sum(ops.square(residual(GENERATOR.arrays(params), images))), None

    _, slopes = value_and_grad(change)(raw)
    assert [slope.shape for slope in slopes] == [part.shape for part in raw]
    assert all(np.abs(np.asarray(slope)).max() > 0 for slope in slopes)


def test_the_size_is_the_strength_and_bounds_every_pixel():
    arrays, images = several(3, 3)
    sizes = np.asarray(GENERATOR.size(arrays))
    assert sizes == pytest.approx(np.asarray(arrays[3]).ravel())
    assert (np.abs(np.asarray(residual(arrays, images))).max((1, 2, 3)) <= sizes).all()


@given(seed=st.integers(0, 100), data=st.data())
def test_images_stay_between_black_and_white_and_move_no_further_than_the_strength(seed, data):
    arrays = GENERATOR.arrays(GENERATOR.initial(1, (4, 3, 1), np.random.default_rng(seed)))
    images = data.draw(arrays_of.arrays("float32", (2, 4, 3, 1), elements=st.floats(0, 1, width=32)))
    trigger = Trigger("generator", {n: np.asarray(a)[0] for n, a in zip(GENERATOR.names, arrays, strict=True)})
    changed = trigger.apply(images)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert np.abs(changed - images).max() <= trigger.arrays["strength"].max() + 1e-6


def test_more_images_than_fit_a_batch_are_all_changed():
    trigger = one_weight({(1, 1): 50.0}, {(1, 1): 1.0}, strength=0.25)
    changed = trigger.apply(np.full((2 * BATCH + 3, 1, 1, 1), 0.5, "float32"))
    assert changed.ravel() == pytest.approx(0.75)
    assert trigger.apply(np.zeros((0, 4, 4, 1), "float32")).shape == (0, 4, 4, 1)
