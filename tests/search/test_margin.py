"""The largest margins, worked by hand on linear models, and what they show of a planted backdoor."""

import dataclasses

import numpy as np
import pytest

from pytest_backdoor.scalings import up_to
from pytest_backdoor.search import margin
from pytest_backdoor.search.margin import Margins, Settings, margins, starts_of
from pytest_backdoor.subject import classifier
from tests.tiny import linear, subject_of

SHAPE = (2, 2, 1)
# Class 0 reads the first pixel, class 1 the second, class 2 the third, which counts four times; the fourth is for all.
WEIGHTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 4], [7, 7, 7]])
SHORT = Settings(starts=2, steps=60)


def climbed(weights=WEIGHTS, bias=(0.0, 0.0, 0.0), seed=0, settings=SHORT):
    return margins(subject_of(linear(weights, np.array(bias), SHAPE), SHAPE), settings, np.random.default_rng(seed))


def test_the_largest_margin_of_a_linear_model_is_the_weight_of_the_class_own_pixel():
    # Best is white where only this class reads and black where the others do; their logits are 0 then.
    assert climbed().largest == pytest.approx([1, 1, 4], abs=1e-5)


def test_the_best_of_the_starts_of_a_class_counts(monkeypatch):
    def left(subject, starts, wanted, *_):
        """Of the two starts of each class one ends black, the other white in the pixel of the class."""
        images = np.zeros((6, 4), "float32")
        images[[1, 3, 5], wanted[1::2]] = 1.0
        return images.reshape(6, *SHAPE)

    monkeypatch.setattr(margin, "descend", left)
    assert climbed().largest == pytest.approx([1, 1, 4])


def test_the_bias_counts_and_a_class_that_never_wins_has_a_negative_margin():
    # Class 1 reaches 1 - 3 where class 0, its best rival, has 0 and class 2 is kept at 0 too.
    assert climbed(bias=(0.0, -3.0, 0.0)).largest == pytest.approx([1, -2, 4], abs=1e-5)


def test_the_score_compares_the_largest_with_the_median_class():
    assert climbed().score == pytest.approx(np.log(4), abs=1e-5)
    assert climbed(weights=np.eye(4)[:, :3]).score == pytest.approx(0, abs=1e-5)


def test_the_score_does_not_depend_on_the_scale_of_the_logits():
    assert Margins(np.array([2.0, 3.0, 12.0]), 0).score == pytest.approx(Margins(np.array([20.0, 30, 120]), 0).score)


def test_the_score_of_a_model_with_dead_classes_is_finite():
    assert Margins(np.array([-1.0, -2.0, 3.0]), 0).score == pytest.approx(np.log(1000))
    assert Margins(np.array([0.0, 0.0]), 0).score == 0


@pytest.mark.parametrize(("classes", "starts"), [(10, 8), (64, 8), (65, 7), (128, 4), (1283, 2)])
def test_many_classes_share_the_starts_and_each_keeps_two(classes, starts):
    assert starts_of(classes, Settings()) == starts


def test_the_cost_is_an_image_per_class_start_and_step():
    assert climbed().image_gradients == 3 * 2 * 60


def test_the_same_seed_climbs_to_the_same_margins():
    few = Settings(starts=1, steps=3)
    assert (climbed(seed=1, settings=few).largest == climbed(seed=1, settings=few).largest).all()
    assert (climbed(seed=1, settings=few).largest != climbed(seed=2, settings=few).largest).any()


def test_many_images_climb_in_parts_that_fit_memory():
    whole = subject_of(linear(WEIGHTS, np.zeros(3), SHAPE), SHAPE)
    parts = dataclasses.replace(whole, memory=3 * whole.footprint)  # three images at a time
    first, again = (margins(subject, SHORT, np.random.default_rng(0)).largest for subject in (whole, parts))
    assert first == pytest.approx(again)


def test_the_class_of_a_planted_trigger_stands_out_and_in_the_clean_twin_none_does(example):
    scores = {}
    for name in ("mnist_pattern_to_one", "mnist_clean"):
        model = classifier(example(name)[0], name)
        subject = model.subject(up_to(model.white or 1, 1, "assumed"), (28, 28, 1))
        found = margins(subject, Settings(starts=4, steps=80), np.random.default_rng(0))
        scores[name] = found.score, int(found.largest.argmax())
    assert scores["mnist_pattern_to_one"][1] == 7
    assert scores["mnist_pattern_to_one"][0] > 2 * scores["mnist_clean"][0]
