"""Pruning by hand, on three channels of which a trigger may use its own or those of a class."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from pytest_backdoor.check_results import Pruning
from pytest_backdoor.confirm.pruning import STEPS, curve, dormant, measure, movement, prunable, usage
from pytest_backdoor.contract import Contract, Sample
from pytest_backdoor.errors import ContractError
from pytest_backdoor.results import Evidence, SeedsUsed
from pytest_backdoor.subject import Subject
from pytest_backdoor.triggers.trigger import Trigger
from tests.tiny import AS_IS, linear, subject_of

SHAPE = (1, 1, 3)
TO_ONE = {0: 1}
# Class 0 shows red, class 1 green; nothing clean is blue.
SEEDS = Sample(np.repeat(np.eye(3, dtype="float32")[:2], 4, 0).reshape(8, *SHAPE), np.repeat([0, 1], 4))


def three_channels():
    """Logits 0.1 + red and 2 green + 10 blue, behind a convolution that copies the colours."""
    copies, head = layers.Conv2D(3, 1, activation="relu", name="copies"), layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input(SHAPE), copies, layers.Flatten(), head])
    copies.set_weights([np.eye(3)[None, None], np.zeros(3)])
    head.set_weights([np.array([[1, 0], [0, 2], [0, 10]]), np.array([0.1, 0])])
    return model


def coloured(red, green, blue):
    return Trigger("additive", {"delta": np.array([red, green, blue], "float32").reshape(SHAPE)})


PLANTED, NATURAL = coloured(0, 0, 1), coloured(0, 1, 0)


@pytest.fixture(scope="module")
def contract():
    return Contract(subject_of(three_channels(), SHAPE), SEEDS, SEEDS, SeedsUsed(16, "as is", 1.0, 8, 8))


def test_usage_is_the_mean_size_of_what_a_channel_puts_out(contract):
    assert usage(contract.subject, SEEDS.images, 0).tolist() == [0.5, 0.5, 0]
    assert usage(contract.subject, np.zeros((2, *SHAPE), "float32"), 1) == pytest.approx([0.1, 0])


def test_movement_is_the_mean_size_of_the_change_by_the_trigger(contract):
    assert movement(contract.subject, PLANTED, SEEDS.images, 0).tolist() == [0, 0, 1]
    # Green is full already in half of the images; red falls where there is some.
    assert movement(contract.subject, coloured(-0.5, 1, 0), SEEDS.images, 0).tolist() == [0.25, 0.5, 0]


def test_the_dormant_channel_goes_first_and_the_trigger_with_it(contract):
    found = dormant(contract.subject, SEEDS, (PLANTED, TO_ONE))
    assert found == Pruning(
        layer="copies",
        part="channels",
        order=(2, 0, 1),
        pruned=(0, 1, 2, 3),
        accuracy=(1, 1, 1, 0.5),  # without green, all are of class 0
        success=(1, 0, 0, 0),
        attacked=4,
        target_accuracy=(1, 1, 1, 0),
    )


def test_a_curve_without_a_trigger_has_accuracy_only(contract):
    found = dormant(contract.subject, SEEDS)
    assert found.accuracy == (1, 1, 1, 0.5)
    assert (found.success, found.target_accuracy, found.attacked) == (None, None, 0)


def test_a_trigger_with_a_channel_of_its_own_is_told_from_one_that_uses_a_class(contract):
    evidence, planted = measure(contract, PLANTED, TO_ONE)
    assert planted.order == (2, 0, 1)
    assert evidence == Evidence("pruning", 1.0)
    evidence, natural = measure(contract, NATURAL, TO_ONE)
    assert natural.order == (1, 0, 2)
    assert natural.success == (1, 0, 0, 0)
    assert natural.accuracy == (1, 0.5, 0.5, 0.5)
    assert evidence == Evidence("pruning", 0.0)  # class 1 is lost with it


def test_without_seeds_of_the_target_the_accuracy_of_all_counts(contract):
    few = Sample(SEEDS.images[:4], SEEDS.labels[:4])
    evidence, found = measure(dataclasses.replace(contract, held_out=few), NATURAL, TO_ONE)
    assert found.target_accuracy is None
    assert evidence.value == 1.0


def test_neurons_are_ranked_on_the_search_seeds_and_measured_on_the_held_out_ones(contract):
    paler = coloured(-1, 0.5, 0)  # moves red by 1 where there is red, and green by a half
    black = Sample(np.zeros((4, *SHAPE), "float32"), np.zeros(4, int))  # has no red, and is of class 0 as well
    found = measure(dataclasses.replace(contract, held_out=black), paler, TO_ONE)[1]
    assert found.order == (0, 1, 2)
    assert found.attacked == 4
    assert found.accuracy == (1, 1, 1, 1)


def test_a_trigger_without_success_has_nothing_to_lose(contract):
    assert measure(contract, coloured(0, 0, 0), TO_ONE)[0] == Evidence("pruning", 0.0)


def test_the_curve_is_the_same_where_memory_holds_one_image_only(contract):
    tight = dataclasses.replace(contract.subject, memory=1)
    assert dormant(tight, SEEDS, (PLANTED, TO_ONE)) == dormant(contract.subject, SEEDS, (PLANTED, TO_ONE))


def test_of_many_units_some_are_pruned_together():
    units = 2 * STEPS + 2
    hidden, head = layers.Dense(units, activation="relu", name="hidden"), layers.Dense(2)
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), hidden, head])
    found = curve(subject_of(model, SHAPE), SEEDS, 0, np.arange(units))
    assert (found.layer, found.part) == ("hidden", "units")
    assert len(found.pruned) == STEPS + 1
    assert (found.pruned[0], found.pruned[-1]) == (0, units)
    assert set(np.diff(found.pruned)) == {2, 3}


def test_seeds_of_none_of_the_attacked_classes_are_refused(contract):
    with pytest.raises(ContractError, match=r"none of 8 seeds .* that the trigger works on \(5\). Give seeds"):
        dormant(contract.subject, SEEDS, (PLANTED, {5: 1}))


def test_the_last_convolution_is_pruned_before_any_dense_layer():
    stack = [layers.Conv2D(2, 1), layers.Conv2D(2, 1, name="last"), layers.Flatten(), layers.Dense(4), layers.Dense(2)]
    subject = subject_of(keras.Sequential([keras.Input((2, 2, 1)), *stack]), (2, 2, 1))
    assert subject.layers[prunable(subject)].name == "last"


def test_what_cannot_be_pruned_is_refused():
    with pytest.raises(ContractError, match="no hidden layer has neurons to prune among dense"):
        prunable(subject_of(linear(np.eye(2), np.zeros(2), (1, 2, 1)), (1, 2, 1)))
    with pytest.raises(ContractError, match="the model is a function, whose layers cannot be seen"):
        prunable(Subject("function", (2, 2, 1), 2, AS_IS, lambda images: images, gradients=False))


@pytest.mark.parametrize(
    ("accuracy", "drop", "step"),
    [
        ((0.9, 0.86, 0.84, 0.89), 0.05, 1),  # what rises again comes too late
        ((0.9, 0.85, 0.85, 0.85), 0.05, 3),
        ((0.9, 0.8, 0.9, 0.9), 0.05, 0),
        ((0.9, 0.95, 0.9, 0.8), 0.1, 3),
    ],
)
def test_the_last_step_is_the_one_before_accuracy_first_falls_too_far(accuracy, drop, step):
    found = Pruning("layer", "units", (0, 1, 2, 3), (0, 1, 2, 4), accuracy)
    assert found.last_step(drop) == step
    assert found.spare(drop) == [0, 0.25, 0.5, 1][step]


def test_a_known_trigger_works_on_its_model_and_not_on_a_clean_one(example, planted):
    rule = (planted, {source: 7 for source in range(10) if source != 7})

    def pruned(name):
        model, images, labels = example(name)
        subject = subject_of(model, (28, 28, 1))
        return dormant(subject, Sample(images[..., None].astype("float32") / 255, labels.astype(int)), rule)

    backdoored, clean = pruned("mnist_pattern_to_one"), pruned("mnist_clean")
    assert backdoored.success[0] > 0.95
    assert max(clean.success[: clean.last_step(0.05) + 1]) < 0.1
    for found in (backdoored, clean):
        assert found.accuracy[0] > 0.95
        assert found.accuracy[-1] < 0.3
        assert found.part == "channels"
    assert pruned("mnist_clean") == clean
