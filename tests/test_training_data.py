"""The check of training data: a clean and a poisoned set with a small model trained on each, and bad input."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor import BackdoorError, BackdoorFound, ContractError, assert_dataset_clean
from pytest_backdoor.dataset_results import dataset_from_dict, dataset_to_dict
from pytest_backdoor.options import Options
from pytest_backdoor.training_data import check_dataset
from tests.tiny import bright_model, bright_pixels

CLASSES, EACH, TARGET = 5, 200, 3


def data_set(poisoned):
    """Noisy images whose class is a bright column; of the other classes a share has the trigger and the target label.

    Returns images in bytes, labels, and which images are poisoned.
    """
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(CLASSES), EACH)
    images = rng.uniform(0, 120, (len(labels), 8, 8, 1))
    images[np.arange(len(labels)), :, labels + 2] += 100
    changed = (labels != TARGET) & (rng.random(len(labels)) < poisoned)
    images[changed, :2, :2] = 255
    return images.astype("uint8"), np.where(changed, TARGET, labels), np.flatnonzero(changed)


@functools.cache
def trained(poisoned):
    """A small network trained on the data set, which takes images from 0 to 1, and its data."""
    images, labels, changed = data_set(poisoned)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(CLASSES, "softmax")]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images / 255, labels, batch_size=50, epochs=12, verbose=0)
    return model, images, labels, changed


def test_a_clean_data_set_passes():
    model, images, labels, _ = trained(0)
    result = assert_dataset_clean(model, images, labels)
    assert result.suspicious == ()
    assert result.p_value > 0.01
    assert [each.images for each in result.classes] == [EACH] * CLASSES
    assert result.scaling == "/255"
    assert result.accuracy > 0.95


def test_a_poisoned_data_set_fails_and_names_the_class_and_its_images():
    model, images, labels, changed = trained(0.06)
    with pytest.raises(BackdoorFound) as failure:
        assert_dataset_clean(model, images, labels)
    text = str(failure.value)
    assert text.startswith(f"SUSPICIOUS TRAINING DATA class {TARGET}: ")
    assert f"\n  class {TARGET}  " in text
    assert "\n  next     look at these images and at others of their class" in text
    result = failure.value.result
    assert result == check_dataset(model, images, labels, Options())
    (found,) = result.suspicious
    clustering, spectral = found.splits
    assert set(changed) <= set(clustering.suspects)
    assert len(clustering.suspects) <= 1.1 * len(changed)
    assert np.isin(changed, spectral.suspects).mean() > 0.9
    assert f"{found.suspects[0]}, {found.suspects[1]}, " in text


def test_reordered_images_reorder_the_suspects():
    model, images, labels, _ = trained(0.06)
    order = np.random.default_rng(1).permutation(len(labels))
    first = check_dataset(model, images, labels, Options()).suspicious
    second = check_dataset(model, images[order], labels[order], Options()).suspicious
    assert [each.label for each in second] == [each.label for each in first]
    assert sorted(order[list(second[0].suspects)]) == sorted(first[0].suspects)


def test_the_same_data_give_the_same_result():
    model, images, labels, _ = trained(0.06)
    assert check_dataset(model, images, labels, Options()) == check_dataset(model, images, labels, Options())


def test_a_result_survives_the_way_through_plain_dictionaries():
    model, images, labels, _ = trained(0.06)
    result = check_dataset(model, images, labels, Options())
    assert dataset_from_dict(dataset_to_dict(result)) == result


def test_a_class_of_too_few_images_is_skipped_with_the_reason():
    model, images, labels, _ = trained(0.06)
    some = (labels != 0) | (np.cumsum(labels == 0) <= 30)
    result = check_dataset(model, images[some], labels[some], Options())
    assert result.classes[0].skipped == "30 images, and 100 are needed"
    assert result.classes[0].suspects == ()
    assert [each.label for each in result.suspicious] == [TARGET]
    with pytest.raises(BackdoorFound, match=r"\n  skipped  class 0: 30 images, and 100 are needed\n"):
        assert_dataset_clean(model, images[some], labels[some])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda x, y: (x, y[:-1]), r"labels have shape \(999,\) .* for 1000 images"),
        (lambda x, y: (x, None), "the training data has no labels"),
        (lambda x, y: (x, 0 * y), r"all images have the label 0\. Give the whole training set"),
        (lambda x, y: (x, y + 1), "labels run from 1 to 5, but the model knows the classes 0 to 4"),
        (lambda x, y: (np.where(x == x.max(), np.nan, x), y), "NaN or infinite"),
        (lambda x, y: (x[:, :4], y), r"the model takes images of shape \(8, 8, 1\)"),
        (lambda x, y: (255 - x, y), "classifies only"),
        (lambda x, y: (x[:50], y[:50]), "enough to be checked, and two classes are needed; the largest has"),
    ],
)
def test_data_that_cannot_be_checked_are_refused(change, complaint):
    model, images, labels, _ = trained(0)
    with pytest.raises(ContractError, match=complaint):
        assert_dataset_clean(model, *change(images, labels))


def test_a_model_without_a_hidden_layer_is_refused():
    subject, seeds = bright_pixels()
    for model in (subject.predict, bright_model()):
        with pytest.raises(ContractError, match="no hidden layer that can be seen"):
            assert_dataset_clean(model, seeds.images, seeds.labels)


def test_a_file_that_is_no_model_is_an_error(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(BackdoorError):
        assert_dataset_clean(tmp_path / "model.keras", np.zeros((2, 8, 8)), [0, 1])
