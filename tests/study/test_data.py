"""The data sets of the study, read from a folder."""

import numpy as np
import pytest

from example_models import data


@pytest.fixture
def three_pixels(tmp_path, monkeypatch):
    """A set of images three pixels wide: zeros dark, ones with a lit pixel on the left or on the right."""
    left, right, dark = [200, 0, 0], [0, 0, 200], [0, 0, 0]
    x = np.array([left, left, right, right, dark, dark], "uint8")[:, None]
    y = np.array([1, 1, 1, 1, 0, 0])
    np.savez(tmp_path / "small.npz", x_train=x, y_train=y, x_test=x[1:5], y_test=y[1:5])
    monkeypatch.setenv("PYTEST_BACKDOOR_DATA", str(tmp_path))


def test_a_data_set_has_its_images_with_a_channel(three_pixels):
    (images, labels), (shown, known) = data.load("small")
    assert images.shape == (6, 1, 3, 1)
    assert labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert (shown.shape, known.tolist()) == ((4, 1, 3, 1), [1, 1, 1, 0])


def test_near_twins_are_the_halves_of_a_class_that_lie_apart_most(three_pixels):
    (_, labels), (_, known) = data.load("small-twins-1")
    assert sorted([set(labels[:2]), set(labels[2:4])], key=max) == [{1}, {2}]
    assert labels[4:].tolist() == [0, 0]
    assert known.tolist() == labels[1:5].tolist()
