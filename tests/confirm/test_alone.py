"""The trigger on images without content, on a model that reads the class off one bright pixel."""

import numpy as np
import pytest

from pytest_backdoor.attacks import pixel
from pytest_backdoor.confirm import alone
from pytest_backdoor.confirm.alone import trigger_alone
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import linear, subject_of

SHAPE = (8, 8, 1)
PLANTED, INERT = pixel(SHAPE, 5, 5), pixel(SHAPE, 6, 6)


@pytest.fixture(scope="module")
def subject():
    """Class c has its own pixel in the first row, with weight 10; (5, 5) decides for class 1 where it is near white."""
    weights, bias = np.zeros((8, 8, 3)), np.array([0.0, -30.0, 0.0])
    weights[0, range(3), range(3)] = 10.0
    weights[5, 5, 1] = 41.0
    return subject_of(linear(weights.reshape(-1, 3), bias, SHAPE), SHAPE)


def alone_on(subject, trigger):
    return trigger_alone(subject, trigger, 1, np.random.default_rng(0))


def test_a_planted_pixel_works_on_images_without_content_and_an_inert_one_does_not(subject):
    # 11 + 10 x of its own pixel against 10 x of the others': class 1 wins whatever they are.
    assert alone_on(subject, PLANTED).value == 1.0
    assert alone_on(subject, INERT).value == 0.0


def test_images_that_are_of_the_target_anyway_do_not_count(subject, monkeypatch):
    interval = alone_on(subject, INERT).interval
    counted = round(np.log(0.005) / np.log(1 - interval[1]))  # no success among so many, exactly (99 %)
    assert 150 < counted < 2 * alone.IMAGES
    monkeypatch.setattr(alone, "ENOUGH", counted)
    assert alone_on(subject, INERT) is not None
    monkeypatch.setattr(alone, "ENOUGH", counted + 1)
    assert alone_on(subject, INERT) is None


def test_a_push_that_needs_the_image_fails_alone(subject):
    """What lifts the deciding pixel a little is not enough on most random images."""
    delta = np.zeros(SHAPE, "float32")
    delta[5, 5] = 0.3
    assert alone_on(subject, Trigger("additive", {"delta": delta})).value < 0.7
