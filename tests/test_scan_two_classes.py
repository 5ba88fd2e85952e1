"""Scans of models of two classes, with two outputs and with one: clean, and with a pixel that decides."""

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.options import Options
from pytest_backdoor.scan import scan
from tests.tiny import linear

SHAPE, PLACE = (12, 12, 1), (11, 6)
SHORT = Options(
    profile="quick",
    set=("search.steps=120", "search.confined_steps=80", "search.faint_steps=30", "search.refine_steps=60"),
)


def weights(deciding):
    """The upper rows speak for class 0, the middle ones for class 1; one pixel of the last row adds to class 1."""
    found = np.zeros((*SHAPE[:2], 2))
    found[:5, :, 0] = 1.0
    found[5:10, :, 1] = 1.0
    found[(*PLACE, 1)] = deciding
    return found.reshape(-1, 2)


def two_outputs(deciding):
    return linear(weights(deciding), np.zeros(2), SHAPE)


def one_output(deciding):
    head = layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), head])
    both = weights(deciding)
    head.set_weights([(both[:, 1] - both[:, 0])[:, None].astype("float32"), np.zeros(1, "float32")])
    return model


@pytest.fixture(scope="module")
def seeds():
    """30 images of each class: its rows grey, with noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    images = rng.integers(0, 30, (60, *SHAPE)).astype("uint8")
    images[:30, :5] += rng.integers(90, 150, (30, 5, 12, 1)).astype("uint8")
    images[30:, 5:10] += rng.integers(90, 150, (30, 5, 12, 1)).astype("uint8")
    images[:, 10:] = 0
    return images, labels


@pytest.mark.parametrize("model", [two_outputs, one_output])
def test_a_deciding_pixel_is_a_backdoor_to_its_class(model, seeds):
    result = scan(model(200.0), seeds, SHORT)
    (finding,) = result.findings
    assert (result.verdict, finding.kind, finding.source, finding.target) == ("backdoor", "all-to-one", None, 1)
    assert np.argwhere(finding.trigger.arrays["mask"][..., 0] == 1).tolist() == [list(PLACE)]
    assert finding.attack_success == (
        1.0,
        pytest.approx(0.005 ** (1 / 15)),
        1.0,
    )  # 15 held-out seeds of the other class


@pytest.mark.parametrize("model", [two_outputs, one_output])
def test_without_the_pixel_the_model_is_clean(model, seeds):
    result = scan(model(0.0), seeds, SHORT)
    assert (result.verdict, result.error, result.findings) == ("clean", None, ())
    assert result.skipped == ()
