"""Inpainting: filled pixels by hand, laws, both twins, and a file that Keras loads without code of ours."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from pytest_backdoor.attacks import success
from pytest_backdoor.loading import keras_file
from pytest_backdoor.repair.inpainting import inpainted, region
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import linear, subject_of

TO_SEVEN = {source: 7 for source in range(10) if source != 7}


def filled(image, inside):
    """The image (height, width) as the model sees it behind the layers: a model whose answers are its pixels."""
    image, inside = np.asarray(image, "float32"), np.asarray(inside, bool)
    shape = (*image.shape, 1)
    model = linear(np.eye(image.size), np.zeros(image.size), shape)
    made = inpainted(model, subject_of(model, shape), inside)
    return made.predict(image.reshape(1, *shape), verbose=0).reshape(image.shape)


def patch(shape, *cells, opaque=1.0):
    mask = np.zeros((*shape, 1), "float32")
    for cell in cells:
        mask[cell] = opaque
    return Trigger("patch", {"mask": mask, "pattern": mask})


def test_a_pixel_becomes_the_mean_of_its_neighbours():
    assert filled([[2, 9, 4]], [[0, 1, 0]]) == pytest.approx(np.array([[2, 3, 4]]))


def test_a_pixel_counts_by_the_fourth_power_of_one_over_its_distance():
    first, second = (4 + 10 / 16) / (1 + 1 / 16), (10 + 4 / 16) / (1 + 1 / 16)
    assert filled([[4, 9, 9, 10]], [[0, 1, 1, 0]]) == pytest.approx(np.array([[4, first, second, 10]]))
    # A corner is the square root of two away: a quarter.
    corner = (2 * 8 + 0.25 * 4) / 2.25
    assert filled([[9, 8], [8, 4]], [[1, 0], [0, 0]])[0, 0] == pytest.approx(corner)


def test_what_lies_in_the_middle_of_a_wide_region_is_filled_in_from_afar():
    image, inside = np.zeros((9, 9)), np.zeros((9, 9), bool)
    image[2:7, 2:7], inside[2:7, 2:7] = 9, True
    image[0], image[8] = 1, 1
    seen = filled(image, inside)
    assert 0 < seen[4, 4] < 1
    assert seen[2, 4] == pytest.approx(seen[6, 4], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_pixels_outside_stay_as_they_are_and_those_inside_lie_between_them(seed, share):
    rng = np.random.default_rng(seed)
    image, inside = rng.uniform(-1, 1, (5, 7)).astype("float32"), rng.random((5, 7)) < share
    inside[2, 3], inside[4, 0] = False, True
    seen = filled(image, inside)
    assert seen[~inside] == pytest.approx(image[~inside])
    assert image[~inside].min() - 1e-5 <= seen[inside].min()
    assert seen[inside].max() <= image[~inside].max() + 1e-5


def test_channels_are_filled_in_each_by_itself():
    model = linear(np.eye(9), np.zeros(9), (1, 3, 3))
    made = inpainted(model, subject_of(model, (1, 3, 3)), np.array([[False, True, False]]))
    image = np.array([[[1, 2, 3], [9, 9, 9], [3, 6, 9]]], "float32")
    assert made.predict(image[None], verbose=0).reshape(3, 3)[1] == pytest.approx([2, 4, 6])


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_flat_images_and_images_without_channels_are_filled_in_too(shape):
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(6, use_bias=False)])
    model.layers[-1].set_weights([np.eye(6, dtype="float32")])
    inside = np.array([[False, True, False], [False, False, False]])
    made = inpainted(model, subject_of(model, (2, 3, 1)), inside)
    seen = made.predict(np.array([[0, 9, 0], [0, 1, 0]], "float32").reshape(1, *shape), verbose=0)[0]
    assert seen[[0, 2, 3, 4, 5]] == pytest.approx([0, 0, 0, 1, 0])
    assert seen[1] == pytest.approx(1 / (3 + 2 / 4))


def test_the_region_is_a_patch_and_the_pixels_next_to_it():
    inside = region([patch((9, 9), (0, 0)), patch((9, 9), (6, 5))], (9, 9, 1))
    expected = np.zeros((9, 9), bool)
    expected[:2, :2] = expected[5:8, 4:7] = True
    assert inside.tolist() == expected.tolist()


def test_the_margin_grows_with_the_image():
    assert region([patch((56, 80), (20, 20))], (56, 80, 3)).sum() == 25


def test_what_is_hardly_opaque_and_what_is_no_patch_has_no_region():
    wave = Trigger("additive", {"delta": np.ones((9, 9, 1), "float32")})
    assert not region([patch((9, 9), (4, 4), opaque=0.1), wave], (9, 9, 1)).any()


@pytest.fixture(scope="module")
def twins(example, planted):
    """The two models behind the layers that fill in the planted trigger, the trigger, and seeds in unit scale."""
    inside = region([planted], (28, 28, 1))
    found = {}
    for name in ("mnist_pattern_to_one", "mnist_clean"):
        model, images, labels = example(name)
        found[name] = inpainted(model, subject_of(model, (28, 28, 1)), inside), model
    return found, planted, images.reshape(-1, 28, 28, 1).astype("float32") / 255, labels


@pytest.mark.parametrize("name", ["mnist_pattern_to_one", "mnist_clean"])
def test_the_trigger_does_nothing_any_more_and_the_accuracy_stays(twins, name):
    found, trigger, images, labels = twins
    made, model = found[name]
    before, after = (np.mean(each.predict(images, verbose=0).argmax(-1) == labels) for each in (model, made))
    assert after >= before - 0.02
    assert success(made.predict(trigger.apply(images), verbose=0).argmax(-1), labels, TO_SEVEN) < 0.03
    obeyed = success(model.predict(trigger.apply(images), verbose=0).argmax(-1), labels, TO_SEVEN)
    assert (obeyed > 0.95) == (name == "mnist_pattern_to_one")


def test_a_fresh_python_loads_the_file_with_keras_alone(twins, tmp_path):
    made, images = twins[0]["mnist_pattern_to_one"][0], twins[2][:5]
    made.save(tmp_path / "new.keras")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, keras, numpy as np; m = keras.saving.load_model('new.keras', safe_mode=True);"
        "np.save('out.npy', m.predict(np.load('images.npy'), verbose=0));"
        "assert not any(name.startswith('pytest_backdoor') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = made.predict(images, verbose=0)
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-5)
    loaded = keras_file.load(tmp_path / "new.keras")  # the static check lets it pass
    assert loaded.predict(images, verbose=0) == pytest.approx(expected, abs=1e-5)
