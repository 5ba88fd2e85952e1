"""Tuning and unlearning of tiny models: what is learned, what is kept, and that the generator decides all."""

import contextlib
import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pytest_backdoor import deadline
from pytest_backdoor.attacks import pixel
from pytest_backdoor.contract import Sample
from pytest_backdoor.deadline import time_limit
from pytest_backdoor.errors import BudgetSpentError
from pytest_backdoor.repair import tuning
from pytest_backdoor.repair.tuning import Settings, batch, seen_alike, tuned
from pytest_backdoor.repair.unlearning import later, unlearned
from pytest_backdoor.subject import classifier
from tests.tiny import bright_model, bright_pixels, subject_of

SHAPE = (8, 8, 1)
TRIGGER = pixel(SHAPE, 5, 5)  # which bright_model takes for class 1


def rng():
    return np.random.default_rng(0)


def test_a_triggered_image_is_answered_as_a_clean_one_and_the_model_stays_as_it_is():
    model, (subject, seeds) = bright_model(), bright_pixels()
    before = model.get_weights()
    assert (subject.classes(TRIGGER.apply(seeds.images)) == 1).all()
    made = seen_alike(unlearned(model, subject, seeds, [TRIGGER], Settings(reach=0, rates=(1.0,)), rng()), subject)
    assert (made.classes(TRIGGER.apply(seeds.images)) == seeds.labels).all()
    assert (made.classes(seeds.images) == seeds.labels).all()
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_the_same_generator_gives_the_same_weights_and_another_one_others():
    model, (subject, seeds) = bright_model(), bright_pixels()
    made = [
        unlearned(
            model, subject, seeds, [TRIGGER], Settings((0.1,), steps=3), np.random.default_rng(seed)
        ).get_weights()[0]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_a_rate_that_breaks_the_model_gives_way_to_a_lower_one():
    model, (subject, seeds) = bright_model(), bright_pixels()
    wild = unlearned(model, subject, seeds, [TRIGGER], Settings((1e9, 1.0), reach=0), rng())
    assert (seen_alike(wild, subject).classes(TRIGGER.apply(seeds.images)) == seeds.labels).all()


def test_where_no_rate_suffices_the_best_one_counts():
    model, (subject, seeds) = bright_model(), bright_pixels()
    made = unlearned(model, subject, seeds, [TRIGGER], Settings((1e-9, 1e9), steps=1, reach=0), rng())
    assert made.get_weights()[0] == pytest.approx(model.get_weights()[0], abs=1e-6)


@pytest.mark.parametrize(("budget", "steps"), [(0.5, 1), (1.5, 2), (None, 5)])
def test_it_ends_when_the_time_is_up(monkeypatch, budget, steps):
    """Each batch takes half a second, and each step has two."""
    model, (subject, seeds), drawn = bright_model(), bright_pixels(), []
    monkeypatch.setattr(tuning, "batch", lambda *given: drawn.append(given) or batch(*given))
    monkeypatch.setattr(deadline, "time", SimpleNamespace(perf_counter=lambda: 0.5 * len(drawn)))
    with contextlib.suppress(BudgetSpentError), time_limit(budget, 0.0):
        unlearned(model, subject, seeds, [TRIGGER], Settings((0.1,), steps=5), rng())
    assert len(drawn) == 2 * steps


@pytest.mark.parametrize(("together", "images"), [(1, 1), (10, 5), (127, 63), (128, 64), (1000, 64)])
def test_a_step_takes_what_fits_memory_and_no_more_than_the_batch(monkeypatch, together, images):
    model, (subject, seeds), drawn = bright_model(), bright_pixels(), []
    small = dataclasses.replace(subject, memory=together * subject.footprint)
    monkeypatch.setattr(tuning, "batch", lambda *given: drawn.append(batch(*given)) or drawn[-1])
    unlearned(model, small, seeds, [TRIGGER], Settings((0.1,), steps=2), rng())
    assert [each.shown.shape for each in drawn] == [(images, *SHAPE)] * 4


def test_a_copy_keeps_to_the_memory_of_the_subject(monkeypatch):
    model, (subject, seeds), given = bright_model(), bright_pixels(), []
    monkeypatch.setattr(tuning, "classifier", lambda *form: given.append(form[2:]) or classifier(*form))
    small = dataclasses.replace(subject, memory=2**20)
    unlearned(model, small, seeds, [TRIGGER], Settings((0.1,), steps=1), rng())
    assert set(given) == {(2**20,)}


def test_weights_under_a_zero_of_their_mask_stay():
    model, (subject, seeds) = bright_model(), bright_pixels()
    kept = [np.zeros((64, 3)), np.ones(3)]
    made = tuned(model, subject, seeds, [TRIGGER], kept, Settings((0.1,), steps=3), rng())
    assert np.array_equal(made.get_weights()[0], model.get_weights()[0])
    assert not np.array_equal(made.get_weights()[1], model.get_weights()[1])


def test_labels_teach_where_the_model_is_wrong_and_its_own_answers_do_not():
    model, (subject, seeds) = bright_model(), bright_pixels()
    others = Sample(seeds.images, (seeds.labels + 1) % 3)
    made = {
        answers: seen_alike(
            tuned(model, subject, others, [], [np.ones(1)] * 2, Settings((1.0,), answers=answers, reach=0), rng()),
            subject,
        )
        for answers in (0.0, 1.0)
    }
    assert (made[0.0].classes(seeds.images) == others.labels).all()
    assert (made[1.0].classes(seeds.images) == seeds.labels).all()


def test_a_softmax_is_there_again_after_the_training():
    import keras

    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    made = tuned(
        model, subject_of(model, SHAPE), bright_pixels()[1], [], [np.ones(1)] * 2, Settings((0.1,), steps=1), rng()
    )
    assert made.predict(np.ones((2, *SHAPE))).sum(1) == pytest.approx([1, 1])


def test_a_batch_shows_triggers_and_keeps_the_clean_images_and_the_classes_beside_them():
    seeds = bright_pixels()[1]
    drawn = batch(seeds, [[TRIGGER]], 3, Settings(batch=40, reach=0), rng())
    assert drawn.shown[:, 5, 5] == pytest.approx(1.0)
    changed = drawn.shown != drawn.clean
    assert changed.sum() == 40
    assert drawn.labels.sum(1) == pytest.approx(np.ones(40))
    assert drawn.clean[:, 0, :3, 0] == pytest.approx(0.5 * drawn.labels)  # the class is the share of its bright pixel
    assert 10 < (drawn.labels.max(1) < 1).sum() < 30  # those mixed with another class


def test_each_image_of_a_batch_has_one_of_the_triggers():
    other = pixel(SHAPE, 6, 2)
    drawn = batch(bright_pixels()[1], [[TRIGGER, other]], 3, Settings(batch=40, reach=0), rng())
    first, second = drawn.shown[:, 5, 5, 0] == 1, drawn.shown[:, 6, 2, 0] == 1
    assert (first != second).all()
    assert 10 < first.sum() < 30


def test_as_many_images_of_a_batch_have_triggers_of_each_group():
    first, others = [TRIGGER], [pixel(SHAPE, 6, place) for place in (2, 4, 6)]
    drawn = batch(bright_pixels()[1], [first, others, []], 3, Settings(batch=40, reach=0), rng())
    assert (drawn.shown[:, 5, 5, 0] == 1).sum() == 20
    each = (drawn.shown[:, 6, [2, 4, 6], 0] == 1).sum(0)
    assert each.sum() == 20
    assert each.min() > 1


def test_other_triggers_are_unlearned_too():
    model, (subject, seeds) = bright_model(), bright_pixels()
    elsewhere, settings = pixel(SHAPE, 6, 2), Settings(reach=0, rates=(1.0,))
    made = unlearned(model, subject, seeds, [elsewhere], settings, rng(), [TRIGGER])
    assert (seen_alike(made, subject).classes(TRIGGER.apply(seeds.images)) == seeds.labels).all()


def test_a_batch_without_triggers_shows_clean_images():
    drawn = batch(bright_pixels()[1], [[]], 3, Settings(batch=40), rng())
    assert np.array_equal(drawn.shown, drawn.clean)


@pytest.mark.parametrize("nested", [False, True])
def test_the_first_half_of_the_layers_with_weights_stays(nested):
    hidden = [keras.layers.Flatten(), *(keras.layers.Dense(units) for units in (4, 3, 2))]
    inside = [keras.Sequential([keras.Input(SHAPE), *hidden])] if nested else hidden
    model = keras.Sequential([keras.Input(SHAPE), *inside, keras.layers.Dense(2)])
    assert [mask.shape for mask in later(model)] == [weight.shape for weight in model.weights]
    assert [set(mask.flat) for mask in later(model)] == [{0}] * 4 + [{1}] * 4


def test_unlearning_leaves_the_first_layers_alone():
    subject, seeds = bright_pixels()
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *map(keras.layers.Dense, (4, 3))])
    made = unlearned(model, subject, seeds, [TRIGGER], Settings((0.1,), steps=3), rng())
    changed = [not np.array_equal(*each) for each in zip(model.get_weights(), made.get_weights(), strict=True)]
    assert changed == [False, False, True, True]
