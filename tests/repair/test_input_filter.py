"""The filter model: its entropy by hand, both twins, and a file that Keras loads without code of ours."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.attacks import success
from pytest_backdoor.contract import Sample
from pytest_backdoor.errors import OutOfScopeError
from pytest_backdoor.loading import keras_file
from pytest_backdoor.repair import input_filter
from pytest_backdoor.repair.input_filter import Settings, filtered
from pytest_backdoor.scalings import Scaling
from pytest_backdoor.subject import classifier
from tests.tiny import linear, subject_of

SHAPE = (1, 2, 1)


class Ordered:
    """A generator that leaves the order as it is: the first seeds become the overlays."""

    def permutation(self, count):
        return np.arange(count)


def boundary(weights, images):
    model = linear(weights, np.zeros(2), SHAPE)
    seeds = Sample(np.asarray(images, "float32").reshape(-1, *SHAPE), np.zeros(len(images), int))
    return filtered(model, subject_of(model, SHAPE), seeds, Settings(overlays=2), Ordered())[1]


def test_a_model_that_never_knows_has_one_bit_of_two_classes():
    assert boundary(np.zeros((2, 2)), [[0, 1], [1, 0], [1, 1]]) == pytest.approx(1.0)


def test_the_entropy_is_over_the_classes_of_each_overlay_and_not_over_the_overlays():
    # Of the two blends each is certain of another class: over the overlays, or of their mean, it would be one bit.
    overlays, image = [[1, 0], [0, 1]], [0, 0]
    assert boundary(1000 * np.eye(2), [*overlays, image]) == pytest.approx(0.0, abs=1e-6)


def test_the_entropies_of_blends_are_averaged():
    # One blend is certain, the other knows nothing: half a bit.
    overlays, image = [[1, 0], [0, 0]], [0, 0]
    assert boundary(1000 * np.eye(2), [*overlays, image]) == pytest.approx(0.5)


def test_probabilities_that_are_averaged_are_answered_as_they_are():
    image = keras.Input(SHAPE)
    parts = [layers.Dense(2, activation="softmax")(layers.Flatten()(image)) for _ in range(2)]
    model, images = keras.Model(image, layers.Average()(parts)), np.zeros((3, *SHAPE), "float32")
    for part in model.layers[-3:-1]:
        part.set_weights([np.zeros((2, 2)), np.log([0.9, 0.1])])
    made, bits = filtered(
        model, subject_of(model, SHAPE), Sample(images, np.zeros(3, int)), Settings(overlays=2), Ordered()
    )
    assert bits == pytest.approx(-0.9 * np.log2(0.9) - 0.1 * np.log2(0.1))
    assert made.predict(images)[0] == pytest.approx([0.45, 0.05, 0.5], abs=1e-3)  # at the boundary: half rejected


@pytest.mark.parametrize(("together", "images"), [(1, 1), (7, 3), (64, 32), (1000, 32)])
def test_blends_are_measured_as_many_at_a_time_as_fit_memory(monkeypatch, together, images):
    model, sizes = linear(np.eye(2), np.zeros(2), SHAPE), []
    subject, entropies = subject_of(model, SHAPE), input_filter._entropies
    small = dataclasses.replace(subject, memory=together * subject.footprint)
    monkeypatch.setattr(input_filter, "_entropies", lambda *given: sizes.append(given[2]) or entropies(*given))
    seeds = Sample(np.random.default_rng(0).random((9, *SHAPE), "float32"), np.zeros(9, int))
    filtered(model, small, seeds, Settings(overlays=2), Ordered())
    assert sizes == [images]


def test_too_few_seeds_to_blend_with_and_to_measure_are_refused():
    with pytest.raises(OutOfScopeError, match=r"the filter blends with 2 seeds .* but 2 seeds are all that it may use"):
        boundary(np.eye(2), [[0, 1], [1, 0]])


def test_an_overlay_is_added_to_the_image():
    lead = 2  # pixels, of which the overlay brings one
    chance = 1 / (1 + np.exp(-lead))
    expected = -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)
    assert boundary(np.eye(2), [[1, 0]] * 4) == pytest.approx(expected, abs=1e-4)


def test_a_sum_counts_the_black_of_the_scale_once():
    weights = np.array([[0.5, 0], [0, 0]])  # on -1 to 1: logit 0 is the first pixel, less a half
    model = linear(weights, np.zeros(2), SHAPE)
    seeds = Sample(np.full((4, *SHAPE), 1.0, "float32"), np.zeros(4, int))
    spread = Scaling("[-1,1]", 2 * np.ones(1, "float32"), -np.ones(1, "float32"))
    subject = classifier(model, "tiny").subject(spread, SHAPE)
    chance = 1 / (1 + np.exp(-1.5))
    expected = -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)
    limit = filtered(model, subject, seeds, Settings(overlays=2), np.random.default_rng(0))[1]
    assert limit == pytest.approx(expected, abs=1e-4)


def test_a_certain_image_is_rejected_and_an_uncertain_one_is_not():
    model = linear(20 * np.eye(2), np.zeros(2), SHAPE)
    seeds = Sample(np.full((20, *SHAPE), 0.5, "float32"), np.zeros(20, int))
    made, limit = filtered(model, subject_of(model, SHAPE), seeds, Settings(overlays=2), np.random.default_rng(0))
    assert limit == pytest.approx(1.0)
    answers = made.predict(np.array([[1.0, 0.0], [0.5, 0.5]], "float32").reshape(2, *SHAPE))
    assert answers[0].argmax() == 2
    assert answers.sum(1) == pytest.approx([1, 1])


def test_a_hundredth_of_a_bit_on_either_side_of_the_boundary_decides():
    # The overlays are black, so an image is as uncertain as the model is of it: logits 0.5 apart set the boundary at
    # 0.957 bits, those 0.4 and 0.6 apart have 0.972 and 0.938. Class 0 has a chance of 0.6 only.
    model = linear(np.eye(2), np.zeros(2), SHAPE)
    black, lead = [0, 0], [0.5, 0]
    seeds = Sample(np.array([black, black, lead], "float32").reshape(-1, *SHAPE), np.zeros(3, int))
    made, limit = filtered(model, subject_of(model, SHAPE), seeds, Settings(overlays=2), Ordered())
    answers = made.predict(np.array([[0.4, 0], [0.6, 0]], "float32").reshape(2, *SHAPE))
    assert limit == pytest.approx(0.957, abs=1e-3)
    assert answers.argmax(-1).tolist() == [0, 2]


@pytest.mark.parametrize("shape", [(2,), (1, 2)])
def test_flat_images_and_images_without_channels_are_blended_too(shape):
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2)])
    images = np.random.default_rng(0).random((20, *SHAPE)).astype("float32")
    seeds = Sample(images, np.zeros(20, int))
    made, _ = filtered(model, subject_of(model, SHAPE), seeds, Settings(overlays=3), np.random.default_rng(0))
    assert made.output_shape == (None, 3)
    assert made.input_shape == (None, *shape)


@pytest.fixture(scope="module")
def twins(example, planted):
    """The filters of the backdoored and of the clean model, as subjects, with the trigger and held-out seeds."""
    return {name: filter_of(name, example) for name in ("mnist_pattern_to_one", "mnist_clean")}, planted


def filter_of(name, example):
    model, images, labels = example(name)
    images = images.reshape(-1, 28, 28, 1).astype("float32") / 255
    seeds = Sample(images[::2], labels[::2])
    made, _ = filtered(model, subject_of(model, (28, 28, 1)), seeds, Settings(), np.random.default_rng(0))
    return made, Sample(images[1::2], labels[1::2])


def test_the_trigger_is_rejected_and_clean_images_are_not(twins):
    filters, trigger = twins
    made, seeds = filters["mnist_pattern_to_one"]
    triggered = made.predict(trigger.apply(seeds.images)).argmax(-1)
    assert success(triggered, seeds.labels, {source: 7 for source in range(10) if source != 7}) < 0.1
    assert np.mean(triggered == 10) > 0.8
    assert np.mean(made.predict(seeds.images).argmax(-1) == seeds.labels) > 0.93


def test_the_clean_twin_rejects_neither(twins):
    filters, trigger = twins
    made, seeds = filters["mnist_clean"]
    for images in (seeds.images, trigger.apply(seeds.images)):
        assert np.mean(made.predict(images).argmax(-1) == 10) < 0.06


def test_a_fresh_python_loads_the_file_with_keras_alone(twins, tmp_path):
    made, seeds = twins[0]["mnist_pattern_to_one"]
    made.save(tmp_path / "filter.keras")
    np.save(tmp_path / "images.npy", seeds.images[:5])
    code = (
        "import sys, keras, numpy as np; m = keras.saving.load_model('filter.keras', safe_mode=True);"
        "np.save('out.npy', m.predict(np.load('images.npy'), verbose=0));"
        "assert not any(name.startswith('pytest_backdoor') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = made.predict(seeds.images[:5])
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-5)
    loaded = keras_file.load(tmp_path / "filter.keras")  # the static check lets it pass
    assert loaded.predict(seeds.images[:5]) == pytest.approx(expected, abs=1e-5)
